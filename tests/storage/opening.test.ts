import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/bun-sqlite';
import { migrate } from 'drizzle-orm/bun-sqlite/migrator';
import fc from 'fast-check';
import { openForReading, openStorage, type Storage } from '../../src/storage/database.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { createWriter, type Writer } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { event, metric, records } from './log.ts';

/*
 * What is checked before a database is opened: that its write-ahead log is its own, and that its schema is.
 */

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** A new folder for a database. */
function room(): string {
  const path = join(folder.path, crypto.randomUUID());
  mkdirSync(path);
  return path;
}

/** Copies a database and its write-ahead log as they are, as a crash would leave them. */
function snapshot(from: string, to: string): void {
  for (const ending of ['', '-wal']) if (existsSync(from + ending)) copyFileSync(from + ending, to + ending);
}

function idsIn(path: string): string[] {
  const client = openForReading(path);
  try {
    return client.query<{ id: string }, []>('SELECT id FROM metrics ORDER BY seq').values().flat() as string[];
  } finally {
    client.close();
  }
}

describe('a write-ahead log', () => {
  test.each([
    ['is used with every file that it belongs to, and with no other', true],
    ['is used with its own file, also before maintenance that began it again has been noted', false],
  ])(
    '%s',
    async (_title, isNoted) => {
      let accepted = 0;
      let rejected = 0;
      const step = fc.oneof(
        {
          weight: 4,
          arbitrary: fc.record({ do: fc.constant('commit' as const), rows: fc.integer({ min: 1, max: 60 }) }),
        },
        {
          weight: 2,
          arbitrary: fc.record({ do: fc.constantFrom('checkpoint', 'truncate', 'maintenance', 'crash', 'restart') }),
        },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 9 }), async (steps) => {
          let path = join(room(), 'rawlog.db');
          let storage: Storage = openStorage(path);
          let writer: Writer = createWriter(storage);
          let stored: string[] = [];
          let seq = 1;
          const states: { path: string; stored: string[] }[] = [];
          for (const one of steps) {
            if (one.do === 'commit') {
              const added = records('rows' in one ? one.rows : 0, (_, i) => metric(seq + i));
              seq += added.length;
              await writer.commit({ ...NOTHING, records: added });
              stored = [...stored, ...added.map(({ id }) => id)];
            } else if (one.do === 'checkpoint') {
              storage.client.run('PRAGMA wal_checkpoint(PASSIVE)');
            } else if (one.do === 'truncate') {
              storage.client.run('PRAGMA wal_checkpoint(TRUNCATE)');
            } else if (one.do === 'maintenance') {
              // as the query worker does, on its own connection
              const other = openForReading(path);
              other.run('PRAGMA wal_checkpoint(TRUNCATE)');
              other.run(
                "INSERT INTO column_state (name, value) VALUES ('n', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
              );
              other.close();
              if (isNoted) storage.noteLog();
            } else {
              if (one.do === 'crash') {
                const copy = join(room(), 'rawlog.db');
                snapshot(path, copy);
                storage.close();
                path = copy;
              } else {
                storage.close();
              }
              storage = openStorage(path);
              writer = createWriter(storage);
            }
            const state = join(room(), 'rawlog.db');
            snapshot(path, state);
            states.push({ path: state, stored });
          }
          storage.close();
          for (const [j, later] of states.entries()) {
            for (const earlier of isNoted ? states.slice(0, j + 1) : [later]) {
              const mixed = join(room(), 'rawlog.db');
              snapshot(later.path, mixed);
              copyFileSync(earlier.path, mixed);
              let found: string[] | undefined;
              try {
                found = idsIn(mixed);
                accepted++;
              } catch {
                rejected++;
                expect(earlier).not.toBe(later);
              }
              const isAlone = !existsSync(`${later.path}-wal`) || readFileSync(`${later.path}-wal`).length === 0;
              if (found && !isAlone) expect(found).toEqual(later.stored);
              rmSync(join(mixed, '..'), { recursive: true });
            }
          }
        }),
        { numRuns: 12 },
      );
      expect(accepted).toBeGreaterThan(20);
      if (isNoted) expect(rejected).toBeGreaterThan(20);
    },
    60_000,
  );

  /** A database that a crash left with a write-ahead log, and a copy from before an earlier session. */
  async function crashed(): Promise<{ path: string; old: string }> {
    const path = join(room(), 'rawlog.db');
    const [old, left] = [join(room(), 'rawlog.db'), join(room(), 'rawlog.db')];
    for (let session = 0; session < 3; session++) {
      const storage = openStorage(path);
      const rows = records(5, (_, i) => metric(session * 100 + i + 1));
      await createWriter(storage).commit({ ...NOTHING, records: rows });
      if (session === 2) snapshot(path, left);
      storage.close();
      if (session === 0) snapshot(path, old);
    }
    return { path: left, old };
  }

  test.each([
    ['an older copy of the database', (path: string, old: string) => copyFileSync(old, path), 'was replaced'],
    [
      'another database',
      (path: string) => {
        const other = join(room(), 'rawlog.db');
        openStorage(other).close();
        copyFileSync(other, path);
      },
      'was replaced',
    ],
    ['no database', (path: string) => rmSync(path), 'is missing'],
    ['an empty file', (path: string) => writeFileSync(path, ''), 'is empty'],
  ])('is not used with %s, and everything is left as it is', async (_title, replace, words) => {
    const { path, old } = await crashed();
    replace(path, old);
    const read = () => ['', '-wal'].map((ending) => (existsSync(path + ending) ? readFileSync(path + ending) : null));
    const before = read();
    for (const open of [openStorage, openForReading]) expect(() => void open(path)).toThrow(words);
    expect(read()).toEqual(before);
    expect(readdirSync(join(path, '..')).filter((name) => name.endsWith('-shm'))).toEqual([]);
  });
});

