import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { eventually, hasNats, Nats } from '../harness/nats.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Forwarding from a server to a real NATS server: the forwarder, its commands and its figures.
 */

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const newFolder = () => join(folder.path, crypto.randomUUID());
const adminHeaders = async () => ({ authorization: `Bearer ${await token({ role: 'admin' })}` });

/** Records a batch of metrics as a user. Returns their IDs. */
async function record(target: Target, count: number, sub = 'user-1'): Promise<string[]> {
  const authorization = `Bearer ${await token({ sub })}`;
  const metrics = Array.from({ length: count }, (_, i) => ({ ...METRIC, metric_value: i }));
  const { status, body } = await post(target, '/log_batch', { metrics }, { authorization });
  expect(status).toBe(200);
  return body.metrics;
}

/** Returns the only sink in the status. */
async function sinkOf(target: Target) {
  const { body } = await send(`${target.url}/api/status`, { headers: await adminHeaders() });
  return body.sinks[0];
}

/** Runs a command with the settings of a server. */
async function run(target: Pick<Target, 'dataDir'>, ...args: string[]) {
  return runCli(args, { env: { JWT_SECRET: UNLIMITED.JWT_SECRET, DATA_DIR: target.dataDir } });
}

const byId = (a: string, b: string) => (a < b ? -1 : 1);
const idsIn = async (nats: Nats, stream: string) => (await nats.messages(stream)).map(({ id }) => id).sort(byId);

