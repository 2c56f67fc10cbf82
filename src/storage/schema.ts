import { sql } from 'drizzle-orm';
import {
  blob,
  index,
  integer,
  primaryKey,
  real,
  sqliteTable,
  sqliteView,
  text,
  uniqueIndex,
} from 'drizzle-orm/sqlite-core';
import { recordsSql } from './row-form.ts';

/*
 * The tables. A change here needs a migration: see CONTRIBUTING, "Add a migration".
 *
 * `npm run bench:schema` compares forms of rows, keys and indexes: a million metrics in transactions of 1,000 rows,
 * alternating between the schemas on 2 noisy cores. Throughput is rows per second relative to the first schema: the
 * median of five rounds, with their range.
 *
 *   schema                                            throughput            bytes per row
 *   integer key derived from the ID, rows in the      1.00                  103             <- chosen
 *     short form (row-form.ts), no index
 *   the same with rows in the full form               0.76 (0.48 to 0.89)   147
 *   UUID text as key, WITHOUT ROWID                   0.55 (0.08 to 0.80)   152
 *   UUID text as key, in addition to the rowid        0.40 (0.35 to 0.55)   193
 *   full form, plus an index on (name, time)          0.25 (0.09 to 0.38)   187
 *   full form, plus an index on (time)                0.44 (0.15 to 0.59)   172
 *
 * So the only key is `seq`, the time part of the ID (see ingest/ids.ts), which is the rowid. It serves as
 *   - the primary key: inserts always append at the right edge of the B-tree and touch no other B-tree;
 *   - the index on the time of receipt, and the commit order that cursors follow;
 *   - the lookup from an ID to its row, without an index on the ID.
 * To find rows by name or by `happened_at`, SQLite scans a range of `seq`. An index on (name, time) would shorten the
 * scan but cost more than half of the rate at which rows can be recorded.
 *
 * The longest column comes last: SQLite reads a row from its start, and only the end of a long row is moved to
 * overflow pages.
 */

