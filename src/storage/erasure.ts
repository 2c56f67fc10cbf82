import type { Database } from 'bun:sqlite';
import type { ColumnStore } from './columns/column-store.ts';
import { millisecondOf } from './record-id.ts';

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
 * keys. Freed cells and pages are overwritten with zeros (secure_delete), and the write-ahead log is emptied.
 *
 * Where SQLite moves cells between pages it leaves the old copies behind, in what a page does not use. It
 * moves cells of tables that take their rows in no order: those are written anew each time. Of the tables of
 * records, which only grow at their end, it does so when a removal leaves pages nearly empty: only then is
 * the whole file written anew, for which ingest has to wait, about 8 s a gigabyte.
 *
 * @throws SQLite's errors; what was removed before stays removed, and the whole can be repeated. What a
 *   first attempt that broke off has left in unused parts of pages, only `VACUUM` is rid of
 */
export function eraseUser(client: Database, store: ColumnStore, userId: string): Erased {
  const metrics = eraseRows(client, store, 'metrics', userId, 0, Number.MAX_SAFE_INTEGER);
  const analytics = eraseRows(client, store, 'analytics', userId, 0, Number.MAX_SAFE_INTEGER);
  store.transact(() => client.query('DELETE FROM answers WHERE user_id = ?').run(userId));
  const before = { metric: store.position('metric'), analytics: store.position('analytics') };
  store.forgetUser(userId);
  // rows that came meanwhile, and that the column store has already taken in and forgotten
  const late = [
    eraseRows(client, store, 'metrics', userId, before.metric, store.position('metric')),
    eraseRows(client, store, 'analytics', userId, before.analytics, store.position('analytics')),
  ] as const;
  // and the answers to them: a retry must not be told of a row that is gone
  const position = Math.max(store.position('metric'), store.position('analytics'));
  store.transact(() =>
    client.query('DELETE FROM answers WHERE user_id = ? AND created_at <= ?').run(userId, millisecondOf(position)),
  );
  if ([metrics, analytics, ...late].some(({ movedCells }) => movedCells)) client.run('VACUUM');
  else for (const table of UNORDERED_TABLES) writeAnew(client, store, table);
  emptyLog(client);
  return { metrics: metrics.removed + late[0].removed, analytics: analytics.removed + late[1].removed };
}

/** Tables, or indexes of tables, that have personal data and take it in no order. */
const UNORDERED_TABLES = ['answers', 'users', 'labels', 'series'] as const;

/** Writes a table and its indexes anew: every page that they had is freed, and so overwritten. */
function writeAnew(client: Database, store: ColumnStore, table: (typeof UNORDERED_TABLES)[number]): void {
  store.transact(() => {
    client.run(`CREATE TABLE anew AS SELECT * FROM ${table}`);
    client.run(`DELETE FROM ${table}`);
    client.run(`INSERT INTO ${table} SELECT * FROM anew`);
    client.run('DROP TABLE anew');
  });
}

/** Removes the rows of a user from one `seq`, not in it, to another; tells whether cells may have been moved for it. */
function eraseRows(
  client: Database,
  store: ColumnStore,
  table: 'metrics' | 'analytics',
  userId: string,
  from: number,
  to: number,
): { removed: number; movedCells: boolean } {
  const windowEnd = client.query<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ${STEP_ROWS - 1}`,
  );
  const inWindow = client.query<{ seq: number }, [number, number, string]>(
    `SELECT seq FROM ${table} WHERE seq > ? AND seq <= ? AND user_id = ?`,
  );
  const remove = client.query(`DELETE FROM ${table} WHERE seq = ?`);
  const freePages = () =>
    client.query<{ n: number }, []>('SELECT freelist_count AS n FROM pragma_freelist_count').get()?.n ?? 0;
  let removed = 0;
  let movedCells = false;
  for (let after = from; after < to; ) {
    const end = Math.min(windowEnd.get(after)?.seq ?? to, to);
    const found = inWindow.all(after, end, userId);
    for (let i = 0; i < found.length; i += STEP_REMOVALS) {
      store.transact(() => {
        const before = freePages();
        for (const { seq } of found.slice(i, i + STEP_REMOVALS)) remove.run(seq);
        // pages are freed when those beside them take their cells in
        movedCells ||= freePages() > before;
      });
    }
    removed += found.length;
    after = end;
  }
  return { removed, movedCells };
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
