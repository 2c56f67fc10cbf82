import { afterEach, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * More connections than the server has file descriptors.
 */

let target: Target;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await target.stop();
});

/** Starts a server with a limit on open file descriptors. */
async function startLimited(descriptors: number): Promise<Target> {
  target = await startTarget(
    { ...UNLIMITED, PATH: Bun.env['PATH'] ?? '' },
    { prefix: ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh'] },
  );
  return target;
}

/** Opens a connection and sends the text: by default a request, after which the connection is idle. */
function open(text = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'): Socket {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {}); // the server may reject or close the connection
  if (text !== '') socket.write(text);
  sockets.push(socket);
  return socket;
}

/** Returns the CPU time that the server has used, in seconds. */
function cpuSeconds(): number {
  const [user, system] =
    readFileSync(`/proc/${target.process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11) ?? [];
  return (Number(user) + Number(system)) / 100;
}

/** Retries until the server accepts a connection again. */
async function waitUntilServed(): Promise<void> {
  for (;;) {
    const init = { keepalive: false, signal: AbortSignal.timeout(1_000) };
    const { status } = await send(`${target.url}/healthz`, init).catch(() => ({ status: 0 }));
    if (status === 200) return;
  }
}

test.each([
  ['that sent a request', undefined],
  ['that never sent anything', ''],
])(
  'keeps serving, without busy-waiting, when idle connections %s use up the file descriptors',
  async (_title, text) => {
    await startLimited(64);
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    for (let i = 0; i < 100; i++) open(text);
    await target.logged(({ max_connections }) => max_connections !== undefined);
    const before = { cpu: cpuSeconds(), clock: Date.now() };
    await waitUntilServed();
    const authorization = `Bearer ${await token({ role: 'admin' })}`;
    const { text: metrics } = await send(`${target.url}/metrics`, { headers: { authorization }, keepalive: false });
    expect(metrics).toMatch(/^rawlog_connections_max \d+$/m);
    expect(metrics).toMatch(/^rawlog_connections \d+$/m);
    const body = JSON.stringify(METRIC);
    const init = { method: 'POST', body, headers: { authorization }, keepalive: false };
    expect((await send(`${target.url}/log_raw_metric`, init)).status).toBe(200);
    const elapsed = (Date.now() - before.clock) / 1000;
    expect(cpuSeconds() - before.cpu).toBeLessThan(Math.max(1, elapsed / 2));
    expect(rows(target, 'metrics')).toHaveLength(2);
  },
);

test('completes requests in flight while it closes idle connections', async () => {
  await startLimited(80);
  const body = JSON.stringify(METRIC);
  const socket = open(
    `POST /log_raw_metric HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await token()}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
  );
  let received = '';
  const waitFor = (text: string) =>
    new Promise<void>((resolve) => {
      const check = () => received.includes(text) && resolve();
      socket.on('data', check);
      check();
    });
  socket.on('data', (data) => {
    received += data;
  });
  await waitFor('100 Continue');
  for (let i = 0; i < 100; i++) open();
  await target.logged(({ max_connections }) => max_connections !== undefined);
  socket.write(body);
  await waitFor('HTTP/1.1 200');
  await waitUntilServed();
  expect(rows(target, 'metrics')).toHaveLength(1);
});
