import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { post, rows, send } from '../harness/client.ts';
import { bearer } from '../harness/seeded-server.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
const source = join(folder.path, 'source');
beforeAll(async () => {
  const target = await startTarget(UNLIMITED, { dataDir: source });
  await record(target);
  await target.stop();
});
afterAll(() => folder[Symbol.dispose]());

/** Returns an RFC 3339 time this many days ago. */
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();

/** Records a metric and an event for each of the last 10 days, and one event type with a comma. */
async function record(target: Target): Promise<void> {
  const days = Array.from({ length: 10 }, (_, day) => daysAgo(day + 0.5));
  const response = await post(
    target,
    '/log_batch',
    {
      metrics: days.map((timestamp) => ({ metric_name: 'load', metric_value: 1, data_string: '/', timestamp })),
      analytics: days.flatMap((timestamp) =>
        ['click', 'a,b=c'].map((type) => ({ type, data: {}, data_index: '', timestamp })),
      ),
    },
    { authorization: `Bearer ${await token()}` },
  );
  expect(response.status).toBe(200);
}

let copies = 0;
/** Returns the data folder and the command line of a copy of the database. */
function copied() {
  const DATA_DIR = join(folder.path, `copy-${++copies}`);
  cpSync(source, DATA_DIR, { recursive: true });
  const run = (args: readonly string[], env = {}) => runCli(args, { env: { ...UNLIMITED, DATA_DIR, ...env } });
  const count = (table: 'metrics' | 'analytics') =>
    rows({ databasePath: join(DATA_DIR, 'rawlog.db') }, table).filter((row) => row['user_id'] !== '').length;
  return { DATA_DIR, run, left: () => [count('metrics'), count('analytics')] };
}

test.each([
  [['--older-than', '4d'], {}, [6, 12], [4, 8]],
  [['--older-than', '4d', '--name', 'load'], {}, [6, 0], [4, 20]],
  [['--older-than', '4d', '--type', 'a,b=c'], {}, [0, 6], [10, 14]],
  [['--older-than', '100d'], {}, [0, 0], [10, 20]],
  [[], { RETENTION_DAYS: '4', RETENTION: 'metric:load=off,type:a\\,b\\=c=2d' }, [0, 14], [10, 6]],
] as const)('prune %p deletes what the dry run reports', async (args, env, deleted, left) => {
  const { run, left: rowsLeft } = copied();
  const dry = await run(['prune', ...args, '--dry-run', '--json'], env);
  expect(dry).toMatchObject({ exitCode: 0, stderr: '' });
  const planned = JSON.parse(dry.stdout);
  expect(planned).toMatchObject({ dry_run: true, deleted: { metrics: deleted[0], analytics: deleted[1] } });
  expect(rowsLeft()).toEqual([10, 20]);

  const real = JSON.parse((await run(['prune', ...args, '--json'], env)).stdout);
  expect(real).toMatchObject({ dry_run: false, deleted: planned.deleted, bytes: planned.bytes });
  expect(rowsLeft()).toEqual([...left]);
  expect(await run(['verify'])).toMatchObject({ exitCode: 0 });
  expect(JSON.parse((await run(['status', '--json'])).stdout).ledger).toMatchObject({
    stored: 30,
    deleted: deleted[0] + deleted[1],
  });
});

test('makes a database of an earlier version able to shrink', async () => {
  const { DATA_DIR, run } = copied();
  const path = join(DATA_DIR, 'rawlog.db');
  const mode = () => {
    const client = new Database(path);
    try {
      return client.query('PRAGMA auto_vacuum').get();
    } finally {
      client.close();
    }
  };
  const client = new Database(path);
  client.run('PRAGMA auto_vacuum = NONE');
  client.run('VACUUM');
  client.close();
  expect(mode()).toEqual({ auto_vacuum: 0 });
  expect(await run(['prune', '--older-than', '100d', '--dry-run'])).toMatchObject({ exitCode: 0 });
  expect(mode()).toEqual({ auto_vacuum: 0 });
  expect(await run(['prune', '--older-than', '100d'])).toMatchObject({ exitCode: 0 });
  expect(mode()).toEqual({ auto_vacuum: 2 });
  expect(await run(['verify'])).toMatchObject({ exitCode: 0 });
});

test('prints what it deleted as text', async () => {
  const { run } = copied();
  const dry = await run(['prune', '--older-than', '9d', '--name', 'load', '--dry-run']);
  expect(dry.stdout).toMatch(/^Would delete 1 metric and 0 events \(\d+ bytes\)\.\n$/);
  const real = await run(['prune', '--older-than', '9d', '--name', 'load']);
  expect(real.stdout).toMatch(
    /^Deleted 1 metric and 0 events \(\d+ bytes\)\. The database has \d+ bytes; before, it had \d+\.\n$/,
  );
});

test('is executed by the running server', async () => {
  const { DATA_DIR, run, left } = copied();
  const target = await startTarget(UNLIMITED, { dataDir: DATA_DIR });
  try {
    const args = ['prune', '--older-than', '4d', '--type', 'a,b=c', '--json'];
    const dry = JSON.parse((await run([...args, '--dry-run'])).stdout);
    expect(dry).toMatchObject({ dry_run: true, deleted: { metrics: 0, analytics: 6 } });
    expect(left()).toEqual([10, 20]);
    expect(JSON.parse((await run(args)).stdout)).toMatchObject({
      ...{ dry_run: false, deleted: dry.deleted, bytes: dry.bytes },
    });
    expect(left()).toEqual([10, 14]);
    expect((await run(['prune', '--older-than', '2d', '--name', 'load'])).stdout).toContain('Deleted 8 metrics');
    const status = await send(`${target.url}/api/status`, { headers: await bearer({ role: 'admin' }) });
    expect(status.body.ledger).toMatchObject({ stored: 30, deleted: 14 });
    expect(await run(['verify'])).toMatchObject({ exitCode: 0 });
    // without settings here, those of the server apply, and it has none either
    const settings = { RETENTION: 'metric:load=off,type:click=9d' };
    expect((await run(['prune', '--dry-run'], settings)).stdout).toContain('Would delete 0 metrics and 1 event');
    const { exitCode, stderr } = await run(['prune']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('give --older-than') });
  } finally {
    await target.stop();
  }
});

test.each([
  [[], 'give --older-than, or set RETENTION_DAYS or RETENTION'],
  [['--older-than', '0d'], '--older-than should be above 0'],
  [['--older-than', 'soon'], '--older-than should be a number followed by'],
  [['--name', 'load'], '--name and --type require --older-than'],
  [['--older-than', '1d', '--name', 'a', '--type', 'b'], '--name and --type are mutually exclusive'],
  [['--retention', 'load=1d', '--retention-days', 'x'], '--retention-days should be a whole number of days'],
] as const)('prune %p is a usage error', async (args, message) => {
  const { run } = copied();
  const { exitCode, stderr } = await run(['prune', ...args]);
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 2, stderr: expect.stringContaining(message) });
});

test('creates no database', async () => {
  const { exitCode, stderr } = await runCli(['prune', '--older-than', '1d'], {
    env: { ...UNLIMITED, DATA_DIR: join(folder.path, 'none') },
  });
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('There is no database') });
});
