import { Database } from 'bun:sqlite';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/bun-sqlite';
import { migrate } from 'drizzle-orm/bun-sqlite/migrator';
import journal from '../../src/storage/migrations/meta/_journal.json';
import { temporaryFolder } from './target.ts';

/**
 * Creates a database of an earlier version, with the first `count` migrations.
 *
 * @param path a file in an existing folder
 * @param fill adds rows
 */
export function createOlderDatabase(path: string, count: number, fill: (client: Database) => void = () => {}): void {
  const source = join(import.meta.dir, '../../src/storage/migrations');
  using migrations = temporaryFolder();
  mkdirSync(join(migrations.path, 'meta'));
  const entries = journal.entries.slice(0, count);
  writeFileSync(join(migrations.path, 'meta/_journal.json'), JSON.stringify({ ...journal, entries }));
  for (const { tag } of entries) copyFileSync(join(source, `${tag}.sql`), join(migrations.path, `${tag}.sql`));
  const older = new Database(path, { create: true });
  older.run('PRAGMA journal_mode = WAL');
  older.run(`PRAGMA application_id = ${0x7261776c}`);
  migrate(drizzle(older), { migrationsFolder: migrations.path });
  fill(older);
  older.run('PRAGMA journal_mode = DELETE'); // as a server that stops
  older.close();
}
