import { afterEach, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * More connections than there are file descriptors.
 */

let target: Target;
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await target.stop();
});

/** Starts a server that may have so many files open. */
async function startLimited(descriptors: number): Promise<Target> {
  target = await startTarget(
    { ...UNLIMITED, PATH: Bun.env['PATH'] ?? '' },
    { prefix: ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh'] },
  );
  return target;
}

/** Connects, and sends a request for an idle connection that has been used, unless told otherwise. */
function open(text = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'): Socket {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {}); // refused, or closed
  if (text !== '') socket.write(text);
  sockets.push(socket);
  return socket;
}

/** The processor time that the server has taken, in seconds. */
function processorTime(): number {
  const [user, system] =
    readFileSync(`/proc/${target.process.pid}/stat`, 'utf8').split(') ')[1]?.split(' ').slice(11) ?? [];
  return (Number(user) + Number(system)) / 100;
}

/** Sends until the server accepts a connection again. */
async function untilServed(): Promise<void> {
  for (;;) {
    const init = { keepalive: false, signal: AbortSignal.timeout(1_000) };
    const { status } = await send(`${target.url}/healthz`, init).catch(() => ({ status: 0 }));
    if (status === 200) return;
  }
}

test.each([
  ['that were used', undefined],
  ['that never send anything', ''],
])('idle connections %s neither stop the server nor keep it busy', async (_what, text) => {
  await startLimited(64);
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  for (let i = 0; i < 100; i++) open(text);
  await target.logged(({ max_connections }) => max_connections !== undefined);
  const before = { processor: processorTime(), clock: Date.now() };
  await untilServed();
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const { text: metrics } = await send(`${target.url}/metrics`, { headers: { authorization }, keepalive: false });
  expect(metrics).toMatch(/^rawlog_connections_max \d+$/m);
  expect(metrics).toMatch(/^rawlog_connections \d+$/m);
  const body = JSON.stringify(METRIC);
  const init = { method: 'POST', body, headers: { authorization }, keepalive: false };
  expect((await send(`${target.url}/log_raw_metric`, init)).status).toBe(200);
  const elapsed = (Date.now() - before.clock) / 1000;
  expect(processorTime() - before.processor).toBeLessThan(Math.max(1, elapsed / 2));
  expect(rows(target, 'metrics')).toHaveLength(2);
});

test('requests under way are served while connections are closed', async () => {
  await startLimited(80);
  const body = JSON.stringify(METRIC);
  const socket = open(
    `POST /log_raw_metric HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await token()}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`,
  );
  let received = '';
  const seen = (text: string) =>
    new Promise<void>((resolve) => {
      const look = () => received.includes(text) && resolve();
      socket.on('data', look);
      look();
    });
  socket.on('data', (data) => {
    received += data;
  });
  await seen('100 Continue');
  for (let i = 0; i < 100; i++) open();
  await target.logged(({ max_connections }) => max_connections !== undefined);
  socket.write(body);
  await seen('HTTP/1.1 200');
  await untilServed();
  expect(rows(target, 'metrics')).toHaveLength(1);
});
