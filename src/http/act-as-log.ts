import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';

/** At most one line per admin in this time, in milliseconds. */
const LOG_INTERVAL = 60_000;
/** Admins remembered at once. */
const MAX_ADMINS = 10_000;

/** Logs and counts admins who record for other users. */
export interface ActAsLog {
  /**
   * Notes that a request records for another user. The line names that user by a keyed hash: the log outlives an
   * erasure.
   */
  note(admin: string, user: string, requestId: string): void;
}

/**
 * @param hashUser a keyed hash of a user ID
 * @param count counts each use
 * @param now a clock that never steps back, in milliseconds
 */
export function createActAsLog(
  log: Logger,
  hashUser: (userId: string) => string,
  count: () => void,
  now: () => number,
): ActAsLog {
  const admins = new LRUCache<string, { loggedAt: number; unlogged: number }>({ max: MAX_ADMINS });
  return {
    note(admin, user, requestId) {
      count();
      const known = admins.get(admin);
      if (known && now() - known.loggedAt < LOG_INTERVAL) {
        known.unlogged++;
        return;
      }
      const uses = (known?.unlogged ?? 0) + 1;
      log.info({ request_id: requestId, admin, user_hash: hashUser(user), uses }, 'an admin records for another user');
      admins.set(admin, { loggedAt: now(), unlogged: 0 });
    },
  };
}
