import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { createQueryEngine } from '../../src/query/engine.ts';
import { openForReading, openStorage, type Storage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { openReader } from '../../src/storage/reader.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { createWriter, type Writer } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { createOlderDatabase } from '../harness/older-database.ts';
import { temporaryFolder } from '../harness/target.ts';
import { LIMITS } from '../query/test-database.ts';
import { event, FIRST_SEQ, metric, records } from './log.ts';

/*
 * Checks made while opening a database: its write-ahead log belongs to it, and its schema is unmodified.
 */

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** Creates a folder for a database. */
function newFolder(): string {
  const path = join(folder.path, crypto.randomUUID());
  mkdirSync(path);
  return path;
}

/** Copies a database and its write-ahead log in the state that a crash would leave. */
function snapshot(from: string, to: string): void {
  for (const suffix of ['', '-wal']) if (existsSync(from + suffix)) copyFileSync(from + suffix, to + suffix);
}

function idsIn(path: string): string[] {
  const client = openForReading(path);
  try {
    return client.query<{ id: string }, []>('SELECT id FROM metric_records ORDER BY seq').values().flat() as string[];
  } finally {
    client.close();
  }
}

describe('a write-ahead log', () => {
  test.each([
    ['is applied to every database file that it belongs to, and to no other', true],
    ['is applied to its own database file even before a restart by the query worker is stamped', false],
  ])(
    '%s',
    async (_title, isStamped) => {
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
          let path = join(newFolder(), 'rawlog.db');
          let storage: Storage = openStorage(path);
          let writer: Writer = createWriter(storage);
          let stored: string[] = [];
          let seq = 1;
          const states: { path: string; stored: string[] }[] = [];
          for (const step of steps) {
            if (step.do === 'commit') {
              const added = records('rows' in step ? step.rows : 0, (_, i) => metric(seq + i));
              seq += added.length;
              await writer.commit({ ...NOTHING, records: added });
              stored = [...stored, ...added.map(({ id }) => id)];
            } else if (step.do === 'checkpoint') {
              storage.client.run('PRAGMA wal_checkpoint(PASSIVE)');
            } else if (step.do === 'truncate') {
              storage.client.run('PRAGMA wal_checkpoint(TRUNCATE)');
            } else if (step.do === 'maintenance') {
              // Like the query worker, on a separate connection.
              const other = openForReading(path);
              other.run('PRAGMA wal_checkpoint(TRUNCATE)');
              other.run(
                "INSERT INTO column_state (name, value) VALUES ('n', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1",
              );
              other.close();
              if (isStamped) storage.stampWal();
            } else {
              if (step.do === 'crash') {
                const copy = join(newFolder(), 'rawlog.db');
                snapshot(path, copy);
                storage.close();
                path = copy;
              } else {
                storage.close();
              }
              storage = openStorage(path);
              writer = createWriter(storage);
            }
            const state = join(newFolder(), 'rawlog.db');
            snapshot(path, state);
            states.push({ path: state, stored });
          }
          storage.close();
          for (const [j, later] of states.entries()) {
            for (const earlier of isStamped ? states.slice(0, j + 1) : [later]) {
              const mixed = join(newFolder(), 'rawlog.db');
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
              const hasWal = existsSync(`${later.path}-wal`) && readFileSync(`${later.path}-wal`).length > 0;
              if (found && hasWal) expect(found).toEqual(later.stored);
              rmSync(join(mixed, '..'), { recursive: true });
            }
          }
        }),
        { numRuns: 12 },
      );
      expect(accepted).toBeGreaterThan(20);
      if (isStamped) expect(rejected).toBeGreaterThan(20);
    },
    60_000,
  );

  /** Creates a database with the write-ahead log that a crash leaves, and an older copy of it. */
  async function crashed(): Promise<{ path: string; old: string }> {
    const path = join(newFolder(), 'rawlog.db');
    const [old, crashedPath] = [join(newFolder(), 'rawlog.db'), join(newFolder(), 'rawlog.db')];
    for (let session = 0; session < 3; session++) {
      const storage = openStorage(path);
      const rows = records(5, (_, i) => metric(session * 100 + i + 1));
      await createWriter(storage).commit({ ...NOTHING, records: rows });
      if (session === 2) snapshot(path, crashedPath);
      storage.close();
      if (session === 0) snapshot(path, old);
    }
    return { path: crashedPath, old };
  }

  test.each([
    ['an older copy of the database', (path: string, old: string) => copyFileSync(old, path), 'was replaced'],
    [
      'another database',
      (path: string) => {
        const other = join(newFolder(), 'rawlog.db');
        openStorage(other).close();
        copyFileSync(other, path);
      },
      'was replaced',
    ],
    ['a missing database', (path: string) => rmSync(path), 'is missing'],
    ['an empty file', (path: string) => writeFileSync(path, ''), 'is empty'],
  ])('is not applied to %s, and no file is changed', async (_title, replace, message) => {
    const { path, old } = await crashed();
    replace(path, old);
    const read = () => ['', '-wal'].map((suffix) => (existsSync(path + suffix) ? readFileSync(path + suffix) : null));
    const before = read();
    for (const open of [openStorage, openForReading]) expect(() => void open(path)).toThrow(message);
    expect(read()).toEqual(before);
    expect(readdirSync(join(path, '..')).filter((name) => name.endsWith('-shm'))).toEqual([]);
  });
});

