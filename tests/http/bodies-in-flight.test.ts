import { afterEach, expect, test } from 'bun:test';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { METRIC, post } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

const MEGABYTE = 1_000_000;
const bearer = async (claims: object) => ({ authorization: `Bearer ${await token({ ...claims })}` });

/** Sends the head of a request and the start of its body, then stalls. */
async function sendStalledRequest(
  sub: string,
  sent: number,
  length: number,
): Promise<{ socket: Socket; response: Promise<string> }> {
  const { hostname, port } = new URL(target.url);
  const { authorization } = await bearer({ sub });
  const socket = connect(Number(port), hostname);
  const response = new Promise<string>((resolve) => {
    socket.once('data', (data) => resolve(data.toString('latin1')));
    socket.once('close', () => resolve(''));
    socket.on('error', () => resolve(''));
  });
  await new Promise<void>((resolve) => socket.once('connect', () => resolve()));
  socket.write(
    `POST /log_raw_analytics HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nContent-Length: ${length}\r\n\r\n`,
  );
  socket.write(`{"type":"t","data_index":"","data":{"x":"${'x'.repeat(sent)}`);
  return { socket, response };
}

/** Returns the server's resident memory, in bytes. */
function residentBytes(): number {
  const status = readFileSync(`/proc/${target.process.pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

test('counts bodies in flight against MAX_QUEUE_BYTES and keeps room for other users', async () => {
  target = await startTarget({ ...UNLIMITED, MAX_QUEUE_BYTES: String(16 * MEGABYTE) });
  const before = residentBytes();
  const requests = await Promise.all(
    Array.from({ length: 120 }, () => sendStalledRequest('hog', 0.9 * MEGABYTE, MEGABYTE)),
  );
  const rejected = await Promise.race(requests.map(({ response }) => response));
  expect(rejected).toStartWith('HTTP/1.1 503');
  expect(rejected).toContain('"code":"overloaded"');
  // other users can still record
  expect((await post(target, '/log_raw_metric', METRIC, await bearer({ sub: 'honest' }))).status).toBe(200);
  expect(residentBytes() - before).toBeLessThan(100 * MEGABYTE); // 108 MB were sent
  for (const { socket } of requests) socket.destroy();
});

test('keeps room for admins and other users beside four users whose uploads stall', async () => {
  const [queueBytes, bodyBytes] = [2 ** 20, 65_000];
  target = await startTarget({ ...UNLIMITED, MAX_QUEUE_BYTES: String(queueBytes), MAX_BODY_BYTES: String(bodyBytes) });
  const { hostname, port } = new URL(target.url);
  const sockets: Socket[] = [];
  for (const sub of ['a', 'b', 'c', 'd']) {
    const { authorization } = await bearer({ sub });
    // a token that is known to be valid is accepted at once, and memory for a body of this size is reserved at once
    expect((await post(target, '/log_raw_metric', METRIC, { authorization })).status).toBe(200);
    for (let i = 0; i < 8; i++) {
      const socket = connect(Number(port), hostname);
      sockets.push(socket);
      const continued = once(socket, 'data');
      socket.write(
        `POST /log_raw_analytics HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nExpect: 100-continue\r\nContent-Length: ${bodyBytes}\r\n\r\n`,
      );
      await continued; // "100 Continue": the request is being handled
    }
  }
  const large = { type: 't', data: { filler: 'x'.repeat(bodyBytes - 100) }, data_index: '' };
  for (const claims of [{ sub: 'root', role: 'admin' }, { sub: 'honest' }]) {
    expect((await post(target, '/log_raw_analytics', large, await bearer(claims))).status).toBe(200);
  }
  for (const socket of sockets) socket.destroy();
});

test('frees the memory of a body once its client disconnects', async () => {
  target = await startTarget({ ...UNLIMITED, MAX_QUEUE_BYTES: String(4 * MEGABYTE), MAX_BODY_BYTES: String(MEGABYTE) });
  const data = { filler: 'x'.repeat(0.8 * MEGABYTE) };
  const large = async () =>
    (await post(target, '/log_raw_analytics', { type: 't', data, data_index: '' }, await bearer({ sub: 'ada' })))
      .status;
  expect(await large()).toBe(200);
  for (let round = 0; round < 3; round++) {
    const requests = await Promise.all(
      Array.from({ length: 4 }, () => sendStalledRequest('ada', 0.7 * MEGABYTE, MEGABYTE)),
    );
    expect(await Promise.race(requests.map(({ response }) => response))).toStartWith('HTTP/1.1 503');
    for (const { socket } of requests) socket.destroy();
    while ((await large()) !== 200) {
      // retry until the server has noticed the disconnects
    }
  }
});

test.each(['user', 'admin'])(
  'a body of MAX_BODY_BYTES fits into MAX_QUEUE_BYTES, gzipped or not, from role %s',
  async (role) => {
    const limit = 300_000;
    target = await startTarget({ ...UNLIMITED, MAX_QUEUE_BYTES: String(limit), MAX_BODY_BYTES: String(limit) });
    const authorization = await bearer({ sub: 'ada', role });
    const start = '{"type":"t","data_index":"","data":{"x":"';
    const random = Buffer.from(crypto.getRandomValues(new Uint8Array(50_000))).toString('hex'); // does not compress well
    const body = `${start}${random}${'x'.repeat(limit - start.length - random.length - 3)}"}}`;
    expect(body.length).toBe(limit);
    for (const encoding of ['identity', 'gzip']) {
      const sent = encoding === 'gzip' ? gzipSync(body) : body;
      const { status } = await post(target, '/log_raw_analytics', sent, {
        ...authorization,
        'content-encoding': encoding,
      });
      expect({ encoding, status }).toEqual({ encoding, status: 200 });
    }
  },
);

test('counts the decompressed size of a body', async () => {
  target = await startTarget({ ...UNLIMITED, MAX_QUEUE_BYTES: String(2 * MEGABYTE), MAX_BODY_BYTES: String(MEGABYTE) });
  const body = gzipSync(JSON.stringify({ type: 't', data: { filler: 'x'.repeat(0.9 * MEGABYTE) }, data_index: '' }));
  const send = async () =>
    post(target, '/log_raw_analytics', body, { 'content-encoding': 'gzip', ...(await bearer({ sub: 'ada' })) });
  expect((await send()).status).toBe(200);
  const statuses = await Promise.all(Array.from({ length: 20 }, async () => (await send()).status));
  expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([]);
  expect((await send()).status).toBe(200);
});
