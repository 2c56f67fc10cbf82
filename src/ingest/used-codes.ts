import type { Writer } from '../storage/writer.ts';
import type { CommitQueue } from './commit-queue.ts';
import { toApiError } from './to-api-error.ts';

/** How long a used code is remembered after it has expired, in milliseconds: the clock may be set back. */
const KEPT_FOR = 24 * 3_600_000;

/** Lets each sign-in code be used once, also by two requests at once and after a restart. */
export interface UsedCodes {
  /**
   * Uses a code up. Resolves once that is on disk.
   *
   * @param expiresAt milliseconds since 1970
   * @returns whether it was unused
   * @throws {ApiError} as {@link CommitQueue.store}: the code may be used up then
   */
  use(jti: string, expiresAt: number): Promise<boolean>;
}

/** Creates the guard, which remembers used codes in the database. */
export function createUsedCodes(writer: Pick<Writer, 'isUsed'>, queue: Pick<CommitQueue, 'store'>): UsedCodes {
  const underWay = new Set<string>();

  function isUsed(jti: string): boolean {
    try {
      return underWay.has(jti) || writer.isUsed(jti);
    } catch (error) {
      throw toApiError(error);
    }
  }

  return {
    async use(jti, expiresAt) {
      // nothing else runs between this check and the mark: two requests cannot both find the code unused
      if (isUsed(jti)) return false;
      underWay.add(jti);
      try {
        await queue.store([], 0, { code: { jti, expiresAt } });
        return true;
      } finally {
        underWay.delete(jti);
      }
    },
  };
}

/**
 * Forgets used codes that nobody could use any more.
 *
 * @param now the clock, in milliseconds since 1970
 * @throws {StorageError}
 */
export function deleteExpiredCodes(writer: Pick<Writer, 'deleteUsedCodes'>, now: () => number): void {
  writer.deleteUsedCodes(now() - KEPT_FOR);
}
