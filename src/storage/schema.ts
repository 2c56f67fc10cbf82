import { sql } from 'drizzle-orm';
import { blob, index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';

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
 * Responses to requests that carried an Idempotency-Key, written in the transaction of their records.
 * They are looked up by a hash of user, route and key: an index on the texts themselves would leave copies of
 * them behind wherever SQLite splits a page. Requests without a key pay for neither.
 */
export const cachedResponses = sqliteTable(
  'cached_responses',
  {
    id: integer('id').primaryKey(),
    /** See text-hash.ts. */
    keyHash: integer('key_hash').notNull(),
    /** The user recorded for; null once the response has expired or was erased. */
    userId: text('user_id'),
    route: text('route'),
    key: text('key'),
    /** SHA-256 of the sender and the payload, in base64. */
    fingerprint: text('fingerprint'),
    /** The body of the response. */
    response: text('response'),
    /** The highest `seq` among its records. */
    seq: integer('seq').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    createdAt: integer('created_at').notNull(),
  },
  (table) => [index('cached_responses_key_hash').on(table.keyHash).where(sql`key IS NOT NULL`)],
);

/** Sign-in codes that were exchanged for a token, so that none is exchanged twice. */
export const usedCodes = sqliteTable('used_codes', {
  /** The `jti` of the code: random, it names nobody. */
  jti: text('jti').primaryKey(),
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  expiresAt: integer('expires_at').notNull(),
});

/** The ledger: how many items have been stored, deleted, were duplicates, or were rejected by error code. */
export const ledger = sqliteTable('ledger', {
  name: text('name').primaryKey(),
  items: integer('items').notNull(),
});

/**
 * Which metric names and event types each user has recorded, as hashes (text-hash.ts): what MAX_NAMES_PER_USER
 * is checked against. A row costs about 22 bytes.
 */
export const userNames = sqliteTable(
  'user_names',
  { userHash: integer('user_hash').notNull(), nameHash: integer('name_hash').notNull() },
  (table) => [primaryKey({ columns: [table.userHash, table.nameHash] })],
);

/**
 * The erasure list. Whoever holds the database alone cannot tell whom it names: the user ID is hashed with a key
 * that is kept in a file beside the database (erasure-list.ts).
 */
export const erasures = sqliteTable(
  'erasures',
  {
    id: integer('id').primaryKey(),
    /** HMAC-SHA-256 of the user ID. */
    userHash: blob('user_hash', { mode: 'buffer' }).notNull(),
    /** Rows up to this `seq` are erased; the user may have recorded new ones since. */
    cutoffSeq: integer('cutoff_seq').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    requestedAt: integer('requested_at').notNull(),
    /** The user ID as long as the erasure is unfinished, so that the next start can finish it; then null. */
    pendingUserId: text('pending_user_id'),
    /** The user's key in `users` before the erasure; null if the column store did not know the user. */
    userNumber: integer('user_number'),
    /** 1 once no file of the database has the erased bytes any more. */
    isOverwritten: integer('is_overwritten').notNull(),
  },
  (table) => [index('erasures_user_hash').on(table.userHash)],
);

/*
 * The column store: the rows once more, column by column, for queries (columns/column-store.ts). It is derived:
 * everything here can be rebuilt from the tables above, and how far it has come is part of it.
 *
 * A query reads the few columns of one series that it needs, as arrays of numbers. Texts are replaced by
 * numbers: those of users in `users`, names in `series`, `data_string` and `data_index` in `labels`.
 *
 * Tables that hold texts or values only grow at their end, and their rows are blanked in place, not deleted.
 * SQLite never moves their rows between pages then, which is how an erasure finds every copy: see erasure.ts.
 * Everything else is numbers without meaning of their own.
 */

export const users = sqliteTable(
  'users',
  {
    id: integer('id').primaryKey(),
    /** null: erased. */
    userId: text('user_id'),
    hash: integer('hash'),
  },
  (table) => [index('users_hash').on(table.hash)],
);

/** A metric name or an event type. */
export const series = sqliteTable('series', {
  id: integer('id').primaryKey(),
  kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
  /** null: the last rows of the series were erased. */
  name: text('name'),
});

/** The labels of a series: the `data_string` or `data_index` of its rows. */
export const labels = sqliteTable(
  'labels',
  {
    id: integer('id').primaryKey(),
    seriesId: integer('series_id').notNull(),
    /** null: the last rows with the label were erased. */
    label: text('label'),
    hash: integer('hash'),
  },
  (table) => [index('labels_hash').on(table.hash), index('labels_series').on(table.seriesId)],
);

/** A sealed run of rows of one series, in the order of their commits. The arrays have `rows` elements each. */
export const chunks = sqliteTable(
  'chunks',
  {
    id: integer('id').primaryKey(),
    seriesId: integer('series_id').notNull(),
    /** 0: replaced by a later chunk, or erased. */
    rows: integer('rows').notNull(),
    /** The smallest and the largest of `times`. */
    minTime: integer('min_time').notNull(),
    maxTime: integer('max_time').notNull(),
    /** Of the four arrays: see chunk.ts. */
    checksum: integer('checksum').notNull(),
    /** `happened_at` as doubles: microseconds since 1970, exact. */
    times: blob('times', { mode: 'buffer' }).notNull(),
    /** Keys of `users`, 32 bits each. */
    users: blob('users', { mode: 'buffer' }).notNull(),
    /** Keys of `labels`, 32 bits each. */
    labels: blob('labels', { mode: 'buffer' }).notNull(),
    /** `metric_value` as doubles; empty for events. */
    values: blob('values', { mode: 'buffer' }).notNull(),
  },
  (table) => [index('chunks_series').on(table.seriesId, table.minTime, table.maxTime, table.rows).where(sql`rows > 0`)],
);

/**
 * Which users have sealed rows in which series: an overview of one user's rows, and an erasure, read only these.
 * A row costs about 14 bytes, once per user and series.
 */
export const userSeries = sqliteTable(
  'user_series',
  { user: integer('user').notNull(), seriesId: integer('series_id').notNull() },
  (table) => [primaryKey({ columns: [table.user, table.seriesId] })],
);

/** Series that are sealed further than the watermark of their kind, while a memtable is written in several steps. */
export const sealedSeries = sqliteTable('sealed_series', {
  seriesId: integer('series_id').primaryKey(),
  seq: integer('seq').notNull(),
});

/**
 * The state of the column store. `metric` and `analytics` are watermarks: every row up to this `seq` is sealed,
 * and none above it, except as `sealed_series` says. `rebuilding` is 1 while chunks are cleared for a rebuild.
 * `hash_seed` makes the hashes of this database its own, so that nobody can prepare texts with equal hashes.
 */
export const columnState = sqliteTable('column_state', {
  name: text('name').primaryKey(),
  value: integer('value').notNull(),
});
