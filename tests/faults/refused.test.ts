import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Databases that are not used as they are: not their own write-ahead log, a changed schema, damage.
 */

let folder: ReturnType<typeof temporaryFolder>;
/** A data folder that a kill left behind, and a copy of its database from before an earlier start. */
let killed: string;
let old: string;

beforeAll(async () => {
  folder = temporaryFolder();
  killed = join(folder.path, 'killed');
  old = join(folder.path, 'old.db');
  for (const session of [1, 2, 3]) {
    const target = await startTarget(UNLIMITED, { dataDir: killed });
    await post(target, '/log_batch', { metrics: Array(200).fill(METRIC) });
    await target.stop(session === 3 ? 'SIGKILL' : 'SIGTERM');
    if (session === 1) copyFileSync(target.databasePath, old);
  }
});
afterAll(() => folder[Symbol.dispose]());

/** A copy of the killed data folder. */
function copyOfKilled(): { dataDir: string; database: string; env: Record<string, string> } {
  const dataDir = join(folder.path, crypto.randomUUID());
  cpSync(killed, dataDir, { recursive: true });
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

/** Runs commands that open a database, and expects each to be refused with these words, and to change nothing. */
async function expectRefusals(
  dataDir: string,
  env: Record<string, string>,
  words: RegExp,
  commands: readonly string[][] = [['serve'], ['verify']],
): Promise<void> {
  const content = () =>
    ['rawlog.db', 'rawlog.db-wal'].map((name) => {
      const path = join(dataDir, name);
      return existsSync(path) ? readFileSync(path) : undefined;
    });
  const before = content();
  for (const args of commands) {
    const { exitCode, stderr } = await runCli(args, { env });
    expect({ args, exitCode, stderr }).toEqual({ args, exitCode: 1, stderr: expect.stringMatching(words) });
  }
  expect(content()).toEqual(before);
}

test('a database that a kill left is used with its own write-ahead log', async () => {
  const { dataDir, env } = copyOfKilled();
  expect((await runCli(['verify'], { env })).stdout).toContain('600 metrics');
  const target = await startTarget(UNLIMITED, { dataDir });
  expect(rows(target, 'metrics')).toHaveLength(600);
  await target.stop();
});

describe('after a kill', () => {
  test('an older database in its place is refused by every command', async () => {
    const { dataDir, database, env } = copyOfKilled();
    copyFileSync(old, database);
    await expectRefusals(dataDir, env, /rawlog\.db-wal is not the write-ahead log of .*replaced or restored/, COMMANDS);
  });

  test('a missing database is refused', async () => {
    const { dataDir, database, env } = copyOfKilled();
    rmSync(database);
    await expectRefusals(dataDir, env, /rawlog\.db-wal has changes to a database that is missing/);
  });

  test('an empty database is refused', async () => {
    const { dataDir, database, env } = copyOfKilled();
    writeFileSync(database, '');
    await expectRefusals(dataDir, env, /rawlog\.db-wal has changes to a database that is empty/);
  });
});

test('a trigger in a database is refused', async () => {
  const { dataDir, database, env } = copyOfKilled();
  await (await startTarget(UNLIMITED, { dataDir })).stop();
  const client = new Database(database);
  client.run('CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END');
  client.close();
  await expectRefusals(dataDir, env, /Its schema is not that of rawlog: it has the trigger "t"/);
});

test('a trigger that is added while the server runs ends it, and nothing is acknowledged', async () => {
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

test('an empty file is no database to commands that do not create one', async () => {
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

test('damage that is found at the start is named by its cause', async () => {
  const { dataDir, database, env } = copyOfKilled();
  await (await startTarget(UNLIMITED, { dataDir })).stop();
  const bytes = readFileSync(database);
  bytes.fill(0xff, 8 * 4096);
  writeFileSync(database, bytes);
  const { exitCode, stderr } = await runCli(['serve'], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('disk image is malformed') });
  expect(stderr).not.toContain('SELECT');
});

test('damage that a query finds stops recording, fails /readyz, and is logged as fatal', async () => {
  const dataDir = join(folder.path, crypto.randomUUID());
  const first = await startTarget(UNLIMITED, { dataDir });
  const event = { type: 't', data: { filler: 'x'.repeat(2_000) }, data_index: '' };
  for (let i = 0; i < 3; i++) await post(first, '/log_batch', { analytics: Array(400).fill(event) });
  await first.stop();
  const bytes = readFileSync(first.databasePath);
  // pages in the middle: those at both ends are read at the start
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