describe('schema protection', () => {
  function databaseChangedBy(sql: string): string {
    const path = join(newFolder(), 'rawlog.db');
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
    ['an extra view', 'CREATE VIEW v AS SELECT * FROM metrics', 'view "v"'],
    ['an extra table', 'CREATE TABLE extra (a)', 'table "extra"'],
    ['an extra index', 'CREATE INDEX i ON metrics (user_id)', 'index "i"'],
    ['an extra column', 'ALTER TABLE metrics ADD COLUMN extra TEXT', 'table "metrics" differs'],
    ['a renamed column', 'ALTER TABLE ledger RENAME COLUMN items TO i', 'table "ledger" differs'],
    [
      'a view that reads something else',
      'DROP VIEW metric_records;;CREATE VIEW metric_records AS SELECT 1',
      'view "metric_records" differs',
    ],
    ['a missing view', 'DROP VIEW event_records', 'view "event_records" is missing'],
    ['a missing table', 'DROP TABLE user_names', 'table "user_names" is missing'],
    ['a missing index', 'DROP INDEX users_hash', 'index "users_hash" is missing'],
    ['a virtual table', 'CREATE VIRTUAL TABLE texts USING fts5(a)', 'table "texts"'],
    [
      'a view in place of a table',
      'ALTER TABLE metrics RENAME TO m;;CREATE VIEW metrics AS SELECT * FROM m',
      'view "metrics"',
    ],
    [
      'a view in place of the table of migrations',
      'DROP TABLE __drizzle_migrations;;CREATE VIEW __drizzle_migrations AS SELECT 1 AS id, 2 AS hash, 3 AS created_at',
      'view "__drizzle_migrations"',
    ],
    [
      'another view and a newer version',
      "CREATE VIEW v AS SELECT 1;;INSERT INTO __drizzle_migrations (hash, created_at) VALUES ('x', 4102444800000)",
      'newer version',
    ],
    ['an unknown version', 'UPDATE __drizzle_migrations SET created_at = created_at + 1', 'newer version'],
    ['a version older than its tables', 'DELETE FROM __drizzle_migrations WHERE created_at > 1795372958236', 'differ'],
  ])('rejects a database with %s, without changing it', (_title, sql, message) => {
    const path = databaseChangedBy(sql);
    const before = readFileSync(path);
    for (const open of [openStorage, openForReading]) {
      if (message === 'differ')
        expect(() => void open(path)).toThrow('Its schema does not match this version of rawlog');
      else expect(() => void open(path)).toThrow(message);
    }
    expect(readFileSync(path).equals(before)).toBe(true);
  });

  test('turns trusted_schema off, so that a schema cannot call unsafe functions', () => {
    const path = join(newFolder(), 'rawlog.db');
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
    ['deletes a stored metric', 'AFTER INSERT ON metrics BEGIN DELETE FROM metrics; END'],
    ['changes an event', "AFTER INSERT ON analytics BEGIN UPDATE analytics SET data = '{}'; END"],
    ['writes to another table', 'AFTER INSERT ON metrics BEGIN INSERT INTO user_names VALUES (1, 2); END'],
  ])('fails a commit after a trigger was added that %s', async (_title, trigger) => {
    const path = join(newFolder(), 'rawlog.db');
    const storage = openStorage(path);
    const writer = createWriter(storage);
    const response = { userId: 'u', route: 'r', key: 'k', fingerprint: 'f', response: 'x', seq: 1, createdAt: 1 };
    const commit = { ...NOTHING, responses: [response], counts: [['stored', 2]] as const };
    const names = [{ userHash: 3, nameHash: 4 }];
    await writer.commit({ ...commit, names, records: [metric(1), event(2)] });
    storage.client.run(`CREATE TRIGGER t ${trigger}`);
    const secondCommit = Promise.try(writer.commit, { ...commit, names, records: [metric(3), event(4)] });
    await expect(secondCommit).rejects.toMatchObject({ kind: 'failing' });
    expect(storage.client.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: 1 });
    storage.close();
  });
});

