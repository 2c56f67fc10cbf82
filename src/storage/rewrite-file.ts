import type { Database } from 'bun:sqlite';

/**
 * Rewrites a whole database with VACUUM, so that its file contains no free pages and no old copies of moved rows, and can
 * shrink from then on. Nobody else may write meanwhile.
 *
 * @throws SQLite's errors; the file is then unchanged
 */
export function rewriteFile(client: Database): void {
  // A database of an older version adopts the setting with the next VACUUM. Where it is set already, setting it again would
  // write a page, which a connection that only reads must never do.
  const found = client.query<{ mode: number }, []>('SELECT auto_vacuum AS mode FROM pragma_auto_vacuum').get();
  if (found?.mode === 0) client.run('PRAGMA auto_vacuum = INCREMENTAL');
  client.run('VACUUM');
}
