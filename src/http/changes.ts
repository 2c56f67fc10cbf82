import type { Principal } from '../auth/verifier.ts';
import { ApiError } from '../errors.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { FreeSpace } from '../ingest/free-space.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import { toApiError } from '../ingest/to-api-error.ts';

/*
 * Changes to what is stored beside records: boards, shared links, annotations and units. They go through the commit queue,
 * so a response is sent only once they are on disk, and count toward the rate limits of recording.
 */

/** Dependencies of the functions that change the database. */
export interface ChangeParts {
  readonly queue: Pick<CommitQueue, 'store'>;
  readonly freeSpace: Pick<FreeSpace, 'isShort'>;
  readonly rows: RateLimit;
  readonly bytes: RateLimit;
  readonly isOpen: () => boolean;
}

/**
 * Checks that a caller may change the database now.
 *
 * @param bytes the size of the request's body; 0 for one that only deletes
 * @throws {ApiError} `shutting_down`, `storage_full` or `rate_limited`
 */
export function admitChange(
  { isOpen, freeSpace, rows, bytes: byteLimit }: ChangeParts,
  { userId, role }: Principal,
  bytes: number,
): void {
  if (!isOpen()) throw new ApiError('shutting_down');
  if (bytes > 0 && freeSpace.isShort()) throw new ApiError('storage_full');
  rows.check(userId, 1);
  if (role !== 'admin') byteLimit.take(userId, bytes);
  rows.take(userId, 1);
}

/**
 * Runs a change in a transaction. Resolves with its outcome once the transaction is on disk.
 *
 * @param bytes approximate memory that the change uses
 * @param work returns the number of changed rows and the outcome; may run several times. Must not throw
 * @throws {ApiError} as {@link CommitQueue.store} does
 */
export async function commitChange<Outcome>(
  queue: ChangeParts['queue'],
  bytes: number,
  work: () => { readonly changes: number; readonly outcome: Outcome },
): Promise<Outcome> {
  let latest: { readonly outcome: Outcome } | undefined;
  await queue.store([], bytes, {
    change() {
      const done = work();
      latest = done;
      return done.changes;
    },
  });
  if (!latest) throw new ApiError('internal'); // the queue runs every change before it resolves
  return latest.outcome;
}

/**
 * Reads from the database.
 *
 * @throws {ApiError} if that fails
 */
export function readStored<Result>(read: () => Result): Result {
  try {
    return read();
  } catch (error) {
    throw error instanceof ApiError ? error : toApiError(error);
  }
}
