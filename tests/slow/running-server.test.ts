import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, chownSync, existsSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { version } from '../../package.json' with { type: 'json' };
import { METRIC, post, rows, send } from '../harness/client.ts';
import { COMMAND, runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Commands beside a running server, which executes them, and after the server was killed.
 */

/** The user ID of another user on the machine. */
const OTHER = 65_534;
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED: tests of other users on the machine require root');

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
  chmodSync(folder.path, 0o711); // other users may traverse it
});
afterAll(() => folder[Symbol.dispose]());

const newDataDir = () => join(folder.path, crypto.randomUUID());
const socketOf = (dataDir: string) => join(dataDir, 'control/rawlog.db.sock');
const run = (dataDir: string, ...args: string[]) =>
  runCli(args, { env: { JWT_SECRET: UNLIMITED.JWT_SECRET, DATA_DIR: dataDir } });

/** Records metrics of a user. */
async function record(target: Target, user: string, count = 1): Promise<void> {
  const authorization = `Bearer ${await token({ sub: user })}`;
  const metrics = Array.from({ length: Math.min(count, 1_000) }, (_, i) => ({ ...METRIC, metric_value: i }));
  for (let sent = 0; sent < count; sent += metrics.length) {
    expect((await post(target, '/log_batch', { metrics, analytics: [] }, { authorization })).status).toBe(200);
  }
}

const started = (name: string) => (line: Record<string, unknown>) =>
  line['msg'] === 'command started' && line['command'] === name;
const finished = (name: string) => (line: Record<string, unknown>) =>
  line['msg'] === 'command finished' && line['command'] === name;

/** Returns the series of the recorded metric, as an admin sees it. */
async function series(target: Target): Promise<unknown> {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  return (await send(`${target.url}/api/metrics/series?name=page_load_time`, { headers })).body;
}

