import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { getTableColumns, getTableName } from 'drizzle-orm';
import { openStorage } from '../../src/storage/database.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { analytics, metrics } from '../../src/storage/schema.ts';
import { CHANGES_DATA } from '../../src/storage/schema-version.ts';
import { runCli, SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

function readPragma(database: Database, name: string): unknown {
  return Object.values(database.query<Record<string, unknown>, []>(`PRAGMA ${name}`).get() ?? {})[0];
}

describe('a new database', () => {
  test('is in WAL mode with synchronous = NORMAL, in a private folder', async () => {
    using folder = temporaryFolder();
    const storage = openStorage(join(folder.path, 'new/rawlog.db'));
    expect(readPragma(storage.client, 'journal_mode')).toBe('wal');
    expect(readPragma(storage.client, 'synchronous')).toBe(1); // NORMAL: sync() syncs commits
    await storage.sync();
    expect(statSync(join(folder.path, 'new')).mode & 0o777).toBe(0o700);
    storage.close();
  });

  test('has exactly the columns of the schema, in STRICT tables', () => {
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

  test('leaves only the database file and an empty lock file when it is closed', () => {
    using folder = temporaryFolder();
    openStorage(join(folder.path, 'rawlog.db')).close();
    expect(readdirSync(folder.path).sort()).toEqual(['rawlog.db', 'rawlog.db.lock']);
    expect(statSync(join(folder.path, 'rawlog.db.lock')).size).toBe(0);
  });
});

test('sync fails after the write-ahead log was removed', async () => {
  using folder = temporaryFolder();
  const storage = openStorage(join(folder.path, 'rawlog.db'));
  rmSync(join(folder.path, 'rawlog.db-wal'));
  await expect(Promise.try(storage.sync)).rejects.toMatchObject({ kind: 'failing' });
  storage.close();
});

test('opening a database twice applies each migration once', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  openStorage(path).close();
  const storage = openStorage(path);
  const count = storage.client.query<{ n: number }, []>('SELECT count(*) AS n FROM __drizzle_migrations').get();
  expect(count?.n).toBe(journal.entries.length);
  storage.close();
});

test('migrations are in chronological order: the migrator silently skips one that is not', () => {
  const times = journal.entries.map(({ when }) => when);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(new Set(times).size).toBe(times.length);
});

test('each migration is classified, and one that only adds to the schema contains nothing else', () => {
  expect(Object.keys(CHANGES_DATA)).toEqual(journal.entries.map(({ tag }) => tag));
  for (const [name, changesData] of Object.entries(CHANGES_DATA)) {
    const sql = readFileSync(join(import.meta.dir, `../../src/storage/migrations/${name}.sql`), 'utf8');
    const statements = sql.split('--> statement-breakpoint').map((text) => text.replace(/^\s*--.*$/gm, '').trim());
    const others = statements.filter(
      (text) => !/^(CREATE (TABLE|VIEW|(UNIQUE )?INDEX)|ALTER TABLE \S+ ADD) /.test(text),
    );
    expect({ name, changesData: others.length > 0 }).toEqual({ name, changesData });
  }
});

describe('opening', () => {
  async function openingError(path: string): Promise<string> {
    const { exitCode, stderr } = await runCli(['serve'], {
      env: { JWT_SECRET: SECRET, PORT: '0', DATABASE_URL: `file:${path}` },
    });
    expect(exitCode).toBe(1);
    return stderr;
  }

  test('rejects a database of a newer version', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'rawlog.db');
    openStorage(path).close();
    const database = new Database(path);
    database.run(`INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('future', ${Date.UTC(2100, 0, 1)})`);
    database.close();
    expect(await openingError(path)).toContain('newer version');
  });

  test("rejects another program's database without changing it", async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'other.db');
    const database = new Database(path, { create: true });
    database.run('CREATE TABLE theirs (a)');
    database.close();
    const before = await Bun.file(path).bytes();
    expect(await openingError(path)).toContain('another program');
    expect(await Bun.file(path).bytes()).toEqual(before);
  });

  test('rejects a file that is not a database', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'text.db');
    writeFileSync(path, 'A text file that is longer than the header of a SQLite database. '.repeat(20));
    expect(await openingError(path)).toContain('not a database');
  });

  test('rejects a database that another server has open, until that server is killed', async () => {
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
