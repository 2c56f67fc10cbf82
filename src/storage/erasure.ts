import { BLANK_RESPONSE, BLANK_ROW_BYTES, blankRows, durably, overwrite, type RemovalContext } from './blanking.ts';
import type { UnfinishedErasure } from './erasure-list.ts';
import { inTransactions, type Job } from './job.ts';

/** Cached responses scanned per statement, to keep read transactions short. */
const WINDOW_ROWS = 20_000;

/** Number of erased rows, by table. */
export interface ErasedRows {
  readonly metrics: number;
  readonly analytics: number;
}

/**
 * Erases a user: all rows committed so far, their copies in the column store, the user's cached responses, and every
 * name and label that only this user recorded. Rows recorded later are kept.
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
export function* finishErasures(context: RemovalContext): Job<ErasedRows> {
  const { store, list } = context;
  let metrics = 0;
  let analytics = 0;
  for (const erasure of list.unfinished()) {
    const { userId: user, cutoffSeq } = erasure;
    const filter = { user, name: undefined, from: undefined, to: undefined };
    metrics += yield* blankRows(context, 'metric', filter, cutoffSeq);
    analytics += yield* blankRows(context, 'analytics', filter, cutoffSeq);
    yield* blankResponses(context, erasure);
    if (erasure.userNumber !== null) {
      for (const series of store.seriesOfUser(erasure.userNumber)) {
        yield* store.removeUserFrom(series, erasure.userNumber);
      }
    }
    yield* store.blankStaleColumns();
    yield* store.removeUser(erasure, erasure.userNumber);
    store.transact(() => list.finish(erasure.id));
    yield;
  }
  yield* overwrite(context);
  return { metrics, analytics };
}

/** Blanks a user's cached responses up to the cutoff, and deletes the names counted for the user. */
function* blankResponses({ client, store, hash }: RemovalContext, { userId, cutoffSeq }: UnfinishedErasure): Job<void> {
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
      return BLANK_ROW_BYTES;
    });
    after = end;
    yield;
  }
  // A returning user starts again at zero names.
  store.transact(() => client.run('DELETE FROM user_names WHERE user_hash = ?', [hash(userId)]));
}
