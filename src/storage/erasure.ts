import type { Database } from 'bun:sqlite';
import type { ColumnStore } from './columns/column-store.ts';
import { READER_BUSY_TIMEOUT } from './database.ts';
import type { ErasureList, UnfinishedErasure } from './erasure-list.ts';
import { inTransactions, type Job } from './job.ts';
import { addToLedger, DELETED } from './ledger.ts';
import type { TextHash } from './text-hash.ts';
import { checkpoint, truncateLog } from './wal.ts';

/*
 * Erasure. Deleting a row leaves copies of other rows behind, in parts of pages that SQLite does not use: it moves
 * rows to neighboring pages, and not even `secure_delete` overwrites where they were. A later erasure could not find
 * those copies. So nothing is deleted here: a row is overwritten in place by a blank one, which moves nothing. SQLite
 * zeroes what the row took before (`secure_delete`), and reuses its overflow pages. Tables that hold texts or values
 * only grow at their end, where SQLite moves nothing either.
 */

/** Rows looked at in one statement, so that no read transaction is long. */
const WINDOW_ROWS = 20_000;
/** A database of up to this size is written again as a whole within the 50 ms that a transaction may take. */
const SMALL_DATABASE_BYTES = 2 * 1024 * 1024;
/** Attempts to empty the write-ahead log until it is left for later: another process reads the database. */
const TRUNCATE_ATTEMPTS = 50;

/** How many rows of a user were erased. */
export interface Erased {
  readonly metrics: number;
  readonly analytics: number;
}

/** What an erasure works on. */
export interface ErasureParts {
  readonly client: Database;
  readonly store: ColumnStore;
  readonly list: ErasureList;
  readonly hash: TextHash;
}

/**
 * Erases a user: every row that is committed by now, what the column store and the idempotency table have of them,
 * and every name and label that only this user had. Rows recorded later stay.
 *
 * The intent is durable before anything is erased, so that the next start can finish the work: see
 * {@link finishErasures}. When the job returns, no query returns the rows. Bytes that an older snapshot still
 * needs are overwritten once it ends: see {@link ErasureList.pending}.
 *
 * @throws SQLite's errors; the erasure then stays unfinished
 */
export function* eraseUser(parts: ErasureParts, userId: string): Job<Erased> {
  const { client, store, list } = parts;
  yield* store.finishRebuild(); // during a rebuild, no row is applied
  // the rows in memory first become chunks: what is known of the user is then in the tables, also after a crash
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
  return yield* finishErasures(parts);
}

/** Finishes every erasure that was begun. Returns how many rows that were; 0 if there are none to finish. */
export function* finishErasures(parts: ErasureParts): Job<Erased> {
  const { client, store, list } = parts;
  let metrics = 0;
  let analytics = 0;
  for (const erasure of list.unfinished()) {
    metrics += yield* blankRows(parts, 'metrics', erasure);
    analytics += yield* blankRows(parts, 'analytics', erasure);
    yield* blankResponses(parts, erasure);
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
 * Removes the blank rows of a small database. Deleting moves rows, so the whole file is written again after it, which
 * leaves nothing behind and takes some milliseconds for a file of this size. In a larger one blank rows stay until it
 * is compacted.
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
 * Empties the write-ahead log if an erasure waits for it: it has the rows as they were before. Does nothing while
 * another connection reads an older snapshot.
 */
export function finishOverwriting(client: Database, store: ColumnStore, list: ErasureList): void {
  if (list.pending() === 0) return;
  compactSmall(client, store);
  checkpoint(client);
  if (truncateLog(client, READER_BUSY_TIMEOUT)) store.transact(() => list.noteOverwritten());
}

const BLANKS = {
  metrics: `UPDATE metrics SET id = '', user_id = '', happened_at = 0, received_at = 0, metric_name = '',
            metric_value = 0, data_string = '' WHERE seq = ?`,
  analytics: `UPDATE analytics SET id = '', user_id = '', happened_at = 0, received_at = 0, type = '',
              data_index = '', data = '' WHERE seq = ?`,
} as const;
/** The bytes of a row's texts, found without reading them. */
const SIZES = {
  metrics: 'octet_length(metric_name) + octet_length(data_string)',
  analytics: 'octet_length(type) + octet_length(data_index) + octet_length(data)',
} as const;
/** What blanking a row writes beside its texts, about: part of a page. */
const ROW_BYTES = 400;

/** Overwrites a user's rows up to the cutoff; returns how many there were. */
function* blankRows(
  { client, store }: ErasureParts,
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

/** Overwrites the cached responses to a user's requests up to the cutoff, and the names counted for the user. */
function* blankResponses({ client, store, hash }: ErasureParts, { userId, cutoffSeq }: UnfinishedErasure): Job<void> {
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
  // a returning user starts with no names counted
  store.transact(() => client.run('DELETE FROM user_names WHERE user_hash = ?', [hash(userId)]));
}

/** Overwrites a cached response by its `id`. */
export const BLANK_RESPONSE = `UPDATE cached_responses SET key_hash = 0, user_id = NULL, route = NULL, key = NULL,
  fingerprint = NULL, response = NULL, seq = 0, created_at = 0 WHERE id = ?`;
