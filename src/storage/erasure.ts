import type { Database } from 'bun:sqlite';
import type { ColumnStore } from './columns.ts';

/** Rows looked at, or removed, in one transaction: ingest waits for no more than a few milliseconds. */
const STEP_ROWS = 20_000;
const STEP_REMOVALS = 1_000;

/** How many rows of a user were removed. */
export interface Erased {
  readonly metrics: number;
  readonly analytics: number;
}

/**
 * Removes every trace of a user: rows, what the column store has of them, answers remembered under their
 * keys. Freed pages are overwritten with zeros, and the write-ahead log is emptied.
 *
 * @throws SQLite's errors; what was removed before stays removed, and the whole can be repeated
 */
export function eraseUser(client: Database, store: ColumnStore, userId: string): Erased {
  const erased = {
    metrics: eraseRows(client, store, 'metrics', userId, 0, Number.MAX_SAFE_INTEGER),
    analytics: eraseRows(client, store, 'analytics', userId, 0, Number.MAX_SAFE_INTEGER),
  };
  store.transact(() => client.query('DELETE FROM answers WHERE user_id = ?').run(userId));
  const before = { metric: store.position('metric'), analytics: store.position('analytics') };
  store.forgetUser(userId);
  // rows that came meanwhile, and that the column store has already taken in and forgotten
  erased.metrics += eraseRows(client, store, 'metrics', userId, before.metric, store.position('metric'));
  erased.analytics += eraseRows(client, store, 'analytics', userId, before.analytics, store.position('analytics'));
  emptyLog(client);
  return erased;
}

/** Removes the rows of a user from one `seq`, not in it, to another. */
function eraseRows(
  client: Database,
  store: ColumnStore,
  table: 'metrics' | 'analytics',
  userId: string,
  from: number,
  to: number,
): number {
  const windowEnd = client.query<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ${STEP_ROWS - 1}`,
  );
  const inWindow = client.query<{ seq: number }, [number, number, string]>(
    `SELECT seq FROM ${table} WHERE seq > ? AND seq <= ? AND user_id = ?`,
  );
  const remove = client.query(`DELETE FROM ${table} WHERE seq = ?`);
  let removed = 0;
  for (let after = from; after < to; ) {
    const end = Math.min(windowEnd.get(after)?.seq ?? to, to);
    const found = inWindow.all(after, end, userId);
    for (let i = 0; i < found.length; i += STEP_REMOVALS) {
      store.transact(() => {
        for (const { seq } of found.slice(i, i + STEP_REMOVALS)) remove.run(seq);
      });
    }
    removed += found.length;
    after = end;
  }
  return removed;
}

/** Moves the write-ahead log into the database and cuts it to nothing: it still had what was removed. */
function emptyLog(client: Database): void {
  for (let attempt = 0; attempt < 100; attempt++) {
    const result = client.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get();
    if (result?.busy === 0) return;
    Bun.sleepSync(20);
  }
  throw new Error('the write-ahead log could not be emptied: another process reads the database');
}