describe('a schema', () => {
  function changed(sql: string): string {
    const path = join(room(), 'rawlog.db');
    openStorage(path).close();
    const client = new Database(path);
    for (const statement of sql.split(';;')) client.run(statement);
    client.close();
    return path;
  }

  test.each([
    [
      'a trigger that drops rows',
      'CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END',
      'trigger "t"',
    ],
    [
      'a trigger on another table',
      'CREATE TRIGGER t AFTER UPDATE ON ledger BEGIN DELETE FROM ledger; END',
      'trigger "t"',
    ],
    ['a view', 'CREATE VIEW v AS SELECT * FROM metrics', 'view "v"'],
    ['a table', 'CREATE TABLE extra (a)', 'table "extra"'],
    ['an index', 'CREATE INDEX i ON metrics (user_id)', 'index "i"'],
    ['another column', 'ALTER TABLE metrics ADD COLUMN extra TEXT', 'table "metrics" differs'],
    ['a renamed column', 'ALTER TABLE analytics RENAME COLUMN data TO d', 'table "analytics" differs'],
    ['a table less', 'DROP TABLE user_names', 'table "user_names" is missing'],
    ['an index less', 'DROP INDEX users_hash', 'index "users_hash" is missing'],
    ['a virtual table', 'CREATE VIRTUAL TABLE texts USING fts5(a)', 'table "texts"'],
    [
      'a view in place of a table',
      'ALTER TABLE metrics RENAME TO m;;CREATE VIEW metrics AS SELECT * FROM m',
      'view "metrics"',
    ],
    [
      'a view in place of the list of migrations',
      'DROP TABLE __drizzle_migrations;;CREATE VIEW __drizzle_migrations AS SELECT 1 AS id, 2 AS hash, 3 AS created_at',
      'view "__drizzle_migrations"',
    ],
    ['an unknown version', 'UPDATE __drizzle_migrations SET created_at = created_at + 1', 'newer version'],
    [
      'an earlier version than its tables',
      'DELETE FROM __drizzle_migrations WHERE created_at > 1795372958236',
      'differ',
    ],
  ])('with %s is rejected', (_title, sql, words) => {
    const path = changed(sql);
    const before = readFileSync(path);
    for (const open of [openStorage, openForReading]) {
      if (words === 'differ') expect(() => void open(path)).toThrow('Its schema is not that of rawlog');
      else expect(() => void open(path)).toThrow(words);
    }
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('may not run functions that a file brings along', () => {
    const path = join(room(), 'rawlog.db');
    const storage = openStorage(path);
    const reader = openForReading(path);
    for (const client of [storage.client, reader]) {
      expect(client.query('PRAGMA trusted_schema').get()).toEqual({ trusted_schema: 0 });
    }
    reader.close();
    storage.close();
  });

  test.each([
    ['drops a metric', 'BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END'],
    ['drops an event', 'BEFORE INSERT ON analytics BEGIN SELECT RAISE(IGNORE); END'],
    ['drops a cached response', 'BEFORE INSERT ON cached_responses BEGIN SELECT RAISE(IGNORE); END'],
    ['drops a count', 'BEFORE INSERT ON ledger BEGIN SELECT RAISE(IGNORE); END'],
    ['deletes a metric again', 'AFTER INSERT ON metrics BEGIN DELETE FROM metrics; END'],
    ['changes an event', "AFTER INSERT ON analytics BEGIN UPDATE analytics SET data = '{}'; END"],
    ['writes elsewhere', 'AFTER INSERT ON metrics BEGIN INSERT INTO user_names VALUES (1, 2); END'],
  ])('that is changed while it is open, so that a trigger %s, fails the commit', async (_title, trigger) => {
    const path = join(room(), 'rawlog.db');
    const storage = openStorage(path);
    const writer = createWriter(storage);
    const response = { userId: 'u', route: 'r', key: 'k', fingerprint: 'f', response: 'x', seq: 1, createdAt: 1 };
    const commit = { ...NOTHING, responses: [response], counts: [['stored', 2]] as const };
    const names = [{ userHash: 3, nameHash: 4 }];
    await writer.commit({ ...commit, names, records: [metric(1), event(2)] });
    storage.client.run(`CREATE TRIGGER t ${trigger}`);
    const again = writer.commit({ ...commit, names, records: [metric(3), event(4)] });
    await expect(again).rejects.toMatchObject({ kind: 'failing' });
    expect(storage.client.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: 1 });
    storage.close();
  });
});

test('a database of every earlier version, as drizzle made it, is brought up to date', () => {
  const source = join(import.meta.dir, '../../src/storage/migrations');
  for (let count = 1; count < journal.entries.length; count++) {
    const migrationsFolder = room();
    mkdirSync(join(migrationsFolder, 'meta'));
    const entries = journal.entries.slice(0, count);
    writeFileSync(join(migrationsFolder, 'meta/_journal.json'), JSON.stringify({ ...journal, entries }));
    for (const { tag } of entries) copyFileSync(join(source, `${tag}.sql`), join(migrationsFolder, `${tag}.sql`));
    const path = join(room(), 'rawlog.db');
    const older = new Database(path, { create: true });
    older.run('PRAGMA journal_mode = WAL');
    older.run(`PRAGMA application_id = ${0x7261776c}`);
    migrate(drizzle(older), { migrationsFolder });
    older.close();
    openStorage(path).close();
    openForReading(path).close();
  }
});
