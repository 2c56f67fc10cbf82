import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getTableColumns, getTableName } from 'drizzle-orm';
import { openStorage } from '../../src/storage/database.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { analytics, metrics } from '../../src/storage/schema.ts';
import { runCli, SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

function pragma(database: Database, name: string): unknown {
  return Object.values(database.query<Record<string, unknown>, []>(`PRAGMA ${name}`).get() ?? {})[0];
}

describe('a new database', () => {
  test('is in WAL mode, with a log to sync and checkpoints that are safe', async () => {
    using folder = temporaryFolder();
    const storage = openStorage(join(folder.path, 'new/rawlog.db'));
    expect(pragma(storage.client, 'journal_mode')).toBe('wal');
    expect(pragma(storage.client, 'synchronous')).toBe(1); // NORMAL: sync() does the rest
    await storage.sync();
    expect(statSync(join(folder.path, 'new')).mode & 0o777).toBe(0o700);
    storage.close();
  });

  test('has the tables of the schema, column for column, and keeps types strictly', () => {
    using folder = temporaryFolder();
    const storage = openStorage(join(folder.path, 'rawlog.db'));
    for (const table of [metrics, analytics]) {
      const info = storage.client
        .query<{ name: string; type: string; notnull: number }, []>(`PRAGMA table_info(${getTableName(table)})`)
        .all();
      const expected = Object.values(getTableColumns(table)).map((column) => [
        column.name,
        column.getSQLType().toUpperCase(),
        Number(column.notNull),
      ]);
      expect(info.map(({ name, type, notnull }) => [name, type.toUpperCase(), notnull])).toEqual(expected);
      const strict = storage.client.query<{ strict: number }, []>(`PRAGMA table_list(${getTableName(table)})`).get();
      expect(strict?.strict).toBe(1);
    }
    storage.close();
  });

  test('is one file once it is closed, beside the empty file of its lock', () => {
    using folder = temporaryFolder();
    openStorage(join(folder.path, 'rawlog.db')).close();
    expect(readdirSync(folder.path).sort()).toEqual(['rawlog.db', 'rawlog.db.lock']);
    expect(statSync(join(folder.path, 'rawlog.db.lock')).size).toBe(0);
  });
});

test('a write-ahead log that was removed is noticed at the next sync', async () => {
  using folder = temporaryFolder();
  const storage = openStorage(join(folder.path, 'rawlog.db'));
  rmSync(join(folder.path, 'rawlog.db-wal'));
  await expect(storage.sync()).rejects.toMatchObject({ kind: 'failing' });
  storage.close();
});

test('opening twice applies each migration once', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  openStorage(path).close();
  const storage = openStorage(path);
  const count = storage.client.query<{ n: number }, []>('SELECT count(*) AS n FROM __drizzle_migrations').get();
  expect(count?.n).toBe(journal.entries.length);
  storage.close();
});

test('migrations rise in time: the migrator skips one that does not, in silence', () => {
  const times = journal.entries.map(({ when }) => when);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(new Set(times).size).toBe(times.length);
});

describe('what is refused, untouched and with a clear word', () => {
  async function refusal(path: string): Promise<string> {
    const { exitCode, stderr } = await runCli(['serve'], {
      env: { JWT_SECRET: SECRET, PORT: '0', DATABASE_URL: `file:${path}` },
    });
    expect(exitCode).toBe(1);
    return stderr;
  }

  test('a database of a newer version', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'rawlog.db');
    openStorage(path).close();
    const database = new Database(path);
    database.run(`INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('future', ${Date.UTC(2100, 0, 1)})`);
    database.close();
    expect(await refusal(path)).toContain('newer version');
  });

  test('a database of another program', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'other.db');
    const database = new Database(path, { create: true });
    database.run('CREATE TABLE theirs (a)');
    database.close();
    const before = await Bun.file(path).bytes();
    expect(await refusal(path)).toContain('another program');
    expect(await Bun.file(path).bytes()).toEqual(before);
  });

  test('a file that is no database', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'text.db');
    writeFileSync(path, 'This is a text, and long enough to hold a header of SQLite, were it one. '.repeat(20));
    expect(await refusal(path)).toContain('not a database');
  });

  test('a database that another server has open; it is free again when that one is killed', async () => {
    const first = await startTarget();
    const { exitCode, stderr } = await runCli(['serve'], {
      env: { JWT_SECRET: SECRET, PORT: '0', DATA_DIR: first.dataDir },
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('Another rawlog server') });
    first.process.kill('SIGKILL');
    await first.process.exited;
    const next = await startTarget(undefined, { dataDir: first.dataDir });
    expect(await next.stop()).toBe(0);
    await first.stop();
  });
});
