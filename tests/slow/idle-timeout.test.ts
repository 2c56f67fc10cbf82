import { afterAll, beforeAll, expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { METRIC, post } from '../harness/client.ts';
import { openEvents } from '../harness/events.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * A connection is idle if no byte moves on it for IDLE_TIMEOUT. Slow transfers and queued queries are not idle.
 */

const IDLE_SECONDS = 4;
let target: Target;
let authorization: string;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, IDLE_TIMEOUT: `${IDLE_SECONDS}s`, QUERY_TIMEOUT: '60s' });
  authorization = `Bearer ${await token()}`;
  const text = 'x'.repeat(8_000);
  for (let i = 0; i < 10; i++) {
    const analytics = Array.from({ length: 100 }, (_, n) => ({ type: 'large', data: { text, n }, data_index: '' }));
    const metrics = Array.from({ length: 900 }, (_, n) => ({ ...METRIC, metric_value: n, data_string: `label ${n}` }));
    expect((await post(target, '/log_batch', { analytics, metrics })).status).toBe(200);
  }
});
afterAll(() => target.stop());

/** Opens a connection and writes a text. */
function open(text: string, { url } = target): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.write(text);
  socket.on('error', () => {}); // the close event follows
  return socket;
}

const head = (path: string) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`;

/** Reads a response slowly, over this many seconds; returns the number of bytes read. */
async function readSlowly(path: string, seconds: number, bytes: number): Promise<number> {
  const socket = open(head(path));
  const perSecond = bytes / seconds;
  let read = 0;
  for await (const chunk of socket) {
    read += (chunk as Buffer).length;
    // a client of this speed takes this long
    await Bun.sleep(((chunk as Buffer).length / perSecond) * 1000);
  }
  return read;
}

test.concurrent('completes slow downloads and slow uploads', async () => {
  const lengthOf = async (path: string) =>
    (await (await fetch(target.url + path, { headers: { authorization } })).text()).length;
  const paths = ['/api/export/analytics?type=large', '/api/records/analytics?type=large&limit=1000'];
  const slow = paths.map(async (path) => {
    const length = await lengthOf(path);
    return { length, read: await readSlowly(path, 3 * IDLE_SECONDS, length) };
  });
  const body = JSON.stringify({ type: 'upload', data: { text: 'x'.repeat(500_000) }, data_index: '' });
  const upload = async () => {
    const socket = open(
      `POST /log_raw_analytics HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    let response = '';
    socket.on('data', (data) => {
      response += data;
    });
    const closed = new Promise((resolve) => socket.on('close', resolve));
    const parts = 16;
    for (let i = 0; i < parts; i++) {
      socket.write(body.slice((i * body.length) / parts, ((i + 1) * body.length) / parts));
      await Bun.sleep((3 * IDLE_SECONDS * 1000) / parts);
    }
    await closed;
    return response;
  };
  const [uploaded, ...downloads] = await Promise.all([upload(), ...slow]);
  expect(uploaded).toStartWith('HTTP/1.1 200');
  for (const { length, read } of downloads) expect(read).toBeGreaterThanOrEqual(length);
});

