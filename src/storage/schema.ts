import { blob, index, integer, primaryKey, real, sqliteTable, text, uniqueIndex } from 'drizzle-orm/sqlite-core';

/*
 * The tables. A change here needs a migration: see CONTRIBUTING, "Add a migration".
 *
 * Keys and indexes, each with its cost. `bun run bench:schema` measures them: a million metrics in
 * transactions of 1,000 rows, forms in turns on 2 noisy cores; rows a second as medians of the ratio to
 * the first form, with the range of five rounds.
 *
 *   integer key derived from the id, no index    1.00                  147 bytes a row   <- chosen
 *   UUID text as key, WITHOUT ROWID              0.87 (0.71 to 0.98)   152
 *   UUID text as key beside the rowid            0.74 (0.58 to 0.78)   193
 *   chosen, and an index on (name, time)         0.45 (0.44 to 0.81)   187
 *   chosen, and an index on (time)               0.65 (0.53 to 1.14)   172
 *
 * So `seq` is the only index. It is the time part of the id (see ingest/ids.ts), which makes it
 *   - the key: an append always lands at the right edge of the tree, and no other tree is touched;
 *   - the index on the time of receipt, and the order of commits that cursors follow;
 *   - the way from an id to its row, without a second tree on the id.
 * A name or a time of happening is found by scanning a range of `seq`: an index on (name, time) would
 * shorten the scan, and cost the log half of what it can take in.
 *
 * The long column stands last: SQLite reads a row from its start, and an overflowing row keeps its
 * head in the page.
 */

const stamps = {
  /** Milliseconds from 2020-01-01 to the receipt, times 4096, plus a counter within the millisecond. */
  seq: integer('seq').primaryKey(),
  /** UUIDv7 */
  id: text('id').notNull(),
  userId: text('user_id').notNull(),
  /** Microseconds since 1970-01-01T00:00:00Z. */
  happenedAt: integer('happened_at').notNull(),
  /** Microseconds since 1970-01-01T00:00:00Z. */
  receivedAt: integer('received_at').notNull(),
};

export const metrics = sqliteTable('metrics', {
  ...stamps,
  metricName: text('metric_name').notNull(),
  metricValue: real('metric_value').notNull(),
  dataString: text('data_string').notNull(),
});

export const analytics = sqliteTable('analytics', {
  ...stamps,
  type: text('type').notNull(),
  dataIndex: text('data_index').notNull(),
  /** JSON text of an object. */
  data: text('data').notNull(),
});

/**
 * Answers to requests that carried an Idempotency-Key, written in the transaction of their records.
 * Looked up by the whole key, before each request that has one; `created_at` is there for pruning.
 * Requests without a key pay for neither.
 */
export const answers = sqliteTable(
  'answers',
  {
    userId: text('user_id').notNull(),
    route: text('route').notNull(),
    key: text('key').notNull(),
    /** SHA-256 of who sent what, in base64. */
    fingerprint: text('fingerprint').notNull(),
    /** The body of the answer. */
    answer: text('answer').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    createdAt: integer('created_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.userId, table.route, table.key] }),
    index('answers_created_at').on(table.createdAt),
  ],
);

/** The ledger: how many items have been stored, were duplicates, or were rejected by error code. One row each. */
export const ledger = sqliteTable('ledger', {
  name: text('name').primaryKey(),
  items: integer('items').notNull(),
});

/*
 * The column store: the rows once more, column by column, for reading (columns.ts). It is derived: what is
 * here can be made anew from the tables above, and how far it has come is part of it.
 *
 * A chart reads the few columns of one series that it needs, as arrays of numbers. Texts are replaced by
 * numbers: those of users in `users`, names in `series`, `data_string` and `data_index` in `labels`.
 */

export const users = sqliteTable(
  'users',
  { id: integer('id').primaryKey(), userId: text('user_id').notNull() },
  (table) => [uniqueIndex('users_user_id').on(table.userId)],
);

/** What is charted: a metric's name, or an event's type. */
export const series = sqliteTable(
  'series',
  {
    id: integer('id').primaryKey(),
    kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
    name: text('name').notNull(),
  },
  (table) => [uniqueIndex('series_kind_name').on(table.kind, table.name)],
);

/** The labels of a series: what its rows have as `data_string` or `data_index`. */
export const labels = sqliteTable(
  'labels',
  { id: integer('id').primaryKey(), seriesId: integer('series_id').notNull(), label: text('label').notNull() },
  (table) => [uniqueIndex('labels_series_label').on(table.seriesId, table.label)],
);

/** A run of rows of one series, in the order of their commits. The arrays have `rows` elements each. */
export const chunks = sqliteTable(
  'chunks',
  {
    id: integer('id').primaryKey(),
    seriesId: integer('series_id').notNull(),
    rows: integer('rows').notNull(),
    /** The smallest and the largest of `times`. */
    minTime: integer('min_time').notNull(),
    maxTime: integer('max_time').notNull(),
    /** `happened_at` as doubles: microseconds since 1970, exact. */
    times: blob('times', { mode: 'buffer' }).notNull(),
    /** Keys of `users`, 32 bits each. */
    users: blob('users', { mode: 'buffer' }).notNull(),
    /** Keys of `labels`, 32 bits each. */
    labels: blob('labels', { mode: 'buffer' }).notNull(),
    /** `metric_value` as doubles; empty for events. */
    values: blob('values', { mode: 'buffer' }).notNull(),
  },
  (table) => [index('chunks_series').on(table.seriesId, table.minTime, table.maxTime, table.rows)],
);

/** How far the chunks have come, by kind: they hold every row up to this `seq`, and none above it. */
export const watermarks = sqliteTable('watermarks', {
  kind: text('kind', { enum: ['metric', 'analytics'] }).primaryKey(),
  seq: integer('seq').notNull(),
});
