import { KINDS, type Kind } from '../records.ts';
import {
  BLANK_RESPONSE,
  BLANK_ROW_BYTES,
  blank,
  blankRows,
  durably,
  overwrite,
  type RemovalContext,
} from './blanking.ts';
import { eraseBoards } from './board-erasure.ts';
import type { ColumnStore } from './columns/column-store.ts';
import type { UnfinishedErasure } from './erasure-list.ts';
import { inTransactions, type Job } from './job.ts';
import { createUserLookup, type RowOfUser } from './records.ts';
import { withCheckpoints } from './wal.ts';

/** Cached responses scanned per statement, to keep read transactions short. */
const WINDOW_ROWS = 20_000;
/** Rows of the user that are looked up per statement. */
const LOOKUP_ROWS = 1_000;

/** The rows of a user are between those of others: they leave no long runs of blank rows. */
const NOT_RECLAIMED = { isReclaimed: false };

/** Number of erased rows, by table. */
export interface ErasedRows {
  readonly metrics: number;
  readonly analytics: number;
}

/**
 * Erases a user: all rows committed so far, their copies in the column store, the user's cached responses, boards and
 * shared links, and every name and label that only this user recorded. Rows recorded later are kept.
 *
 * The intent is durable before anything is erased, so the next start can finish an interrupted erasure: see
 * {@link finishErasures}. After the job returns, no query returns the rows. Bytes that an older snapshot still
 * needs are overwritten once it ends: see {@link overwrite}.
 *
 * @throws SQLite's errors; the erasure then remains unfinished
 */
export function* eraseUser(context: RemovalContext, userId: string): Job<ErasedRows> {
  const { client, store, list } = context;
  yield* store.finishRebuild(); // no rows are applied during a rebuild
  // Seal the memtable first, so that everything about the user is in the tables and survives a crash.
  yield* store.catchUp();
  yield* store.seal();
  yield* store.catchUp();
  durably(client, () =>
    store.retireUser(userId, ({ number, cutoffSeq }) => list.begin({ userId, cutoffSeq, userNumber: number })),
  );
  yield;
  return yield* finishErasures(context);
}

/** Finishes every erasure that has begun. Returns the number of rows erased by this call. */
export function finishErasures(context: RemovalContext): Job<ErasedRows> {
  return withCheckpoints(context.client, finishAll(context));
}

function* finishAll(context: RemovalContext): Job<ErasedRows> {
  const { store, list } = context;
  let metrics = 0;
  let analytics = 0;
  for (const erasure of list.unfinished()) {
    const places = new RowPlaces();
    metrics += yield* blankRowsOf(context, 'metric', erasure, places);
    analytics += yield* blankRowsOf(context, 'analytics', erasure, places);
    yield* blankResponses(context, erasure);
    yield* eraseBoards(context, erasure.userId, erasure.requestedAt);
    if (erasure.userNumber !== null) {
      const times = places.timesBySeries(store);
      const all = store.seriesOfUser(erasure.userNumber);
      for (const [done, series] of all.entries()) {
        yield { phase: 'erasing from the column store, by name', done, total: all.length };
        yield* store.removal.removeUserFrom(series, erasure.userNumber, times && (times.get(series) ?? NO_TIMES));
      }
    }
    yield* store.blankStaleColumns();
    yield* store.removeUser(erasure, erasure.userNumber);
    store.transact(() => {
      list.finish(erasure.id);
      if (list.unfinished().length === 0) store.endErasures();
    });
    yield;
  }
  yield* overwrite(context);
  return { metrics, analytics };
}

const NO_TIMES = new Float64Array(0);

/** Where the rows of a user were: their names and times. */
class RowPlaces {
  /** Whether all rows are known. They are not if an interrupted erasure has already blanked some of them. */
  isComplete = true;
  readonly #times: Record<Kind, Map<string, number[]>> = { metric: new Map(), analytics: new Map() };

  add(kind: Kind, { name, time }: RowOfUser): void {
    const times = this.#times[kind].get(name);
    if (times) times.push(time);
    else this.#times[kind].set(name, [time]);
  }

  /** Returns when the rows of each series happened, ascending; undefined if not all rows are known. */
  timesBySeries(store: ColumnStore): ReadonlyMap<number, Float64Array> | undefined {
    if (!this.isComplete) return undefined;
    const found = KINDS.flatMap((kind) => {
      const times = this.#times[kind];
      return store
        .sealedSeries(kind, times.keys())
        .map(({ id, name }) => [id, Float64Array.from(times.get(name) ?? []).sort()] as const);
    });
    return new Map(found);
  }
}

/** Blanks the rows of a user. Scans only the rows that the column store does not list. Returns the number of rows. */
function* blankRowsOf(
  context: RemovalContext,
  kind: Kind,
  { userId: user, cutoffSeq, userNumber }: UnfinishedErasure,
  places: RowPlaces,
): Job<number> {
  const filter = { user, name: undefined, from: undefined, to: undefined };
  const listed = context.store.rowsOfRetired(kind, userNumber);
  if (!listed) {
    places.isComplete = false;
    return yield* blankRows(context, kind, filter, cutoffSeq, NOT_RECLAIMED);
  }
  const { seqs, to } = listed;
  const lookUp = createUserLookup(context.client, kind, user);
  let blanked = 0;
  for (let at = 0; at < seqs.length; at += LOOKUP_ROWS) {
    const keys = Array.from(seqs.subarray(at, at + LOOKUP_ROWS));
    const rows = lookUp(keys);
    if (rows.length < keys.length) places.isComplete = false;
    for (const row of rows) places.add(kind, row);
    blanked += yield* blank(context, kind, rows, NOT_RECLAIMED);
    yield { phase: kind === 'metric' ? 'erasing metrics' : 'erasing events', done: blanked, total: seqs.length };
  }
  return blanked + (yield* blankRows(context, kind, filter, cutoffSeq, { first: to, ...NOT_RECLAIMED }));
}

/** Blanks a user's cached responses up to the cutoff, and deletes the names counted for the user. */
export function* blankResponses(
  { client, store, hash }: RemovalContext,
  { userId, cutoffSeq }: Pick<UnfinishedErasure, 'userId' | 'cutoffSeq'>,
): Job<void> {
  const windowEnd = client.prepare<{ id: number }, [number]>(
    `SELECT id FROM cached_responses WHERE id > ? ORDER BY id LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`,
  );
  const inWindow = client.prepare<{ id: number }, [number, number, string, number]>(
    'SELECT id FROM cached_responses WHERE id > ? AND id <= ? AND user_id = ? AND seq <= ?',
  );
  const blankOne = client.prepare(BLANK_RESPONSE);
  for (let after: number | undefined = 0; after !== undefined; ) {
    const end: number | undefined = windowEnd.get(after)?.id;
    const found = inWindow.all(after, end ?? Number.MAX_SAFE_INTEGER, userId, cutoffSeq);
    yield* inTransactions(store.transact, found, ({ id }) => {
      blankOne.run(id);
      return BLANK_ROW_BYTES;
    });
    after = end;
    yield;
  }
  // A returning user starts again at zero names.
  store.transact(() => client.run('DELETE FROM user_names WHERE user_hash = ?', [hash(userId)]));
}