// without the kernel's tables, progress is seen only when the buffers of the socket drain
test.concurrent.skipIf(process.platform !== 'linux')(
  'completes an export however slowly its client reads, and aborts one whose client reads nothing',
  async () => {
    const exporting = await startTarget({ ...UNLIMITED, IDLE_TIMEOUT: `${IDLE_SECONDS}s` });
    try {
      const text = 'x'.repeat(8_000);
      const analytics = Array.from({ length: 110 }, (_, n) => ({ type: 'wide', data: { text, n }, data_index: '' }));
      for (let i = 0; i < 30; i++) expect((await post(exporting, '/log_batch', { analytics })).status).toBe(200);
      const path = '/api/export/analytics';
      const length = (await (await fetch(exporting.url + path, { headers: { authorization } })).bytes()).length;
      const stopping = open(head(path), exporting);
      await once(stopping, 'readable'); // and then it reads nothing
      const aborted = exporting.logged(({ msg }) => msg === 'export aborted');
      const reading = open(head(path), exporting);
      const started = Date.now();
      let read = 0;
      for await (const chunk of reading) {
        read += (chunk as Buffer).length;
        const isSlow = Date.now() - started < 5 * IDLE_SECONDS * 1000;
        // a client that reads 200 KB per second, and large chunks faster, so that it never waits for long
        if (isSlow) await Bun.sleep(Math.min((chunk as Buffer).length / 200, IDLE_SECONDS * 250));
      }
      expect(read).toBeGreaterThanOrEqual(length);
      expect(await aborted).toMatchObject({ err: { message: 'the client has stopped reading' } });
      const isAborted = ({ msg }: Record<string, unknown>) => msg === 'export aborted';
      expect(exporting.logLines().filter(isAborted)).toHaveLength(1);
      stopping.destroy();
    } finally {
      await exporting.stop();
    }
  },
);

test.concurrent('returns the results of queries that were queued for longer than the timeout', async () => {
  const impatient = await startTarget({ ...UNLIMITED, IDLE_TIMEOUT: '1s', QUERY_TIMEOUT: '60s' });
  try {
    const metrics = Array.from({ length: 900 }, (_, n) => ({ ...METRIC, data_string: `label ${n}` }));
    expect((await post(impatient, '/log_batch', { metrics })).status).toBe(200);
    const from = new Date(Date.now() - 6 * 86_400_000).toISOString();
    const url = `${impatient.url}/api/metrics/series?name=page_load_time&group_by=data_string&top=20&interval=minute&from=${from}`;
    const headers = { authorization };
    // a chart of a board runs the same query
    const parameters = { name: 'page_load_time', group_by: 'data_string', top: '20', interval: 'minute' };
    const chart = { title: 'Load', view: '', query: { name: 'series', parameters, range: { last: '6d' } } };
    const board = await post(impatient, '/api/boards', { name: 'b', scope: 'account', charts: [chart] });
    const chartUrl = `${impatient.url}/api/boards/${board.body.id}/charts/0`;
    const get = async (_: unknown, i: number) => {
      const started = Date.now();
      // a new connection, because a reused one may just have been closed
      const response = await fetch(i % 2 === 0 ? url : chartUrl, { headers, keepalive: false });
      await response.bytes();
      return { status: response.status, took: Date.now() - started };
    };
    // the query worker runs them one after the other, so the last one waits for all of them
    let longest = 0;
    for (let queued = 4; longest < 5_500; queued = Math.ceil((queued * 6_500) / longest)) {
      const responses = await Promise.all(Array.from({ length: queued }, get));
      expect([...new Set(responses.map(({ status }) => status))]).toEqual([200]);
      longest = Math.max(...responses.map(({ took }) => took));
    }
  } finally {
    await impatient.stop();
  }
});

test.concurrent('sends a heartbeat on live tails before the connection is idle', async () => {
  const tail = await openEvents(`${target.url}/api/records/metrics/tail`, { authorization, connection: 'close' });
  expect(await tail.next()).toMatchObject({ event: 'open' });
  await Bun.sleep(2 * IDLE_SECONDS * 1000);
  await post(target, '/log_raw_metric', METRIC);
  expect(await tail.next()).toMatchObject({ event: 'record' });
  await tail.close();
});

test.concurrent('closes an idle connection', async () => {
  const idle = open('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  const started = Date.now();
  let received = '';
  for await (const chunk of idle) received += chunk;
  expect(received).toStartWith('HTTP/1.1 200');
  expect(Date.now() - started).toBeGreaterThan(1_000);
  // a query restores the timeout once it has its result
  const queried = open(head('/api/metrics').replace('Connection: close\r\n', ''));
  received = '';
  for await (const chunk of queried) received += chunk;
  expect(received).toStartWith('HTTP/1.1 200');
});
