import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Databases that rawlog must not use: a foreign write-ahead log, a modified schema, damage.
 */

let folder: ReturnType<typeof temporaryFolder>;
/** A data folder left by a kill, and an older copy of its database. */
let killedDir: string;
let oldDatabase: string;

beforeAll(async () => {
  folder = temporaryFolder();
  killedDir = join(folder.path, 'killed');
  oldDatabase = join(folder.path, 'old.db');
  for (const session of [1, 2, 3]) {
    const target = await startTarget(UNLIMITED, { dataDir: killedDir });
    await post(target, '/log_batch', { metrics: Array(200).fill(METRIC) });
    await target.stop(session === 3 ? 'SIGKILL' : 'SIGTERM');
    if (session === 1) copyFileSync(target.databasePath, oldDatabase);
  }
});
afterAll(() => folder[Symbol.dispose]());

/** Copies the data folder that a kill left. */
function copyKilledDir(): { dataDir: string; database: string; env: Record<string, string> } {
  const dataDir = join(folder.path, crypto.randomUUID());
  cpSync(killedDir, dataDir, { recursive: true, filter: (path) => !path.endsWith('.sock') });
  return { dataDir, database: join(dataDir, 'rawlog.db'), env: { ...UNLIMITED, DATA_DIR: dataDir, PORT: '0' } };
}

const COMMANDS = [
  ['serve'],
  ['status'],
  ['verify'],
  ['export'],
  ['erase', 'ada'],
  ['rebuild'],
  ['import', '/dev/null'],
];

/** Expects commands that open a database to fail with a message, and to change nothing. */
async function expectRejections(
  dataDir: string,
  env: Record<string, string>,
  message: RegExp,
  commands: readonly string[][] = [['serve'], ['verify']],
): Promise<void> {
  const readFiles = () =>
    ['rawlog.db', 'rawlog.db-wal'].map((name) => {
      const path = join(dataDir, name);
      return existsSync(path) ? readFileSync(path) : undefined;
    });
  const before = readFiles();
  for (const args of commands) {
    const { exitCode, stderr } = await runCli(args, { env });
    expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 1, stderr: expect.stringMatching(message) });
  }
  expect(readFiles()).toEqual(before);
}

test('uses a database left by a kill together with its write-ahead log', async () => {
  const { dataDir, env } = copyKilledDir();
  expect((await runCli(['verify'], { env })).stdout).toContain('600 metrics');
  const target = await startTarget(UNLIMITED, { dataDir });
  expect(rows(target, 'metrics')).toHaveLength(600);
  await target.stop();
});

describe('a data folder left by a kill', () => {
  test('is rejected by every command when it contains an older database', async () => {
    const { dataDir, database, env } = copyKilledDir();
    copyFileSync(oldDatabase, database);
    await expectRejections(
      dataDir,
      env,
      /rawlog\.db-wal is not the write-ahead log of .*replaced or restored/,
      COMMANDS,
    );
  });

  test('is rejected when the database is missing', async () => {
    const { dataDir, database, env } = copyKilledDir();
    rmSync(database);
    await expectRejections(dataDir, env, /rawlog\.db-wal contains changes to a database that is missing/);
  });

  test('is rejected when the database is empty', async () => {
    const { dataDir, database, env } = copyKilledDir();
    writeFileSync(database, '');
    await expectRejections(dataDir, env, /rawlog\.db-wal contains changes to a database that is empty/);
  });
});

test('rejects a database with a trigger', async () => {
  const { dataDir, database, env } = copyKilledDir();
  await (await startTarget(UNLIMITED, { dataDir })).stop();
  const client = new Database(database);
  client.run('CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END');
  client.close();
  await expectRejections(dataDir, env, /Its schema does not match this version of rawlog: it contains the trigger "t"/);
});

test('stops the server, which acknowledges nothing, when a trigger is added while it runs', async () => {
  const target = await startTarget();
  const client = new Database(target.databasePath);
  client.run('PRAGMA busy_timeout = 5000');
  client.run('CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END');
  client.close();
  expectError(await post(target, '/log_raw_metric', METRIC), 503, 'storage_unavailable');
  expect(await target.process.exited).toBe(1);
  expect(JSON.stringify(target.logLines())).toContain('the schema was changed');
  await target.stop();
});

test('rejects an empty database file in commands that do not create a database', async () => {
  const dataDir = join(folder.path, crypto.randomUUID());
  const target = await startTarget(UNLIMITED, { dataDir });
  await target.stop();
  writeFileSync(target.databasePath, '');
  const env = { ...UNLIMITED, DATA_DIR: dataDir };
  const before = readdirSync(dataDir);
  for (const args of [['status'], ['erase', 'ada']]) {
    const { exitCode, stderr } = await runCli(args, { env });
    expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 1, stderr: expect.stringContaining('is empty') });
  }
  expect([readdirSync(dataDir), readFileSync(target.databasePath).length]).toEqual([before, 0]);
});

test('reports the cause of damage found at startup', async () => {
  const { dataDir, database, env } = copyKilledDir();
  await (await startTarget(UNLIMITED, { dataDir })).stop();
  const bytes = readFileSync(database);
  bytes.fill(0xff, 8 * 4096);
  writeFileSync(database, bytes);
  const { exitCode, stderr } = await runCli(['serve'], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('disk image is malformed') });
  expect(stderr).not.toContain('SELECT');
});

test('stops recording, fails /readyz and logs a fatal error when a query finds damage', async () => {
  const dataDir = join(folder.path, crypto.randomUUID());
  const first = await startTarget(UNLIMITED, { dataDir });
  const event = { type: 't', data: { filler: 'x'.repeat(2_000) }, data_index: '' };
  for (let i = 0; i < 3; i++) await post(first, '/log_batch', { analytics: Array(400).fill(event) });
  await first.stop();
  const bytes = readFileSync(first.databasePath);
  // damages pages in the middle: the first and the last ones are read at startup
  bytes.fill(0xff, Math.floor(bytes.length * 0.4), Math.floor(bytes.length * 0.5));
  writeFileSync(first.databasePath, bytes);

  const target = await startTarget(UNLIMITED, { dataDir });
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  const page = await send(`${target.url}/api/export/analytics?format=ndjson`, { headers }).catch(() => undefined);
  expect(page?.text.split('\n').length ?? 0).toBeLessThan(1_201);
  await target.logged(({ level, msg }) => level === 'fatal' && String(msg).includes('the database is damaged'));
  expectError(await send(`${target.url}/readyz`), 503, 'storage_unavailable');
  for (const [path, body] of [
    ['/log_raw_metric', METRIC],
    ['/log_batch', { metrics: [METRIC] }],
  ] as const) {
    const keys = [{}, { 'idempotency-key': 'k' }];
    for (const key of keys) expectError(await post(target, path, body, key), 503, 'storage_unavailable');
  }
  expect((await send(`${target.url}/healthz`)).status).toBe(200);
  expect(target.logLines().filter(({ level }) => level === 'fatal')).toHaveLength(1);
  expect(await target.stop()).toBe(1);
});