describe('beside a running server', () => {
  let target: Target;
  let dataDir: string;
  beforeAll(async () => {
    dataDir = newDataDir();
    target = await startTarget(UNLIMITED, { dataDir });
  });
  afterAll(async () => {
    expect(await target.stop()).toBe(0);
    expect(existsSync(socketOf(dataDir))).toBe(false);
  });

  test('erase removes the rows of the user, and the server counts them', async () => {
    await record(target, 'ada', 3);
    await record(target, 'bob');
    expect(await run(dataDir, 'erase', 'ada', '--json')).toEqual({
      exitCode: 0,
      stdout: '{"user_id":"ada","deleted":{"metrics":3,"analytics":0}}\n',
      stderr: '',
    });
    expect(rows(target, 'metrics').filter(({ user_id }) => user_id === 'ada')).toEqual([]);
    expect(await run(dataDir, 'erase', 'ada')).toMatchObject({ stdout: 'Erased 0 metrics and 0 events.\n' });
    const { ledger } = JSON.parse((await run(dataDir, 'status', '--json')).stdout);
    expect(ledger).toMatchObject({ stored: 4, deleted: 3 });
    expect(await run(dataDir, 'verify')).toMatchObject({ exitCode: 0 });
  });

  test('rebuild does not change query results', async () => {
    await record(target, 'carl', 2_000);
    const before = await series(target);
    expect(await run(dataDir, 'rebuild', '--json')).toEqual({
      exitCode: 0,
      stdout: '{"rebuilt":true}\n',
      stderr: '',
    });
    expect(await series(target)).toEqual(before);
    await target.logged(finished('rebuild'));
  });

  test('status shows what an admin sees, the sizes of the files and the process of the server', async () => {
    const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    const { body } = await send(`${target.url}/api/status`, { headers });
    const { exitCode, stdout } = await run(dataDir, 'status', '--json');
    expect(exitCode).toBe(0);
    expect(stdout.trim()).not.toContain('\n');
    const status = JSON.parse(stdout);
    expect(Object.keys(status).sort()).toEqual(['server', ...Object.keys(body)].sort());
    expect(status).toMatchObject({
      server: { pid: target.process.pid, version },
      ledger: body.ledger,
      storage: { database: target.databasePath, database_bytes: statSync(target.databasePath).size },
    });
    expect(status.storage.reusable_bytes).toBeGreaterThanOrEqual(0);
    const { stdout: text } = await run(dataDir, 'status');
    expect(text).toContain(`version ${version}, process ${target.process.pid}, up for `);
    expect(text).toMatch(/^ingest lag: +\d+ rows?, \d+\.\d s$/m);
  });

  test('status --prometheus prints the metrics of the server', async () => {
    const { exitCode, stdout } = await run(dataDir, 'status', '--prometheus');
    expect(exitCode).toBe(0);
    expect(stdout).toContain(`rawlog_build_info{version="${version}"} 1\n`);
    expect(stdout).toMatch(/^rawlog_items_stored_total \d+$/m);
  });

  test('verify --json prints what was verified', async () => {
    const { exitCode, stdout } = await run(dataDir, 'verify', '--json');
    expect({ exitCode, ...JSON.parse(stdout) }).toMatchObject({ exitCode: 0, problems: [], omitted: 0 });
  });

  test('commands at the same time all succeed', async () => {
    await record(target, 'dora', 2);
    const results = await Promise.all([
      run(dataDir, 'rebuild'),
      run(dataDir, 'erase', 'dora'),
      run(dataDir, 'rebuild'),
      run(dataDir, 'status'),
      run(dataDir, 'verify'),
    ]);
    expect(results.map(({ exitCode }) => exitCode)).toEqual([0, 0, 0, 0, 0]);
    expect(results[1].stdout).toBe('Erased 2 metrics and 0 events.\n');
    expect(await run(dataDir, 'verify')).toMatchObject({ exitCode: 0 });
  });

  test('the socket accepts only known commands with valid arguments', async () => {
    const unix = socketOf(dataDir);
    const request = (method: string, path: string) => fetch(`http://rawlog${path}`, { method, unix });
    for (const [method, path, status] of [
      ['POST', '/v1/shell?argument={}', 404],
      ['POST', '/v1/constructor?argument={}', 404],
      ['GET', '/v1/erase?argument={"user_id":"x"}', 404],
      ['POST', '/v1/erase', 400],
      ['POST', '/v1/erase?argument={"user_id":1}', 400],
      ['POST', '/v1/erase?argument={"user_id":""}', 400],
      ['POST', '/v1/erase?argument={"user_id":"a%09b"}', 400],
    ] as const) {
      const response = await request(method, path);
      expect({ path, status: response.status, body: await response.json() }).toEqual({
        path,
        status,
        body: { error: { message: expect.stringContaining(`It is version ${version}.`) } },
      });
    }
  });

  test('only the owner can reach the socket', async () => {
    expect(statSync(join(dataDir, 'control')).mode & 0o777).toBe(0o700);
    expect(statSync(socketOf(dataDir)).mode & 0o777).toBe(0o600);
    chmodSync(join(dataDir, 'control'), 0o755);
    const { exitCode, stderr } = await run(dataDir, 'erase', 'eve');
    chmodSync(join(dataDir, 'control'), 0o700);
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: `${join(dataDir, 'control')} is accessible to other users, who could replace the socket in it. Run: chmod 700 ${join(dataDir, 'control')}\n`,
    });
  });
});

