import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';

/** Minimum time between two log lines about the same admin, in milliseconds. */
const LOG_INTERVAL_MS = 60_000;
/** Maximum number of admins tracked at once. */
const MAX_ADMINS = 10_000;

/** A log of admins who record for other users. */
export interface ActAsLog {
  /**
   * Counts a request that records for another user. Logs at most one line per admin and minute: `uses` is the number of
   * requests since the previous line. `admin_hash` and `user_hash` identify the admin and the latest user by keyed hashes,
   * because log lines survive an erasure.
   */
  report(admin: string, user: string, requestId: string): void;
}

/**
 * Creates the log of admins who record for other users.
 *
 * @param hashUser returns a keyed hash of a user ID
 * @param onUse called for each use
 * @param now returns a monotonic time, in milliseconds
 */
export function createActAsLog(
  log: Logger,
  hashUser: (userId: string) => string,
  onUse: (admin: string, user: string) => void,
  now: () => number,
): ActAsLog {
  const admins = new LRUCache<string, { loggedAt: number; unlogged: number }>({ max: MAX_ADMINS });
  return {
    report(admin, user, requestId) {
      onUse(admin, user);
      const previous = admins.get(admin);
      if (previous && now() - previous.loggedAt < LOG_INTERVAL_MS) {
        previous.unlogged++;
        return;
      }
      const uses = (previous?.unlogged ?? 0) + 1;
      log.info(
        { request_id: requestId, admin_hash: hashUser(admin), user_hash: hashUser(user), uses },
        'admin is recording for another user',
      );
      admins.set(admin, { loggedAt: now(), unlogged: 0 });
    },
  };
}
