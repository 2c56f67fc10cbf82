import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../records.ts';
import { blankRows, durably, overwrite, type RemovalContext } from './blanking.ts';
import { type Chunk, seqsOf } from './columns/chunk.ts';
import type { RowSelector } from './columns/series-removal.ts';
import type { DeletionFilter, UnfinishedDeletion } from './deletion-list.ts';
import { blankExpired, isExpiry } from './expiry.ts';
import { type Job, uninterrupted } from './job.ts';
import { createBlankTest, createKeyScan, newestSeq } from './records.ts';

/** Rows of a chunk that are looked up per step. */
const LOOKUP_ROWS = 10_000;

/**
 * Deletes the rows committed so far that match a filter, and their copies in the column store, including labels and the
 * name itself if no other row has them. Rows recorded later are kept.
 *
 * The intent is durable before anything is deleted, so the next start can finish an interrupted deletion: see
 * {@link finishDeletions}. After the job returns, no query returns the rows. Bytes that an older snapshot still needs
 * are overwritten once it ends.
 *
 * @returns the number of rows
 * @throws SQLite's errors; the deletion then remains unfinished
 */
export function* deleteRecords(context: RemovalContext, kind: Kind, filter: DeletionFilter): Job<number> {
  const { client, store, deletions } = context;
  yield* store.finishRebuild(); // no rows are applied during a rebuild
  for (const earlier of deletions.unfinished()) {
    // its rows are not this deletion's
    if (earlier.kind === kind && earlier.filter.name === filter.name) yield* finishDeletion(context, earlier);
  }
  yield* store.catchUp();
  const deletion = { kind, filter, cutoffSeq: store.position(kind) };
  const id = durably(client, () => store.transact(() => deletions.begin(deletion)));
  yield;
  const deleted = yield* finishDeletion(context, { id, ...deletion });
  yield* overwrite(context);
  return deleted;
}

/** Returns the number of rows that {@link deleteRecords} would delete now, and changes nothing. */
export function* countMatching(client: Database, kind: Kind, filter: DeletionFilter): Job<number> {
  const scan = createKeyScan(client, kind, filter, newestSeq(client, kind));
  let matching = 0;
  for (let after: number | undefined = 0; after !== undefined; ) {
    const window: ReturnType<typeof scan> = scan(after);
    matching += window.rows.length;
    after = window.next;
    yield;
  }
  return matching;
}

/** Finishes every deletion that has begun. Returns the number of rows deleted by this call. */
export function* finishDeletions(context: RemovalContext): Job<number> {
  const deleted = yield* finishAll(context, context.deletions.unfinished());
  yield* overwrite(context);
  return deleted;
}

/**
 * Finishes deletions, except for overwriting. There can be one for each name, if a prune was interrupted: their rows are found
 * together, through the chunks. Returns the number of rows deleted by this call.
 */
export function* finishAll(context: RemovalContext, unfinished: readonly UnfinishedDeletion[]): Job<number> {
  const { store } = context;
  yield* store.finishRebuild(); // no rows are applied during a rebuild
  const { loads } = store;
  let deleted = 0;
  for (const kind of KINDS) {
    const expiries = unfinished.filter((deletion) => deletion.kind === kind && isExpiry(deletion));
    for (const { cutoffSeq } of expiries) yield* sealTo(context, kind, cutoffSeq);
    const { rows } = yield* uninterrupted(blankExpired(context, kind, expiries));
    deleted += rows;
  }
  for (const deletion of unfinished) {
    deleted += yield* finishDeletion(context, deletion, isExpiry(deletion) && store.loads === loads);
  }
  return deleted;
}

/** Makes sure that the rows up to a `seq` are in chunks, because those in the memtable are not removed. */
function* sealTo({ store }: RemovalContext, kind: Kind, cutoffSeq: number): Job<void> {
  if (store.sealedTo(kind) >= cutoffSeq) return;
  yield* store.catchUp();
  yield* store.seal();
}

/**
 * Finishes a deletion, except for overwriting. Returns the number of rows deleted by this call.
 *
 * @param isBlank whether all of its rows are blank already
 */
function* finishDeletion(context: RemovalContext, deletion: UnfinishedDeletion, isBlank = false): Job<number> {
  const { store, deletions } = context;
  const { id, kind, filter, cutoffSeq } = deletion;
  yield* sealTo(context, kind, cutoffSeq);
  const deleted = isBlank ? 0 : yield* blankRows(context, kind, filter, cutoffSeq, { isReclaimed: true });
  for (const { id: series } of store.sealedSeries(kind, [filter.name])) {
    yield* store.removal.removeRows(series, selectBlankRows(context, deletion));
  }
  yield* store.blankStaleColumns();
  store.transact(() => deletions.finish(id));
  yield;
  return deleted;
}

/** Creates the selector of the rows in chunks that the deletion has blanked. */
function selectBlankRows(
  { client, store }: RemovalContext,
  { kind, filter, cutoffSeq }: UnfinishedDeletion,
): RowSelector {
  const areBlank = createBlankTest(client, kind);
  const { user, from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY } = filter;
  const userNumber = user === undefined ? undefined : store.user(user);
  const isCandidate = ({ users, times }: Chunk, row: number, seq: number) => {
    const time = times[row] as number;
    return seq <= cutoffSeq && time >= from && time < to && (user === undefined || users[row] === userNumber);
  };
  return function* (chunk, checkedTo) {
    const seqs = seqsOf(chunk);
    const isRemoved = new Uint8Array(chunk.rows);
    yield;
    for (let start = 0; start < chunk.rows; start += LOOKUP_ROWS) {
      const rows: number[] = [];
      for (let row = start; row < Math.min(start + LOOKUP_ROWS, chunk.rows); row++) {
        const seq = seqs[row] as number;
        if (seq > checkedTo && isCandidate(chunk, row, seq)) rows.push(row);
      }
      if (rows.length === 0) continue;
      for (const i of areBlank(rows.map((row) => seqs[row] as number))) isRemoved[rows[i] as number] = 1;
      yield;
    }
    return (row) => isRemoved[row] === 1;
  };
}
