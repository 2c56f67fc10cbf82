import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { COMMAND, SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/** Opens a connection and sends a request up to the middle of its body. */
async function beginRequest(target: Target): Promise<{ socket: Socket; finish: () => Promise<string> }> {
  const body = JSON.stringify(METRIC);
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.on('data', (data) => {
    received += data;
  });
  const head = [
    'POST /log_raw_metric HTTP/1.1',
    'Host: x',
    `Authorization: Bearer ${await token()}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    'Expect: 100-continue',
    '',
    '',
  ].join('\r\n');
  // "100 Continue" means that the server has received the head
  await new Promise<void>((resolve) => {
    socket.once('data', () => resolve());
    socket.write(head);
  });
  socket.write(body.slice(0, 10));
  return {
    socket,
    finish: () =>
      new Promise((resolve) => {
        socket.on('data', () =>
          received.includes('"\r\n') || /"[0-9a-f-]{36}"/.test(received) ? resolve(received) : undefined,
        );
        socket.on('close', () => resolve(received));
        socket.write(body.slice(10));
      }),
  };
}

describe.each(['SIGTERM', 'SIGINT'] as const)('%s', (signal) => {
  test('stops an idle server with status 0 and leaves one database file', async () => {
    using folder = temporaryFolder();
    const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    const started = Date.now();
    expect(await target.stop(signal)).toBe(0);
    expect(Date.now() - started).toBeLessThan(10_000);
    expect(existsSync(join(folder.path, 'rawlog.db'))).toBe(true);
    expect(existsSync(join(folder.path, 'rawlog.db-wal'))).toBe(false);
    expect(rows(target, 'metrics')).toHaveLength(1);
  });

  test('finishes a request in flight and accepts no new one', async () => {
    using folder = temporaryFolder();
    const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
    const request = await beginRequest(target);
    target.process.kill(signal);
    await target.logged(({ msg }) => msg === 'stopping');
    await expect(send(`${target.url}/healthz`)).rejects.toThrow();
    const response = await request.finish();
    expect(response).toContain('HTTP/1.1 200');
    const id = /"([0-9a-f-]{36})"/.exec(response)?.[1];
    expect(await target.process.exited).toBe(0);
    expect(rows(target, 'metrics').map((row) => row['id'])).toEqual([id]);
    request.socket.destroy();
  });
});

test.each([
  ['at once', ''],
  ['when its folder appears', '.'],
  ['when its lock appears', 'rawlog.db.lock'],
  ['when its database appears', 'rawlog.db'],
])('stops on SIGTERM during startup, %s', async (_title, awaited) => {
  using folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  const child = Bun.spawn([...COMMAND, 'serve'], {
    env: { JWT_SECRET: SECRET, DATA_DIR: dataDir, PORT: '0' },
    stdout: 'ignore',
    stderr: 'ignore',
  });
  while (awaited !== '' && !existsSync(join(dataDir, awaited))) await new Promise(setImmediate);
  child.kill('SIGTERM');
  await child.exited;
  // before its first instruction the signal kills the process; later it stops gracefully
  expect([child.exitCode, child.signalCode]).toEqual(awaited === '' ? [null, 'SIGTERM'] : [0, null]);
  const again = await startTarget({ JWT_SECRET: SECRET }, { dataDir });
  expect(await again.stop()).toBe(0);
});

test('stops within ten seconds despite a request that never ends', async () => {
  const target = await startTarget();
  const { socket } = await beginRequest(target);
  const started = Date.now();
  expect(await target.stop()).toBe(0);
  expect(Date.now() - started).toBeLessThan(10_000);
  socket.destroy();
});

test('stores every acknowledged row when stopped under load, and returns 503 for the others', async () => {
  using folder = temporaryFolder();
  const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
  const acknowledged: string[] = [];
  const rejected: number[] = [];
  const client = async () => {
    for (;;) {
      try {
        const response = await post(target, '/log_raw_metric', METRIC);
        if (response.status === 200) acknowledged.push(response.body);
        else rejected.push(response.status);
      } catch {
        return; // the connection is closed
      }
    }
  };
  const clients = Array.from({ length: 20 }, client);
  while (acknowledged.length < 200) await send(`${target.url}/healthz`);
  expect(await target.stop()).toBe(0);
  await Promise.all(clients);
  expect(new Set(rejected).difference(new Set([503]))).toEqual(new Set());
  const stored = new Set(rows(target, 'metrics').map((row) => row['id']));
  expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
});

test('stops cleanly while another process reads the database', async () => {
  using folder = temporaryFolder();
  const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  const reader = new Database(target.databasePath, { readonly: true });
  reader.run('BEGIN');
  expect(reader.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: 1 });
  expect(await target.stop()).toBe(0);
  expect(target.logLines().filter(({ level }) => level === 'fatal')).toEqual([]);
  reader.close();
  expect(rows(target, 'metrics')).toHaveLength(1);
});

test('keeps stored rows across restarts and assigns increasing IDs', async () => {
  using folder = temporaryFolder();
  const ids: string[] = [];
  for (let run = 0; run < 3; run++) {
    const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir: folder.path });
    ids.push((await post(target, '/log_raw_metric', METRIC)).body);
    expect(rows(target, 'metrics').map((row) => row['id'])).toEqual(ids);
    await target.stop(run === 1 ? 'SIGKILL' : 'SIGTERM');
  }
  expect(ids).toEqual([...ids].sort());
});
