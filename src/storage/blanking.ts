import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';
import { addBlanked, readGuardRows } from './blanked-range.ts';
import type { ColumnStore } from './columns/column-store.ts';
import { READER_BUSY_TIMEOUT_MS } from './database.ts';
import type { DeletionList } from './deletion-list.ts';
import type { ErasureList } from './erasure-list.ts';
import { inTransactions, type Job, type TransactionLimits } from './job.ts';
import { addToLedger, DELETED } from './ledger.ts';
import { hasMovedCells, markMovedCells, removeMovedCells } from './moved-cells.ts';
import { BLANK_SOURCE } from './record-sources.ts';
import {
  createExpiredSum,
  createKeyScan,
  createRunDeletion,
  type MatchingRow,
  type RecordFilter,
  type RowSum,
} from './records.ts';
import { HAPPENED_AT } from './row-form.ts';
import type { TextHash } from './text-hash.ts';
import { checkpoint, truncateWal } from './wal.ts';

/*
 * Erasures and deletions never delete rows that contain texts or values; they blank them in place. When SQLite deletes a
 * row, it may move other rows to neighboring pages. The old copies stay in the unused parts of pages, where not even
 * `secure_delete` overwrites them and a later erasure could not find them. Overwriting a row with a blank one moves
 * nothing: SQLite zeroes the freed bytes (`secure_delete`) and reuses the row's overflow pages. Tables with texts or
 * values only grow at their end, where SQLite does not move rows either. Only rows that have many blank ones on both sides are
 * deleted: see reclaiming.ts.
 */

/** Largest database that VACUUM rewrites within the 50 ms allowed for a transaction, in bytes. */
const SMALL_DATABASE_BYTES = 2 * 1024 * 1024;
/** Attempts to truncate the write-ahead log while another process reads it. If all fail, the next catch-up retries. */
const TRUNCATE_ATTEMPTS = 50;
/** Estimated bytes written to blank a row, excluding its texts: part of a page. */
export const BLANK_ROW_BYTES = 400;
/** Rows that are blanked together: about 1 ms. */
const ROWS_PER_PART = 500;

/** The parts of an open database that erasures and deletions need. */
export interface RemovalContext {
  readonly client: Database;
  readonly store: ColumnStore;
  readonly list: ErasureList;
  readonly deletions: DeletionList;
  readonly hash: TextHash;
}

/** SQL that blanks a row by its `seq`. */
const BLANKS = {
  metric: `UPDATE metrics SET id = '', user_id = '', happened_at = 0, received_at = 0, metric_name = '',
           metric_value = 0, data_string = '' WHERE seq = ?`,
  analytics: `UPDATE analytics SET id = '', user_id = '', happened_at = 0, received_at = 0, type = '',
              data_index = '', data = '' WHERE seq = ?`,
} as const;

/** SQL that blanks a cached response by its `id`. */
export const BLANK_RESPONSE = `UPDATE cached_responses SET key_hash = 0, user_id = NULL, route = NULL, key = NULL,
  fingerprint = NULL, response = NULL, seq = 0, created_at = 0 WHERE id = ?`;

/**
 * Blanks the rows up to the cutoff that match a filter. Each transaction also counts its rows in the ledger.
 *
 * @param first the rows after this `seq` are scanned
 * @returns the number of rows
 */
export function* blankRows(
  context: RemovalContext,
  kind: Kind,
  filter: RecordFilter,
  cutoffSeq: number,
  { first = 0, isReclaimed }: Pick<BlankOptions, 'isReclaimed'> & { readonly first?: number },
): Job<number> {
  const scan = createKeyScan(context.client, kind, filter, cutoffSeq);
  let blanked = 0;
  for (let after: number | undefined = first; after !== undefined && after < cutoffSeq; ) {
    const window: ReturnType<typeof scan> = scan(after);
    blanked += yield* blank(context, kind, window.rows, { isReclaimed });
    after = window.next;
    yield;
  }
  return blanked;
}

/** Options of {@link blank}. */
export interface BlankOptions {
  /** Whether the rows can be parts of long runs, whose space {@link reclaimSpace} gives back. */
  readonly isReclaimed: boolean;
}

/** Blanks rows. Each transaction also counts its rows in the ledger. Returns the number of rows. */
export function* blank(
  { client, store }: RemovalContext,
  kind: Kind,
  rows: readonly MatchingRow[],
  { isReclaimed }: BlankOptions,
): Job<number> {
  const statement = client.query(BLANKS[kind]);
  const blankSource = client.query(BLANK_SOURCE);
  yield* inTransactions(
    store.transact,
    rows,
    ({ seq, bytes }) => {
      statement.run(seq);
      blankSource.run(seq);
      return bytes + BLANK_ROW_BYTES;
    },
    (done) => {
      addToLedger(client, DELETED, done.length);
      const seqs = done.map(({ seq }) => seq);
      if (isReclaimed) addBlanked(client, kind, Math.min(...seqs), Math.max(...seqs));
    },
  );
  return rows.length;
}

/**
 * Blanks the rows with some keys, except for those that are blank or did not happen before a time. Each transaction also
 * counts its rows in the ledger, and deletes those in the middle of a long run of blank rows, so that their pages are written
 * only once.
 *
 * @param keys ascending. Neighbors share the pages that are written
 * @param before in microseconds since 1970
 * @param onBlanked called with the keys of the rows after each transaction
 * @returns the rows
 */
