import { Database } from 'bun:sqlite';

/** Interval at which the write lock is tried, in milliseconds. */
const INTERVAL_MS = 2;

/** A probe of how long the write lock of a database is held. */
export interface WriteLockProbe {
  /** Stops the probe. Returns the longest time for which the lock was held, and how often it was held over 50 ms. */
  stop(): Promise<{ readonly longestMs: number; readonly over50Ms: number }>;
}

/**
 * Tries the write lock of a database every 2 ms, as recording would. The durations are upper bounds: they include up to
 * 4 ms between tries, and any time for which this process had no CPU.
 */
export function probeWriteLock(databasePath: string): WriteLockProbe {
  const client = new Database(databasePath);
  client.run('PRAGMA busy_timeout = 0');
  let isRunning = true;
  let longestMs = 0;
  let over50Ms = 0;
  const running = (async () => {
    let lastFreeAt = performance.now();
    let wasBusy = false;
    while (isRunning) {
      const isFree = tryLock();
      const now = performance.now();
      if (isFree && wasBusy) {
        longestMs = Math.max(longestMs, now - lastFreeAt);
        if (now - lastFreeAt > 50) over50Ms++;
      }
      if (isFree) lastFreeAt = now;
      wasBusy = !isFree;
      await Bun.sleep(INTERVAL_MS);
    }
  })();

  function tryLock(): boolean {
    try {
      client.run('BEGIN IMMEDIATE');
    } catch {
      return false; // another connection holds the lock
    }
    client.run('ROLLBACK');
    return true;
  }

  return {
    async stop() {
      isRunning = false;
      await running;
      client.close();
      return { longestMs, over50Ms };
    },
  };
}
