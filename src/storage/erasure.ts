import type { Database } from 'bun:sqlite';
import type { ColumnStore } from './columns/column-store.ts';
import { READER_BUSY_TIMEOUT_MS } from './database.ts';
import type { ErasureList, UnfinishedErasure } from './erasure-list.ts';
import { inTransactions, type Job } from './job.ts';
import { addToLedger, DELETED } from './ledger.ts';
import type { TextHash } from './text-hash.ts';
import { checkpoint, truncateWal } from './wal.ts';

/*
 * Erasure never deletes rows that contain texts or values; it blanks them in place. When SQLite deletes a row, it may
 * move other rows to neighboring pages. The old copies stay in the unused parts of pages, where not even
 * `secure_delete` overwrites them and a later erasure could not find them. Overwriting a row with a blank one moves
 * nothing: SQLite zeroes the freed bytes (`secure_delete`) and reuses the row's overflow pages. Tables with texts or
 * values only grow at their end, where SQLite does not move rows either.
 */

/** Rows scanned per statement, to keep read transactions short. */
const WINDOW_ROWS = 20_000;
/** Largest database that VACUUM rewrites within the 50 ms allowed for a transaction, in bytes. */
const SMALL_DATABASE_BYTES = 2 * 1024 * 1024;
/** Attempts to truncate the write-ahead log while another process reads it. If all fail, the next catch-up retries. */
const TRUNCATE_ATTEMPTS = 50;

/** Number of erased rows, by table. */
export interface ErasedRows {
  readonly metrics: number;
  readonly analytics: number;
}

/** The parts of an open database that an erasure needs. */
export interface ErasureContext {
  readonly client: Database;
  readonly store: ColumnStore;
  readonly list: ErasureList;
  readonly hash: TextHash;
}

/**
 * Erases a user: all rows committed so far, their copies in the column store, the user's cached responses, and every
 * name and label that only this user recorded. Rows recorded later are kept.
 *
 * The intent is durable before anything is erased, so the next start can finish an interrupted erasure: see
 * {@link finishErasures}. After the job returns, no query returns the rows. Bytes that an older snapshot still
 * needs are overwritten once it ends: see {@link ErasureList.pending}.
 *
 * @throws SQLite's errors; the erasure then remains unfinished
 */
export function* eraseUser(context: ErasureContext, userId: string): Job<ErasedRows> {
  const { client, store, list } = context;
  yield* store.finishRebuild(); // no rows are applied during a rebuild
  // Seal the memtable first, so that everything about the user is in the tables and survives a crash.
  yield* store.catchUp();
  yield* store.seal();
  yield* store.catchUp();
  client.run('PRAGMA synchronous = FULL'); // the intent must survive a power cut
  try {
    store.retireUser(userId, ({ number, cutoffSeq }) => list.begin({ userId, cutoffSeq, userNumber: number }));
  } finally {
    client.run('PRAGMA synchronous = NORMAL');
  }
  yield;
  return yield* finishErasures(context);
}

/** Finishes every erasure that has begun. Returns the number of rows erased by this call. */
export function* finishErasures(context: ErasureContext): Job<ErasedRows> {
  const { client, store, list } = context;
  let metrics = 0;
  let analytics = 0;
  for (const erasure of list.unfinished()) {
    metrics += yield* blankRows(context, 'metrics', erasure);
    analytics += yield* blankRows(context, 'analytics', erasure);
    yield* blankResponses(context, erasure);
    if (erasure.userNumber !== null) {
      for (const series of store.seriesOfUser(erasure.userNumber)) {
        yield* store.removeUserFrom(series, erasure.userNumber);
      }
    }
    yield* store.removeUser(erasure, erasure.userNumber);
    store.transact(() => list.finish(erasure.id));
    yield;
  }
  for (let attempt = 0; attempt < TRUNCATE_ATTEMPTS && list.pending() > 0; attempt++) {
    finishOverwriting(client, store, list);
    yield;
  }
  return { metrics, analytics };
}

/**
 * Deletes the blank rows of a small database. Deleting moves rows, so VACUUM then rewrites the whole file, which leaves
 * no old copies and takes a few milliseconds at this size. A larger database keeps its blank rows until it is compacted.
 */