const stamps = {
  /** Milliseconds from 2020-01-01 to the time of receipt, times 4096, plus a counter within the millisecond. */
  seq: integer('seq').primaryKey(),
  /** The random part of the UUIDv7, in the short form of the row, or all of it: see row-form.ts. */
  id: text('id').notNull(),
  userId: text('user_id').notNull(),
  /** Microseconds since the time of `seq`, in the short form, or since 1970-01-01T00:00:00Z. */
  happenedAt: integer('happened_at').notNull(),
  /** As `happened_at`. */
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

/** The metrics as callers read them, for people who open the file: see row-form.ts. */
export const metricRecords = sqliteView('metric_records', {
  seq: integer('seq'),
  id: text('id'),
  userId: text('user_id'),
  happenedAt: integer('happened_at'),
  receivedAt: integer('received_at'),
  metricName: text('metric_name'),
  metricValue: real('metric_value'),
  dataString: text('data_string'),
}).as(sql.raw(recordsSql('metrics', ['metric_name', 'metric_value', 'data_string'])));

/** The events, as {@link metricRecords}. */
export const eventRecords = sqliteView('event_records', {
  seq: integer('seq'),
  id: text('id'),
  userId: text('user_id'),
  happenedAt: integer('happened_at'),
  receivedAt: integer('received_at'),
  type: text('type'),
  dataIndex: text('data_index'),
  data: text('data'),
}).as(sql.raw(recordsSql('analytics', ['type', 'data_index', 'data'])));

/**
 * Responses to requests with an Idempotency-Key, written in the same transaction as their records. They are looked up by
 * a hash of user, route and key: an index on the texts themselves would leave copies wherever SQLite splits a page.
 * Requests without a key write neither a row nor an index entry.
 */
export const cachedResponses = sqliteTable(
  'cached_responses',
  {
    id: integer('id').primaryKey(),
    /** See text-hash.ts. */
    keyHash: integer('key_hash').notNull(),
    /** The user whose records were stored; null once the response has expired or was erased. */
    userId: text('user_id'),
    route: text('route'),
    key: text('key'),
    /** SHA-256 of the caller and the payload, in base64. */
    fingerprint: text('fingerprint'),
    /** The response body. */
    response: text('response'),
    /** The highest `seq` among its records. */
    seq: integer('seq').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    createdAt: integer('created_at').notNull(),
  },
  (table) => [index('cached_responses_key_hash').on(table.keyHash).where(sql`key IS NOT NULL`)],
);

/**
 * What imported records were in the database that they come from: see record-sources.ts. Only imports write it, and rows
 * without a source have no entry. A row is blanked with its record.
 */
export const recordSources = sqliteTable(
  'record_sources',
  {
    id: integer('id').primaryKey(),
    /** Key of the record, in either table; 0 once blanked. */
    seq: integer('seq').notNull(),
    /** Hash of kind and `source_id`: see text-hash.ts. */
    sourceHash: integer('source_hash').notNull(),
    /** The record's ID in that database; null once blanked. */
    sourceId: text('source_id'),
    /**
     * Bits: 1 if the label was NULL, 2 if the data was NULL, 4 if the data was a JSON value other than an object, 8 if
     * `source_id` is the record's own ID, whose time part is not its key.
     */
    forms: integer('forms').notNull(),
  },
  (table) => [
    index('record_sources_seq').on(table.seq).where(sql`source_id IS NOT NULL`),
    index('record_sources_hash').on(table.sourceHash).where(sql`source_id IS NOT NULL`),
  ],
);

/** Sign-in codes that were exchanged for a token. Stored so that none can be exchanged twice. */
export const usedCodes = sqliteTable('used_codes', {
  /** The `jti` of the code: random, so it identifies no user. */
  jti: text('jti').primaryKey(),
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  expiresAt: integer('expires_at').notNull(),
});

/** The ledger: numbers of items stored, deleted, recognized as duplicates, and rejected per error code. */
export const ledger = sqliteTable('ledger', {
  name: text('name').primaryKey(),
  items: integer('items').notNull(),
});

/**
 * The metric names and event types that each user has recorded, as hashes (text-hash.ts). MAX_NAMES_PER_USER limits
 * them. About 22 bytes per row.
 */
export const userNames = sqliteTable(
  'user_names',
  { userHash: integer('user_hash').notNull(), nameHash: integer('name_hash').notNull() },
  (table) => [primaryKey({ columns: [table.userHash, table.nameHash] })],
);

/**
 * The erasure list. The database alone does not reveal who was erased: user IDs are hashed with a key that is stored in
 * a separate file (erasure-list.ts).
 */
export const erasures = sqliteTable(
  'erasures',
  {
    id: integer('id').primaryKey(),
    /** HMAC-SHA-256 of the user ID. */
    userHash: blob('user_hash', { mode: 'buffer' }).notNull(),
    /** Rows up to this `seq` are erased; the user may have recorded new rows since. */
    cutoffSeq: integer('cutoff_seq').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    requestedAt: integer('requested_at').notNull(),
    /** The user ID while the erasure is unfinished, for the next start to finish it; then null. */
    pendingUserId: text('pending_user_id'),
    /** The user's key in `users` before the erasure; null if the user had no rows in the column store. */
    userNumber: integer('user_number'),
    /** 1 once no database file contains the erased bytes any more. */
    isOverwritten: integer('is_overwritten').notNull(),
  },
  (table) => [index('erasures_user_hash').on(table.userHash)],
);

/*
 * The column store: a copy of the rows, stored by column for queries (columns/column-store.ts). It is derived data,
 * watermarks included: everything here can be rebuilt from the tables above.
 *
 * A query reads only the columns of the series that it needs, as arrays of numbers. Texts are replaced by numbers:
 * user IDs by keys of `users`, names by keys of `series`, `data_string` and `data_index` by keys of `labels`.
 *
 * Tables with texts or values only grow at their end, and their rows are blanked in place instead of deleted. SQLite
 * then never moves rows between pages, so an erasure reaches every copy: see blanking.ts. The other tables contain only
 * numbers, which are meaningless on their own.
 */

export const users = sqliteTable(
  'users',
  {
    id: integer('id').primaryKey(),
    /** Null once erased. */
    userId: text('user_id'),
    hash: integer('hash'),
  },
  (table) => [index('users_hash').on(table.hash)],
);

/** A metric name or an event type. */
export const series = sqliteTable('series', {
  id: integer('id').primaryKey(),
  kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
  /** Null once the last rows of the series were erased. */
  name: text('name'),
});

/** The labels of a series: the `data_string` or `data_index` of its rows. */
export const labels = sqliteTable(
  'labels',
  {
    id: integer('id').primaryKey(),
    seriesId: integer('series_id').notNull(),
    /** Null once the last rows with the label were erased. */
    label: text('label'),
    hash: integer('hash'),
  },
  // One index: labels are written in its order, and so to few of its pages. See Dictionary.arrange().
  (table) => [index('labels_series_hash').on(table.seriesId, table.hash)],
);

/** Sealed chunks: rows of one series, in commit order. Each array has `rows` elements. */
export const chunks = sqliteTable(
  'chunks',
  {
    id: integer('id').primaryKey(),
    seriesId: integer('series_id').notNull(),
    /** 0 once the chunk was merged into a later one, cleared for a rebuild, or erased. */
    rows: integer('rows').notNull(),
    /** The smallest and the largest of `times`. */
    minTime: integer('min_time').notNull(),
    maxTime: integer('max_time').notNull(),
    /** Checksum of the four arrays: see chunk.ts. */
    checksum: integer('checksum').notNull(),
    /** `happened_at` as doubles: microseconds since 1970, exact. */
    times: blob('times', { mode: 'buffer' }).notNull(),
    /** Keys of `users`, 32 bits each. */
    users: blob('users', { mode: 'buffer' }).notNull(),
    /** Keys of `labels`, 32 bits each. */
    labels: blob('labels', { mode: 'buffer' }).notNull(),
    /** `metric_value` as doubles; empty for events. */
    values: blob('values', { mode: 'buffer' }).notNull(),
    /** `seq` of the rows: see columns/seq-codec.ts. */
    seqs: blob('seqs', { mode: 'buffer' }).notNull().default(sql`x''`),
  },
  (table) => [
    index('chunks_series').on(table.seriesId, table.id, table.minTime, table.maxTime, table.rows).where(sql`rows > 0`),
  ],
);

/**
 * Aggregates of sealed chunks, one row per chunk: see columns/summary.ts. A chunk whose rows are too sparse has none.
 * The shortest column comes first, because SQLite reads a row from its start.
 */
export const chunkSummaries = sqliteTable('chunk_summaries', {
  /** Key of `chunks`. */
  chunkId: integer('chunk_id').primaryKey(),
  /** Checksum of `hours` and `sorted`. */
  checksum: integer('checksum').notNull(),
  /** Checksum of `quarters`, which are read on their own. */
  quartersChecksum: integer('quarters_checksum').notNull(),
  /** Number of rows per quarter hour. */
  quarters: blob('quarters', { mode: 'buffer' }).notNull(),
  /** Number of rows and exact sum per hour; empty for events. */
  hours: blob('hours', { mode: 'buffer' }).notNull(),
  /** The values, sorted within each hour; empty for events. */
  sorted: blob('sorted', { mode: 'buffer' }).notNull(),
});

/**
 * The keys of the rows of each user, for queries of one user and for erasures: runs of all users in commit order, and parts
 * of shards in which the rows of each user are together. See columns/user-rows.ts.
 */
export const userRows = sqliteTable(
  'user_rows',
  {
    id: integer('id').primaryKey(),
    /** For metrics, the remainder of the user numbers; for events, 256 more. -1 for a run of metrics, -2 of events. */
    shard: integer('shard').notNull(),
    /** 0 once the part was merged into a later one, cleared for a rebuild, or erased. */
    rows: integer('rows').notNull(),
    checksum: integer('checksum').notNull(),
    /** Keys of `users` and `seq` of the rows: see columns/user-part.ts and columns/user-run.ts. */
    users: blob('users', { mode: 'buffer' }).notNull(),
    seqs: blob('seqs', { mode: 'buffer' }).notNull(),
  },
  (table) => [index('user_rows_shard').on(table.shard).where(sql`rows > 0`)],
);

/**
 * The series in which each user has sealed rows. Overviews of one user and erasures read only those series. About 14
 * bytes per user and series.
 */
export const userSeries = sqliteTable(
  'user_series',
  { user: integer('user').notNull(), seriesId: integer('series_id').notNull() },
  (table) => [primaryKey({ columns: [table.user, table.seriesId] })],
);

/**
 * The properties of event data that queries over all users have asked for, per event type. Their values are in
 * `property_columns`, and are read from the rows the first time: see columns/property-table.ts.
 */
export const properties = sqliteTable('properties', {
  id: integer('id').primaryKey(),
  seriesId: integer('series_id').notNull(),
  /** The keys of the path, as a JSON array. Null once the property was dropped. */
  path: text('path'),
  /** When a query last used it, in milliseconds since 1970. */
  usedAt: integer('used_at').notNull(),
});

/** The values of a property in the rows of a chunk. A row is blanked after its chunk was rewritten or its property dropped. */
export const propertyColumns = sqliteTable(
  'property_columns',
  {
    id: integer('id').primaryKey(),
    /** Key of `properties`; 0 once blanked. */
    propertyId: integer('property_id').notNull(),
    /** Key of `chunks`; 0 once blanked. */
    chunkId: integer('chunk_id').notNull(),
    /** The chunk's checksum when the column was built. The column is stale if the chunk has another one now. */
    chunkChecksum: integer('chunk_checksum').notNull(),
    checksum: integer('checksum').notNull(),
    /** For each row, the index of its value: 8, 16 or 32 bits. Empty if no row has the property. */
    codes: blob('codes', { mode: 'buffer' }).notNull(),
    /** The distinct values as a JSON array, compressed with zstd. */
    values: blob('values', { mode: 'buffer' }).notNull(),
  },
  (table) => [index('property_columns_chunk').on(table.chunkId, table.propertyId).where(sql`chunk_id > 0`)],
);

/** Deletions of records by name that have begun: see deletion.ts. */
export const deletions = sqliteTable('deletions', {
  id: integer('id').primaryKey(),
  kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
  /** The filter as JSON while the deletion is unfinished, for the next start to finish it; then null. */
  filter: text('filter'),
  /** Rows up to this `seq` are deleted. */
  cutoffSeq: integer('cutoff_seq').notNull(),
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  requestedAt: integer('requested_at').notNull(),
  /** 1 once no database file contains the deleted bytes any more. */
  isOverwritten: integer('is_overwritten').notNull(),
});

/** Series that are sealed beyond the watermark of their kind, while a memtable is sealed in several transactions. */
export const sealedSeries = sqliteTable('sealed_series', {
  seriesId: integer('series_id').primaryKey(),
  seq: integer('seq').notNull(),
});

/**
 * The state of the column store. `metric` and `analytics` are watermarks: all rows up to this `seq` are sealed, and no
 * row after it except those listed in `sealed_series`. `rebuilding` is 1 while chunks are cleared for a rebuild.
 * `user_rows_…` tell which rows are in `user_rows`: see columns/user-rows.ts. `erasures_listed_…` exist while erasures are
 * unfinished: the rows of their users up to this `seq` are in `user_rows`. `blanked_…` tell where deletions have blanked
 * rows whose space was not given back yet: see reclaiming.ts. `hash_seed` makes text hashes unique to this
 * database, so that attackers cannot precompute collisions.
 */
export const columnState = sqliteTable('column_state', {
  name: text('name').primaryKey(),
  value: integer('value').notNull(),
});

/*
 * Forwarding: what each engine behind FORWARD_URL has received. See forwarding.ts. Everything here consists of numbers,
 * names of sinks and reasons without values of rows, except for the user IDs in `sink_erasures`.
 */

/** The sinks that have ever been in FORWARD_URL, with their durable cursors. */
export const sinks = sqliteTable(
  'sinks',
  {
    id: integer('id').primaryKey(),
    /** The URL without credentials. */
    name: text('name').notNull(),
    /** All rows up to this `seq` were delivered or set aside. */
    metricSeq: integer('metric_seq').notNull(),
    analyticsSeq: integer('analytics_seq').notNull(),
    /** All entries of `imported_rows` up to this key were delivered. */
    importId: integer('import_id').notNull(),
    /** Rows that retention deleted before they were delivered. */
    skipped: integer('skipped').notNull(),
  },
  (table) => [uniqueIndex('sinks_name').on(table.name)],
);

/** Rows that a sink did not accept: dead letters, and postponed rows, which are delivered again at `next_at`. */
export const sinkRows = sqliteTable(
  'sink_rows',
  {
    sinkId: integer('sink_id').notNull(),
    kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
    seq: integer('seq').notNull(),
    /** Why the sink did not accept the row. Contains no value of the row. */
    reason: text('reason').notNull(),
    /** When it was last not accepted, in milliseconds since 1970. */
    at: integer('at').notNull(),
    attempts: integer('attempts').notNull(),
    /** Milliseconds since 1970; null for a dead letter. */
    nextAt: integer('next_at'),
  },
  (table) => [primaryKey({ columns: [table.sinkId, table.kind, table.seq] })],
);

/** Erasures that sinks have not repeated yet. A row is blanked once its sink has. */
export const sinkErasures = sqliteTable(
  'sink_erasures',
  {
    id: integer('id').primaryKey(),
    sinkId: integer('sink_id').notNull(),
    /** Null once the sink has erased the user. */
    userId: text('user_id'),
    /** Rows up to this `seq` are erased. */
    cutoffSeq: integer('cutoff_seq').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    requestedAt: integer('requested_at').notNull(),
    /** 1 once no database file contains the user ID any more. */
    isOverwritten: integer('is_overwritten').notNull(),
  },
  (table) => [index('sink_erasures_pending').on(table.sinkId).where(sql`is_overwritten = 0`)],
);

/** The keys of imported rows that some sink has not received: they may lie behind its cursors. One row per transaction. */
export const importedRows = sqliteTable('imported_rows', {
  id: integer('id').primaryKey(),
  kind: text('kind', { enum: ['metric', 'analytics'] }).notNull(),
  /** `seq` of the rows, ascending, as doubles. */
  seqs: blob('seqs', { mode: 'buffer' }).notNull(),
});

/*
 * Boards, shared links, annotations and units. Like tables of rows, they only grow at their end: a change adds a row and
 * blanks the former one, so SQLite never moves texts between pages (blanking.ts). The longest column comes last.
 */

/** The boards: see board-store.ts. */
export const boards = sqliteTable(
  'boards',
  {
    id: integer('id').primaryKey(),
    /** The random ID in the API; null once the board was changed or deleted. */
    boardId: text('board_id'),
    /** The user ID of the owner; null once the owner of a board for everyone was erased. */
    owner: text('owner'),
    scope: text('scope', { enum: ['account', 'everyone'] }).notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
    /** The user IDs that charts filter by, as a JSON array; null if there are none. An erasure reads only these boards. */
    filteredUsers: text('filtered_users'),
    /** The number of charts, so that a list of boards need not read them. */
    chartCount: integer('chart_count').notNull(),
    name: text('name').notNull(),
    /** The charts as a JSON array. */
    charts: text('charts').notNull(),
  },
  (table) => [index('boards_board_id').on(table.boardId).where(sql`board_id IS NOT NULL`)],
);

/** The shared links of boards: see board-link-store.ts. */
export const boardLinks = sqliteTable(
  'board_links',
  {
    id: integer('id').primaryKey(),
    /** The random ID in the API; null once the link was revoked or has expired. */
    linkId: text('link_id'),
    /** SHA-256 of the link's value, which is stored nowhere. */
    hash: blob('hash', { mode: 'buffer' }),
    boardId: text('board_id'),
    /** The user ID of the user who created it. */
    creator: text('creator'),
    /** 1 if the charts read the rows of all users; 0 if they read only those of the creator. */
    isForAll: integer('is_for_all').notNull(),
    /** Milliseconds since 1970-01-01T00:00:00Z. */
    createdAt: integer('created_at').notNull(),
    expiresAt: integer('expires_at').notNull(),
  },
  (table) => [index('board_links_hash').on(table.hash).where(sql`hash IS NOT NULL`)],
);

/** Annotations of charts: see annotation-store.ts. */
export const annotations = sqliteTable('annotations', {
  id: integer('id').primaryKey(),
  /** The random ID in the API; null once deleted. */
  annotationId: text('annotation_id'),
  /** Microseconds since 1970-01-01T00:00:00Z. */
  at: integer('at').notNull(),
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  createdAt: integer('created_at').notNull(),
  /** The user ID of the admin who added it; null once erased. */
  author: text('author'),
  url: text('url'),
  text: text('text'),
});

/** Units of metrics: see unit-store.ts. */
export const metricUnits = sqliteTable('metric_units', {
  id: integer('id').primaryKey(),
  unit: text('unit').notNull(),
  /** Which values are better; null if neither is. */
  better: text('better', { enum: ['lower', 'higher'] }),
  /** The name of the metric; null once its unit was changed or removed. */
  name: text('name'),
});