export function* blankKeys(
  { client, store }: RemovalContext,
  kind: Kind,
  keys: Float64Array,
  before: number,
  limits: TransactionLimits | undefined,
  onBlanked: (seqs: readonly number[]) => void = () => {},
): Job<RowSum> {
  const statement = client.query<never, [number, number]>(`${BLANKS[kind]} AND user_id <> '' AND ${HAPPENED_AT} < ?`);
  const blankSource = client.query(BLANK_SOURCE);
  const sum = createExpiredSum(client, kind);
  const deleteRun = createRunDeletion(client, kind, readGuardRows(client));
  const total = { rows: 0, bytes: 0 };
  function* parts(): Generator<Float64Array> {
    for (let at = 0; at < keys.length; at += ROWS_PER_PART) yield keys.subarray(at, at + ROWS_PER_PART);
  }
  let uncounted: { seqs: number[]; bytes: number } = { seqs: [], bytes: 0 };
  yield* inTransactions(
    store.transact,
    parts(),
    (part) => {
      const found = sum(part, before); // in the same transaction, which has the pages in its cache
      for (const seq of part) {
        if (statement.run(seq, before).changes === 0) continue;
        blankSource.run(seq);
        uncounted.seqs.push(seq);
      }
      uncounted.bytes += found.bytes;
      return found.bytes;
    },
    (done) => {
      if (uncounted.seqs.length === 0) return;
      addToLedger(client, DELETED, uncounted.seqs.length);
      const [first, last] = [done[0]?.[0] as number, done.at(-1)?.at(-1) as number];
      addBlanked(client, kind, first, last);
      deleteRun(first, last);
    },
    () => {
      total.rows += uncounted.seqs.length;
      total.bytes += uncounted.bytes;
      onBlanked(uncounted.seqs);
      uncounted = { seqs: [], bytes: 0 };
    },
    limits,
  );
  return total;
}

/** Runs a transaction's work so that it survives a power cut once it is committed. */
export function durably<Result>(client: Database, work: () => Result): Result {
  client.run('PRAGMA synchronous = FULL');
  try {
    return work();
  } finally {
    client.run('PRAGMA synchronous = NORMAL');
  }
}

/** Overwrites the blanked data in every file, unless another process reads an older snapshot for too long. */
export function* overwrite(context: RemovalContext): Job<void> {
  for (let attempt = 0; attempt < TRUNCATE_ATTEMPTS && isOverwritingDue(context); attempt++) {
    finishOverwriting(context);
    yield;
  }
}

function isOverwritingDue({ client, list, deletions }: RemovalContext): boolean {
  if (!list.isOverwritingDue() && !deletions.isOverwritingDue()) return false;
  // only the next start can remove the copies from a large file
  return sizeOf(client) <= SMALL_DATABASE_BYTES || !hasMovedCells(client);
}

/** Returns the size of a database file, in bytes. */
function sizeOf(client: Database): number {
  const found = client
    .query<{ bytes: number }, []>('SELECT page_count * page_size AS bytes FROM pragma_page_count, pragma_page_size')
    .get();
  return found?.bytes ?? 0;
}

/**
 * Truncates the write-ahead log if a finished erasure or deletion is waiting for that, since the log still contains the
 * rows. It remains pending while another connection reads an older snapshot.
 */
export function finishOverwriting(context: RemovalContext): void {
  if (!isOverwritingDue(context)) return;
  const { client, store, list, deletions } = context;
  compactSmall(client, store);
  checkpoint(client);
  if (!truncateWal(client, READER_BUSY_TIMEOUT_MS)) return;
  store.transact(() => {
    list.markOverwritten();
    deletions.markOverwritten();
  });
}

/**
 * Deletes the blank rows of a small database. Deleting moves rows, so VACUUM then rewrites the whole file, which leaves
 * no old copies and takes a few milliseconds at this size. A larger database keeps its blank rows until it is compacted.
 */
function compactSmall(client: Database, store: ColumnStore): void {
  if (sizeOf(client) > SMALL_DATABASE_BYTES) return;
  store.transact(() => {
    for (const table of ['metrics', 'analytics']) client.run(`DELETE FROM ${table} WHERE user_id = ''`);
    client.run('DELETE FROM cached_responses WHERE key IS NULL');
    client.run('DELETE FROM record_sources WHERE source_id IS NULL');
    // not the last one: a new chunk would get its key, which a prune that was interrupted may have seen
    client.run('DELETE FROM chunks WHERE rows = 0 AND id < (SELECT max(id) FROM chunks)');
    client.run('DELETE FROM chunk_summaries WHERE chunk_id NOT IN (SELECT id FROM chunks)');
    client.run('DELETE FROM property_columns WHERE chunk_id = 0');
    client.run('DELETE FROM user_rows WHERE rows = 0');
    client.run('DELETE FROM boards WHERE board_id IS NULL');
    client.run('DELETE FROM board_links WHERE link_id IS NULL');
    client.run('DELETE FROM annotations WHERE annotation_id IS NULL');
    client.run('DELETE FROM metric_units WHERE name IS NULL');
    markMovedCells(client); // until VACUUM is complete
  });
  removeMovedCells(client);
}
