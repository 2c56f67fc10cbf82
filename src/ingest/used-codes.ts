import type { Writer } from '../storage/writer.ts';
import type { CommitQueue } from './commit-queue.ts';
import { toApiError } from './to-api-error.ts';

/** How long a used code is kept after it has expired, in case the clock is set back. */
const USED_CODE_TTL_MS = 24 * 3_600_000;

/** Ensures that each sign-in code is used only once, even by concurrent requests and after a restart. */
export interface UsedCodes {
  /**
   * Marks a code as used. Resolves once the mark is on disk.
   *
   * @param expiresAt milliseconds since 1970
   * @returns whether the code was unused
   * @throws {ApiError} as {@link CommitQueue.store} does; the code may then be marked as used
   */
  use(jti: string, expiresAt: number): Promise<boolean>;
}

/** Creates the list of used codes, which is stored in the database. */
export function createUsedCodes(writer: Pick<Writer, 'isUsed'>, queue: Pick<CommitQueue, 'store'>): UsedCodes {
  const inProgress = new Set<string>();

  function isUsed(jti: string): boolean {
    try {
      return inProgress.has(jti) || writer.isUsed(jti);
    } catch (error) {
      throw toApiError(error);
    }
  }

  return {
    async use(jti, expiresAt) {
      // synchronous from this check to inProgress.add, so two requests cannot both find the code unused
      if (isUsed(jti)) return false;
      inProgress.add(jti);
      try {
        await queue.store([], 0, { code: { jti, expiresAt } });
        return true;
      } finally {
        inProgress.delete(jti);
      }
    },
  };
}

/**
 * Deletes used codes that have expired.
 *
 * @param now returns the time in milliseconds since 1970
 * @throws {StorageError}
 */
export function deleteExpiredCodes(writer: Pick<Writer, 'deleteUsedCodes'>, now: () => number): void {
  writer.deleteUsedCodes(now() - USED_CODE_TTL_MS);
}