describe('a process that ends early', () => {
  test('a killed server leaves a socket that neither commands nor the next server mind', async () => {
    const dataDir = newDataDir();
    const killed = await startTarget(UNLIMITED, { dataDir });
    await record(killed, 'ada', 2);
    await killed.stop('SIGKILL');
    expect(existsSync(socketOf(dataDir))).toBe(true);
    expect(await run(dataDir, 'status', '--prometheus')).toMatchObject({
      exitCode: 1,
      stderr: expect.stringContaining('No server is running'),
    });
    expect(await run(dataDir, 'erase', 'ada')).toMatchObject({ stdout: 'Erased 2 metrics and 0 events.\n' });
    const target = await startTarget(UNLIMITED, { dataDir });
    expect(JSON.parse((await run(dataDir, 'status', '--json')).stdout).server.pid).toBe(target.process.pid);
    await target.stop();
    expect(JSON.parse((await run(dataDir, 'status', '--json')).stdout).server).toBeNull();
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('the server finishes a rebuild whose command got %s', async (signal) => {
    const dataDir = newDataDir();
    const target = await startTarget(UNLIMITED, { dataDir });
    await record(target, 'ada', 20_000);
    const child = Bun.spawn([...COMMAND, 'rebuild'], { env: { DATA_DIR: dataDir }, stderr: 'pipe' });
    await target.logged(started('rebuild'));
    child.kill(signal);
    await child.exited;
    expect(child.signalCode).toBe(signal);
    expect(await new Response(child.stderr).text()).toBe(
      signal === 'SIGINT' ? 'Disconnected. The server finishes the command on its own.\n' : '',
    );
    await target.logged(finished('rebuild'));
    expect(await series(target)).toMatchObject({ count: 20_000 });
    expect(await run(dataDir, 'verify')).toMatchObject({ exitCode: 0 });
    expect(await target.stop()).toBe(0);
  });

  test.each(['SIGTERM', 'SIGKILL'] as const)('a command fails if its server gets %s', async (signal) => {
    const dataDir = newDataDir();
    const target = await startTarget(UNLIMITED, { dataDir });
    await record(target, 'ada', 20_000);
    const result = run(dataDir, 'rebuild');
    await target.logged(started('rebuild'));
    await target.stop(signal);
    expect(await result).toMatchObject({ exitCode: 1, stdout: '' });
    const again = await startTarget(UNLIMITED, { dataDir });
    expect(await run(dataDir, 'rebuild')).toMatchObject({ exitCode: 0 });
    expect(await series(again)).toMatchObject({ count: 20_000 });
    await again.stop();
    expect(await run(dataDir, 'verify')).toMatchObject({ exitCode: 0 });
  });
});

test('a data folder may have a path that is too long for a socket', async () => {
  const dataDir = join(newDataDir(), 'x'.repeat(150), 'y'.repeat(150));
  const target = await startTarget(UNLIMITED, { dataDir });
  await record(target, 'ada');
  expect(await run(dataDir, 'erase', 'ada')).toMatchObject({ stdout: 'Erased 1 metric and 0 events.\n', exitCode: 0 });
  await target.logged(started('erase'));
  await target.stop();
  expect(existsSync(socketOf(dataDir))).toBe(false);
});

test('each database of a folder has its own socket', async () => {
  const dataDir = newDataDir();
  mkdirSync(dataDir, { mode: 0o700 });
  const servers = await Promise.all(
    ['a.db', 'b.db'].map((name) => startTarget({ ...UNLIMITED, DATABASE_URL: `file:${join(dataDir, name)}` })),
  );
  for (const { databasePath, process } of servers) {
    const { stdout } = await runCli(['status', '--json'], { env: { DATABASE_URL: `file:${databasePath}` } });
    expect(JSON.parse(stdout).server.pid).toBe(process.pid);
  }
  await Promise.all(servers.map((server) => server.stop()));
});

describe.skipIf(!isRoot)('another user on the machine', () => {
  const asOther = ['setpriv', `--reuid=${OTHER}`, `--regid=${OTHER}`, '--clear-groups'];

  test('cannot use the socket', async () => {
    const dataDir = newDataDir();
    const target = await startTarget(UNLIMITED, { dataDir });
    const connect = `fetch('http://rawlog/v1', { unix: ${JSON.stringify(socketOf(dataDir))} })`;
    const child = Bun.spawn(
      [...asOther, process.execPath, '-e', `${connect}.catch((error) => console.log(error.code))`],
      {
        cwd: '/',
        stdout: 'pipe',
      },
    );
    expect(await new Response(child.stdout).text()).toMatch(/^(EACCES|EPERM)\n$/);
    await target.stop();
  });

  test("root's commands reach the server of a service, whose socket belongs to it", async () => {
    const dataDir = newDataDir();
    mkdirSync(dataDir, { mode: 0o700 });
    chownSync(dataDir, OTHER, OTHER);
    const target = await startTarget(UNLIMITED, { dataDir, prefix: asOther });
    await record(target, 'ada');
    expect(await run(dataDir, 'erase', 'ada')).toMatchObject({ stdout: 'Erased 1 metric and 0 events.\n' });
    expect([join(dataDir, 'control'), socketOf(dataDir)].map((path) => statSync(path).uid)).toEqual([OTHER, OTHER]);
    await target.stop();
  });
});
