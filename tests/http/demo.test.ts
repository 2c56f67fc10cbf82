import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { COMMAND, runCli, startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let admin: string;
beforeAll(async () => {
  target = await startTarget();
  admin = await token({ sub: 'ada', role: 'admin' });
});
afterAll(async () => {
  await target.stop();
});

const call = (method: string, path: string, bearer: string) =>
  send(target.url + path, { method, headers: { authorization: `Bearer ${bearer}` } });
const demoFolder = () => join(target.dataDir, 'demo');

describe('the demo of a server', () => {
  test('is only for admins', async () => {
    for (const method of ['POST', 'DELETE']) {
      expect((await call(method, '/api/demo', await token({ sub: 'user-1' }))).status).toBe(403);
      expect((await send(`${target.url}/api/demo`, { method })).status).toBe(401);
    }
    expect(existsSync(demoFolder())).toBe(false);
  });

  test('serves its own rows under /demo, for its own token only', async () => {
    await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${admin}` });
    // both requests get the same demo
    const [started, again] = await Promise.all([call('POST', '/api/demo', admin), call('POST', '/api/demo', admin)]);
    expect(started.status).toBe(200);
    expect(again.body).toEqual(started.body);
    const { token: demoToken, rows, expires_at } = started.body;
    expect(Date.parse(expires_at)).toBeGreaterThan(Date.now() + 3_600_000);

    const shown = await call('GET', '/demo/api/activity?top=100', demoToken);
    expect(shown.body.metrics.count + shown.body.analytics.count).toBe(rows);
    const real = await call('GET', '/api/activity', admin);
    expect(real.body).toMatchObject({ metrics: { count: 1 }, analytics: { count: 0 } });

    expect((await call('GET', '/api/activity', demoToken)).status).toBe(401);
    expect((await call('GET', '/demo/api/activity', admin)).status).toBe(401);
    // nothing but reading
    expect((await call('DELETE', '/demo/api/users/shopper-00001', demoToken)).status).toBe(404);
    expect((await call('POST', '/demo/log_raw_metric', demoToken)).status).toBe(404);
    expect((await call('GET', '/demo/metrics', demoToken)).status).toBe(404);
  }, 60_000);

  test('reports errors of its queries as they are', async () => {
    const { token: demoToken } = (await call('POST', '/api/demo', admin)).body;
    const { status, body } = await call('GET', '/demo/api/metrics/series', demoToken);
    expect([status, body.code]).toEqual([422, 'validation_failed']);
  }, 60_000);

  test('is gone with its data once it is deleted, and recording continues', async () => {
    const { token: demoToken } = (await call('POST', '/api/demo', admin)).body;
    expect(existsSync(demoFolder())).toBe(true);
    expect((await call('DELETE', '/api/demo', admin)).body).toEqual({ deleted: true });
    expect((await call('DELETE', '/api/demo', admin)).body).toEqual({ deleted: false });
    expect(existsSync(demoFolder())).toBe(false);
    const ended = await call('GET', '/demo/api/activity', demoToken);
    expect([ended.status, ended.body.message]).toEqual([401, 'The demo has ended']);
    const recorded = await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${admin}` });
    expect(recorded.status).toBe(200);
  }, 60_000);

  test('ends with the server, and leaves nothing behind', async () => {
    const other = await startTarget(UNLIMITED, { dataDir: join(target.dataDir, 'other') });
    const headers = { authorization: `Bearer ${admin}` };
    expect((await send(`${other.url}/api/demo`, { method: 'POST', headers })).status).toBe(200);
    expect(await other.stop()).toBe(0);
    expect(existsSync(join(other.dataDir, 'demo'))).toBe(false);
  }, 60_000);

  test('can be stopped while it starts, and started again at once', async () => {
    const [stopped, , restarted] = await Promise.all([
      call('POST', '/api/demo', admin),
      call('DELETE', '/api/demo', admin),
      call('POST', '/api/demo', admin),
    ]);
    // the start that is stopped completes first
    expect([stopped.status, restarted.status]).toEqual([200, 200]);
    const shown = await call('GET', '/demo/api/activity', restarted.body.token);
    expect(shown.body.metrics.count + shown.body.analytics.count).toBe(restarted.body.rows);
    // the former one, which ends later, deletes nothing of it
    const [ended, next] = await Promise.all([call('DELETE', '/api/demo', admin), call('POST', '/api/demo', admin)]);
    expect([ended.body, next.status]).toEqual([{ deleted: true }, 200]);
    expect(existsSync(join(demoFolder(), 'rawlog.db'))).toBe(true);
    expect((await call('GET', '/demo/api/metrics', next.body.token)).status).toBe(200);
    await call('DELETE', '/api/demo', admin);
  }, 60_000);

  test('a server that stops while the demo starts ends it and leaves nothing behind', async () => {
    const headers = { authorization: `Bearer ${admin}` };
    const starting = await startTarget(UNLIMITED, { dataDir: join(target.dataDir, 'starting') });
    const start = fetch(`${starting.url}/api/demo`, { method: 'POST', headers }).then((response) => response.json());
    while (!existsSync(join(starting.dataDir, 'demo', 'rawlog-demo'))) await new Promise(setImmediate);
    const exit = starting.stop();
    expect(await start).toMatchObject({ code: 'shutting_down' });
    expect(await exit).toBe(0);
    expect(existsSync(join(starting.dataDir, 'demo'))).toBe(false);
  }, 60_000);

  test('a demo that was killed has ended, and its data is deleted', async () => {
    const { token: demoToken } = (await call('POST', '/api/demo', admin)).body;
    const [pid = ''] = readFileSync(`/proc/${target.process.pid}/task/${target.process.pid}/children`, 'utf8').split(
      ' ',
    );
    process.kill(Number(pid), 'SIGKILL');
    expect((await call('GET', '/demo/api/activity', demoToken)).status).toBe(401);
    await target.logged(({ msg }) => msg === 'the demo has ended by itself');
    await call('DELETE', '/api/demo', admin); // waits for the end
    expect(existsSync(demoFolder())).toBe(false);
  }, 60_000);

  test('leaves the data of another running demo alone', async () => {
    const folder = join(target.dataDir, 'two');
    const env = { PORT: '0', DATA_DIR: folder };
    const first = Bun.spawn([...COMMAND, 'demo'], { env, stdout: 'pipe', stderr: 'ignore' });
    for await (const bytes of first.stdout) if (Buffer.from(bytes).includes('listening on')) break;
    const second = await runCli(['demo'], { env });
    expect([second.exitCode, second.stderr]).toEqual([1, expect.stringContaining('A demo is running in')]);
    expect(existsSync(join(folder, 'demo', 'rawlog.db'))).toBe(true);
    first.kill();
    await first.exited;
  }, 60_000);

  test('does not start on a disk without room for it', async () => {
    const env = { ...UNLIMITED, MIN_FREE_BYTES: '90000000000000' };
    const full = await startTarget(env, { dataDir: join(target.dataDir, 'full') });
    const headers = { authorization: `Bearer ${admin}` };
    const { status, body } = await send(`${full.url}/api/demo`, { method: 'POST', headers });
    expect([status, body.code]).toEqual([503, 'storage_full']);
    await full.stop();
  });
});