function compactSmall(client: Database, store: ColumnStore): void {
  const { bytes } = client
    .query<{ bytes: number }, []>('SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size')
    .get() ?? { bytes: 0 };
  if (bytes > SMALL_DATABASE_BYTES) return;
  store.transact(() => {
    for (const table of ['metrics', 'analytics']) client.run(`DELETE FROM ${table} WHERE user_id = ''`);
    client.run('DELETE FROM cached_responses WHERE key IS NULL');
    client.run('DELETE FROM chunks WHERE rows = 0');
  });
  client.run('VACUUM');
}

/**
 * Truncates the write-ahead log if an erasure is waiting for that, since the log still contains the erased rows. The
 * erasure remains pending while another connection reads an older snapshot.
 */
export function finishOverwriting(client: Database, store: ColumnStore, list: ErasureList): void {
  if (list.pending() === 0) return;
  compactSmall(client, store);
  checkpoint(client);
  if (truncateWal(client, READER_BUSY_TIMEOUT_MS)) store.transact(() => list.markOverwritten());
}

const BLANKS = {
  metrics: `UPDATE metrics SET id = '', user_id = '', happened_at = 0, received_at = 0, metric_name = '',
            metric_value = 0, data_string = '' WHERE seq = ?`,
  analytics: `UPDATE analytics SET id = '', user_id = '', happened_at = 0, received_at = 0, type = '',
              data_index = '', data = '' WHERE seq = ?`,
} as const;
/** SQL for the size of a row's texts in bytes, which SQLite computes without reading the texts. */
const SIZES = {
  metrics: 'octet_length(metric_name) + octet_length(data_string)',
  analytics: 'octet_length(type) + octet_length(data_index) + octet_length(data)',
} as const;
/** Estimated bytes written to blank a row, excluding its texts: part of a page. */
const ROW_BYTES = 400;

/** Blanks a user's rows up to the cutoff. Returns their number. */
function* blankRows(
  { client, store }: ErasureContext,
  table: 'metrics' | 'analytics',
  { userId, cutoffSeq }: UnfinishedErasure,
): Job<number> {
  const windowEnd = client.prepare<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`,
  );
  const inWindow = client.prepare<{ seq: number; bytes: number }, [number, number, string]>(
    `SELECT seq, ${SIZES[table]} AS bytes FROM ${table} WHERE seq > ? AND seq <= ? AND user_id = ?`,
  );
  const blank = client.prepare(BLANKS[table]);
  let removed = 0;
  for (let after = 0; after < cutoffSeq; ) {
    const end = Math.min(windowEnd.get(after)?.seq ?? cutoffSeq, cutoffSeq);
    yield* inTransactions(
      store.transact,
      inWindow.all(after, end, userId),
      ({ seq, bytes }) => {
        blank.run(seq);
        return bytes + ROW_BYTES;
      },
      (done) => {
        addToLedger(client, DELETED, done.length);
        removed += done.length;
      },
    );
    after = end;
    yield;
  }
  return removed;
}

/** Blanks a user's cached responses up to the cutoff, and deletes the names counted for the user. */
function* blankResponses({ client, store, hash }: ErasureContext, { userId, cutoffSeq }: UnfinishedErasure): Job<void> {
  const windowEnd = client.prepare<{ id: number }, [number]>(
    `SELECT id FROM cached_responses WHERE id > ? ORDER BY id LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`,
  );
  const inWindow = client.prepare<{ id: number }, [number, number, string, number]>(
    'SELECT id FROM cached_responses WHERE id > ? AND id <= ? AND user_id = ? AND seq <= ?',
  );
  const blank = client.prepare(BLANK_RESPONSE);
  for (let after: number | undefined = 0; after !== undefined; ) {
    const end: number | undefined = windowEnd.get(after)?.id;
    const found = inWindow.all(after, end ?? Number.MAX_SAFE_INTEGER, userId, cutoffSeq);
    yield* inTransactions(store.transact, found, ({ id }) => {
      blank.run(id);
      return ROW_BYTES;
    });
    after = end;
    yield;
  }
  // A returning user starts again at zero names.
  store.transact(() => client.run('DELETE FROM user_names WHERE user_hash = ?', [hash(userId)]));
}

/** SQL that blanks a cached response by its `id`. */
export const BLANK_RESPONSE = `UPDATE cached_responses SET key_hash = 0, user_id = NULL, route = NULL, key = NULL,
  fingerprint = NULL, response = NULL, seq = 0, created_at = 0 WHERE id = ?`;
