import type { Database } from 'bun:sqlite';
import { KINDS } from '../records.ts';
import { blankRows, durably, overwrite, type RemovalContext } from './blanking.ts';
import { eraseBoards } from './board-erasure.ts';
import { usersOfBoards } from './board-users.ts';
import { seqsOf } from './columns/chunk.ts';
import type { RowSelector } from './columns/series-removal.ts';
import { blankResponses, finishErasures } from './erasure.ts';
import { addFinishedErasure, type ListedErasure, readErasures } from './erasure-list.ts';
import type { Job } from './job.ts';
import { hasRowsOfUserAfter } from './records.ts';
import { beginSinkErasures } from './sink-erasures.ts';

/*
 * Repeats erasures in a restored database, which has the rows as they were before. The user IDs are unknown: each user in
 * the database is hashed and compared.
 */

/** An erasure to repeat: a keyed hash, and the `seq` up to which rows are erased. */
export type KnownErasure = Omit<ListedErasure, 'id'>;

/** Returns the erasures that a database does not list yet, one per user. */
export function missingErasures<Erasure extends KnownErasure>(
  client: Database,
  erasures: readonly Erasure[],
): Erasure[] {
  const listed = byHash(readErasures(client));
  const missing = erasures.filter(
    ({ userHash, cutoffSeq }) => (listed.get(keyOf(userHash))?.cutoffSeq ?? -1) < cutoffSeq,
  );
  return [...byHash(missing).values()];
}

/**
 * Repeats erasures, and adds them to the erasure list. No other connection may write. Rows after the cutoff of an erasure
 * are kept.
 *
 * @param hashUser the keyed hash of the erasures
 * @param erasures one per user
 * @returns the number of users that were found in the database
 */
export function* replayErasures(
  context: RemovalContext,
  hashUser: (userId: string) => Uint8Array,
  erasures: readonly KnownErasure[],
): Job<number> {
  const { client, store, list } = context;
  yield* store.finishRebuild();
  yield* finishErasures(context);
  // afterwards, every user is in the dictionary
  yield* store.catchUp();
  yield* store.seal();
  yield* store.catchUp();
  const wanted = byHash(erasures);
  const found = new Map<string, KnownErasure>();
  for (const userId of userIds(client)) {
    const erasure = wanted.get(keyOf(hashUser(userId)));
    if (erasure) found.set(userId, erasure);
  }
  for (const [userId, erasure] of found) {
    const { cutoffSeq } = erasure;
    if (hasRowsOfUserAfter(client, userId, cutoffSeq)) {
      yield* eraseOlderRows(context, userId, cutoffSeq);
      yield* eraseBoards(context, userId, erasure.requestedAt);
    } else {
      durably(client, () =>
        store.retireUser(userId, ({ number }) => list.begin({ userId, cutoffSeq, userNumber: number }), cutoffSeq),
      );
      wanted.delete(keyOf(erasure.userHash));
    }
    yield;
  }
  store.transact(() => {
    for (const erasure of wanted.values()) addFinishedErasure(client, erasure);
  });
  yield* finishErasures(context);
  yield* overwrite(context);
  return found.size;
}

/** Erases the rows of a user who has recorded others since. */
function* eraseOlderRows(context: RemovalContext, userId: string, cutoffSeq: number): Job<void> {
  const { store } = context;
  const filter = { user: userId, name: undefined, from: undefined, to: undefined };
  for (const kind of KINDS) yield* blankRows(context, kind, filter, cutoffSeq, { isReclaimed: false });
  yield* blankResponses(context, { userId, cutoffSeq });
  store.transact(() => beginSinkErasures(context.client, userId, cutoffSeq, Date.now()));
  const number = store.user(userId);
  if (number === undefined) return;
  const select: RowSelector = function* (chunk) {
    yield;
    const seqs = seqsOf(chunk);
    return (row) => chunk.users[row] === number && (seqs[row] as number) <= cutoffSeq;
  };
  for (const series of store.seriesOfUser(number)) yield* store.removal.removeRows(series, select);
  yield* store.blankStaleColumns();
}

/** Returns every user of whom a database has rows, cached responses or anything about boards. */
function userIds(client: Database): Iterable<string> {
  const rows = client
    .query<{ userId: string }, []>(
      `SELECT user_id AS userId FROM users WHERE user_id IS NOT NULL
       UNION SELECT user_id FROM cached_responses WHERE user_id IS NOT NULL`,
    )
    .all();
  return new Set([...rows.map(({ userId }) => userId), ...usersOfBoards(client)]);
}

/** Returns the erasure with the latest cutoff of each user. */
function byHash<Erasure extends KnownErasure>(erasures: readonly Erasure[]): Map<string, Erasure> {
  const latest = new Map<string, Erasure>();
  for (const erasure of erasures) {
    const key = keyOf(erasure.userHash);
    if ((latest.get(key)?.cutoffSeq ?? -1) < erasure.cutoffSeq) latest.set(key, erasure);
  }
  return latest;
}

function keyOf(userHash: Uint8Array): string {
  return Buffer.from(userHash).toString('hex');
}