/** Creates a database of an earlier version, with the first `count` migrations. Returns its path. */
function createOlder(count: number, fill?: (client: Database) => void): string {
  const path = join(newFolder(), 'rawlog.db');
  createOlderDatabase(path, count, fill);
  return path;
}

test('opening migrates databases of every earlier version, as created by drizzle', () => {
  for (let count = 1; count < journal.entries.length; count++) {
    const path = createOlder(count);
    openStorage(path).close();
    openForReading(path).close();
  }
});

test('a database whose chunks lack keys is rebuilt after its migration', () => {
  const path = createOlder(6, (client) => {
    for (let seq = FIRST_SEQ; seq < FIRST_SEQ + 10; seq++) {
      const { id, userId, happenedAt, receivedAt, type, dataIndex } = event(seq);
      const values = [seq, id, userId, happenedAt, receivedAt, type, dataIndex, '{"plan":"pro"}'];
      client.run('INSERT INTO analytics VALUES (?, ?, ?, ?, ?, ?, ?, ?)', values);
    }
    client.run("INSERT INTO series VALUES (1, 'analytics', 'click')");
    client.run("INSERT INTO chunks VALUES (1, 1, 10, 0, 1, 5, x'00', x'00', x'00', x'00')");
    client.run(`INSERT INTO column_state VALUES ('analytics', ${FIRST_SEQ + 9}), ('metric', 0)`);
    client.run("INSERT INTO ledger VALUES ('stored', 10)");
  });
  const outdated = openForReading(path);
  expect(() => verifyDatabase(outdated)).toThrow('Start the server once to upgrade it');
  outdated.close();
  const storage = openStorage(path);
  const reader = openReader(path);
  const engine = createQueryEngine(reader, LIMITS);
  runJob(engine.maintenance.resume());
  const query = { name: 'click', user: undefined, from: undefined, to: undefined, interval: undefined, zone: 'UTC' };
  const groupBy = { name: 'data.plan', path: ['plan'] };
  const result = JSON.parse(engine.queries.counts({ ...query, top: 1, groupBy }));
  expect(result.groups).toMatchObject([{ 'data.plan': 'pro', count: 10 }]);
  expect(verifyDatabase(reader.client).problems).toEqual([]);
  reader.close();
  storage.close();
});