describe.skipIf(!hasNats)('with a NATS server', () => {
  let nats: Nats;
  beforeAll(async () => {
    nats = await Nats.start(newFolder());
  });
  afterAll(() => nats[Symbol.asyncDispose]());

  test('every row arrives exactly once, although the server and NATS are killed under load', async () => {
    const dataDir = newFolder();
    const env = { ...UNLIMITED, FORWARD_URL: `nats://tester:tester-password@${nats.host}/killed`, NODE_ID: 'node_1' };
    const acknowledged: string[] = [];
    let target = await startTarget(env, { dataDir });
    const load = async (batches: number) => {
      for (let i = 0; i < batches; i++) acknowledged.push(...(await record(target, 500)));
    };
    await load(4);
    await eventually(async () => (await nats.count('killed')) > 0);
    await Promise.all([load(6), nats.kill()]);
    expect(await target.logged(({ msg }) => msg === 'records cannot be forwarded; retrying')).toMatchObject({
      sink: `nats://${nats.host}/killed`,
    });
    await nats.start();
    await target.stop('SIGKILL');
    target = await startTarget(env, { dataDir });
    await load(2);
    await eventually(async () => (await nats.count('killed')) >= acknowledged.length);
    const stored = rows(target, 'metrics').map(({ id }) => id as string);
    await eventually(async () => (await sinkOf(target))?.lag_rows === 0);
    expect(await target.stop()).toBe(0);
    expect(await idsIn(nats, 'killed')).toEqual(stored.sort(byId));
    expect(stored).toEqual(expect.arrayContaining(acknowledged.slice(0, 100)));
    expect(stored.length).toBe(acknowledged.length);
    expect(target.output().stderr).not.toContain('tester-password');
  }, 240_000);

  test('dead letters are listed and delivered again; a reset sends nothing twice', async () => {
    await nats.manage((manager) =>
      manager.streams.add({ name: 'dead', subjects: ['dead.>'], max_msg_size: 400, duplicate_window: 120e9 }),
    );
    const target = await startTarget(
      { ...UNLIMITED, FORWARD_URL: `nats://${nats.host}/dead` },
      { dataDir: newFolder() },
    );
    const name = `nats://${nats.host}/dead`;
    const before = await record(target, 2);
    const long = await post(target, '/log_raw_metric', { ...METRIC, data_string: 'x'.repeat(500) });
    const after = await record(target, 2);
    await eventually(async () => (await sinkOf(target))?.dead_letters === 1);
    expect((await run(target, 'forward', 'drop', name)).stderr).toContain('is in FORWARD_URL');
    const listed = JSON.parse((await run(target, 'forward', 'dead', name, '--json')).stdout);
    expect(listed.dead_letters).toEqual([
      { kind: 'metric', id: long.body, reason: "larger than the stream's max_msg_size", at: expect.any(String) },
    ]);
    await eventually(async () => (await nats.count('dead')) === 4); // later rows were not blocked
    const metrics = (await send(`${target.url}/metrics`, { headers: await adminHeaders() })).text;
    expect(metrics).toContain(`rawlog_forward_dead_letters{sink="${name}"} 1`);
    expect(metrics).toContain(`rawlog_forward_up{sink="${name}"} 1`);
    expect(await run(target, 'doctor')).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('dead letters') });

    await nats.manage((manager) => manager.streams.update('dead', { max_msg_size: 100_000 }));
    expect((await run(target, 'forward', 'retry', name)).stdout).toBe('Delivering 1 record again.\n');
    await eventually(async () => (await nats.count('dead')) === 5);
    expect((await run(target, 'forward', 'reset', name, '--from', String(before[0]))).exitCode).toBe(0);
    const last = await record(target, 1);
    await eventually(async () => (await nats.count('dead')) >= 6);
    expect(await idsIn(nats, 'dead')).toEqual([...before, long.body, ...after, ...last].sort(byId));
    const [sink] = JSON.parse((await run(target, 'forward', 'list', '--json')).stdout).sinks;
    expect(sink).toMatchObject({ name, configured: true, state: 'delivering', dead_letters: 0 });
    expect(await target.stop()).toBe(0);
    const stopped = await run(target, 'forward', 'list');
    expect(stopped.stdout).toContain('not configured');
    expect((await run(target, 'forward', 'reset', name, '--from', String(before[0]), '--json')).stdout).toContain(name);
    expect(await run(target, 'forward', 'dead', 'nats://elsewhere/dead')).toMatchObject({ exitCode: 1 });
    expect(await run(target, 'forward', 'drop', name)).toMatchObject({ exitCode: 0 });
    expect((await run(target, 'forward', 'list', '--json')).stdout).toBe('{"sinks":[]}\n');
  }, 240_000);

  test('an erasure reaches a stream that was down, and spares other users and later rows', async () => {
    const dataDir = newFolder();
    const env = { ...UNLIMITED, FORWARD_URL: `nats://${nats.host}/erased` };
    let target = await startTarget(env, { dataDir });
    await record(target, 3, 'user-gone');
    const kept = await record(target, 2, 'user-kept');
    await eventually(async () => (await nats.count('erased')) === 5);
    await nats.kill();
    const erasure = await send(`${target.url}/api/users/user-gone`, {
      method: 'DELETE',
      headers: await adminHeaders(),
    });
    expect(erasure.body).toEqual({
      user_id: 'user-gone',
      deleted: { metrics: 3, analytics: 0 },
      pending: [`nats://${nats.host}/erased`],
    });
    const returned = await record(target, 1, 'user-gone');
    await target.stop('SIGKILL'); // the erasure survives it
    await nats.start();
    target = await startTarget(env, { dataDir });
    await eventually(async () => (await sinkOf(target))?.pending_erasures === 0);
    await eventually(async () => (await nats.count('erased')) === 3);
    expect(await idsIn(nats, 'erased')).toEqual([...kept, ...returned].sort(byId));

    await record(target, 1, 'user-overwritten');
    await eventually(async () => (await nats.count('erased')) === 4);
    nats.suspend(); // it does not erase before the response
    expect((await run(target, 'erase', 'user-overwritten')).stdout).toContain('Not erased yet: nats://');
    nats.resume();
    await eventually(async () => (await nats.count('erased')) === 3);
    await eventually(async () => {
      const { body } = await send(`${target.url}/api/status`, { headers: await adminHeaders() });
      return body.erasures.pending === 0;
    });
    expect(await target.stop()).toBe(0);
    const files = [target.databasePath, ...new Bun.Glob('**/*').scanSync({ cwd: dataDir, absolute: true })];
    expect(files.length).toBeGreaterThan(2);
    for (const file of files) expect(readFileSync(file).includes('user-overwritten')).toBe(false);
  }, 240_000);

  test('imported rows are delivered, although their IDs are older than the cursor', async () => {
    const source = await startTarget(UNLIMITED, { dataDir: newFolder() });
    const old = await record(source, 3);
    const exported = (await run(source, 'export')).stdout;
    expect(await source.stop()).toBe(0);
    const target = await startTarget(
      { ...UNLIMITED, FORWARD_URL: `nats://${nats.host}/imported` },
      { dataDir: newFolder() },
    );
    const fresh = await record(target, 1);
    await eventually(async () => (await nats.count('imported')) === 1);
    const imported = await runCli(['import', '-'], {
      env: { JWT_SECRET: UNLIMITED.JWT_SECRET, DATA_DIR: target.dataDir },
      stdin: exported,
    });
    expect(imported.exitCode).toBe(0);
    await eventually(async () => (await nats.count('imported')) === 4);
    expect(await idsIn(nats, 'imported')).toEqual([...old, ...fresh].sort(byId));
    expect(await target.stop()).toBe(0);
  }, 240_000);
});

test('an engine that accepts connections and says nothing delays neither recording nor the stop', async () => {
  const sockets = new Set<Socket>();
  const silent: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as { port: number }; // a TCP address
  const target = await startTarget(
    { ...UNLIMITED, FORWARD_URL: `nats://127.0.0.1:${port}/silent` },
    { dataDir: newFolder() },
  );
  await eventually(() => sockets.size > 0);
  for (let i = 0; i < 10; i++) await record(target, 200);
  await eventually(async () => (await sinkOf(target))?.lag_rows === 2_000);
  await target.logged(({ msg }) => msg === 'records cannot be forwarded; retrying');
  expect(await sinkOf(target)).toMatchObject({ state: 'failing', reason: expect.any(String), dead_letters: 0 });
  expect(await run(target, 'doctor')).toMatchObject({ exitCode: 1, stdout: expect.stringContaining('(forwarding)') });
  expect((await run(target, 'status')).stdout).toContain('2,000 rows');
  expect(await target.stop()).toBe(0);
  for (const socket of sockets) socket.destroy();
  silent.close();
}, 240_000);
