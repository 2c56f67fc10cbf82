import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { ANALYTICS, expectError, expectLimited, METRIC, post, rows, send } from '../harness/client.ts';
import { openEvents } from '../harness/events.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * RECEIVERS: threads that receive requests. All limits, and everything that is counted, apply to them together. The other
 * tests of HTTP also run with them: RAWLOG_RECEIVERS=2.
 */

const RECEIVERS = { RECEIVERS: '2' };
const start = (env: Record<string, string> = UNLIMITED, dataDir?: string) =>
  startTarget({ ...env, ...RECEIVERS }, dataDir === undefined ? {} : { dataDir });

/** Posts over a new connection, which the system assigns to one of the receivers. */
async function postAlone(target: Target, path: string, body: unknown, headers: Record<string, string> = {}) {
  return send(target.url + path, {
    method: 'POST',
    body: JSON.stringify(body),
    keepalive: false,
    headers: {
      authorization: `Bearer ${await token()}`,
      'content-type': 'application/json',
      connection: 'keep-alive', // Bun sends "close" otherwise
      ...headers,
    },
  });
}

/** Returns the ledger, as operators see it. */
async function ledgerOf(target: Target) {
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const { body } = await send(`${target.url}/api/status`, { headers: { authorization } });
  return body.ledger;
}

/** Returns the TCP ports that a server listens on. */
function listeningPorts({ process: { pid } }: Target): number[] {
  const folder = `/proc/${pid}/fd`;
  const own = new Set(readdirSync(folder).map((name) => readlinkSync(`${folder}/${name}`)));
  const entries = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  const ports = entries.flatMap((entry) => {
    const [, local = '', , state, , , , , , inode] = entry.trim().split(/\s+/);
    return state === '0A' && own.has(`socket:[${inode}]`) ? [Number.parseInt(local.split(':')[1] ?? '', 16)] : [];
  });
  return [...new Set(ports)];
}

/** A connection that sends texts and collects what it receives. */
function openConnection(target: Target): {
  socket: Socket;
  received: () => string;
  closed: Promise<void>;
  until: (text: string) => Promise<void>;
} {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  let received = '';
  let wake = Promise.withResolvers<void>();
  const arrived = (text = '') => {
    received += text;
    wake.resolve();
    wake = Promise.withResolvers();
  };
  socket.on('data', (data) => arrived(data.toString('latin1')));
  socket.on('error', () => arrived());
  let isClosed = false;
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  void closed.then(() => {
    isClosed = true;
    arrived();
  });
  return {
    socket,
    received: () => received,
    closed,
    async until(text) {
      while (!received.includes(text)) {
        if (isClosed) throw new Error(`the connection was closed after: ${received}`);
        await wake.promise;
      }
    },
  };
}

/** Returns a request to record a metric, as text. */
async function metricRequest(label: string, fields: readonly string[] = []): Promise<string> {
  const body = JSON.stringify({ ...METRIC, data_string: label });
  return [
    'POST /log_raw_metric HTTP/1.1',
    'Host: x',
    `Authorization: Bearer ${await token()}`,
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    ...fields,
    '',
    body,
  ].join('\r\n');
}

describe('two receivers', () => {
  let target: Target;
  beforeAll(async () => {
    target = await start();
  });
  afterAll(() => target.stop());

  test('share the port', () => {
    const port = Number(new URL(target.url).port);
    const entry = `:${port.toString(16).toUpperCase().padStart(4, '0')} 00000000:0000 0A `;
    expect(readFileSync('/proc/net/tcp', 'utf8').split(entry)).toHaveLength(3);
  });

  test('record on all routes and their aliases, and each row is stored under its ID', async () => {
    for (const [path, body, table] of [
      ['/log_raw_metric', METRIC, 'metrics'],
      ['/analytics/log_raw_metric/', METRIC, 'metrics'],
      ['/log_raw_analytics', ANALYTICS, 'analytics'],
      ['/api/analytics/log_raw_analytics', ANALYTICS, 'analytics'],
    ] as const) {
      const response = await post(target, path, body);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe('application/json');
      expect(response.headers.get('x-request-id')).toBeString();
      expect(response.headers.get('date')).toBeString();
      expect(rows(target, table, response.body)).toHaveLength(1);
    }
    const { status, body } = await post(target, '/log_batch', { metrics: [METRIC, METRIC], analytics: [ANALYTICS] });
    expect(status).toBe(200);
    for (const id of body.metrics) expect(rows(target, 'metrics', id)).toHaveLength(1);
    for (const id of body.analytics) expect(rows(target, 'analytics', id)).toHaveLength(1);
  });

  test('record compressed and large bodies', async () => {
    const large = {
      metrics: Array.from({ length: 900 }, (_, i) => ({ ...METRIC, data_string: `${i} ${'x'.repeat(100)}` })),
    };
    const { body } = await post(target, '/log_batch', large);
    expect(body.metrics).toHaveLength(900);
    const gzipped = Buffer.from(Bun.gzipSync(JSON.stringify(large)));
    const compressed = await post(target, '/log_batch', gzipped, { 'content-encoding': 'gzip' });
    expect(compressed.body.metrics).toHaveLength(900);
  });

  test('handle each request of a connection, whether they read it or pass it on, in order', async () => {
    const get = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
    const { socket, received, closed } = openConnection(target);
    const other = await metricRequest('gzip', ['Content-Encoding: identity']);
    socket.write(
      (await metricRequest('first')) + get + other + get + (await metricRequest('last', ['Connection: close'])),
    );
    await closed;
    expect(Array.from(received().matchAll(/HTTP\/1\.1 \d+/g), String)).toEqual(Array(5).fill('HTTP/1.1 200'));
    const labels = ['first', 'gzip', 'last'];
    const ids: readonly string[] = received().match(/(?<=")[\da-f-]{36}(?=")/g) ?? [];
    const stored = ids.map((id) => rows(target, 'metrics', id)[0]?.['data_string']);
    expect(stored).toEqual(labels);
  });

  test('respond to every pipelined request of a client that reads late', async () => {
    const requests = 3_000;
    const { socket, received, closed } = openConnection(target);
    socket.pause();
    const request = await metricRequest('pipelined');
    socket.write(request.repeat(requests) + (await metricRequest('pipelined', ['Connection: close'])));
    for (let i = 0; i < 10; i++) await post(target, '/log_raw_metric', METRIC);
    socket.resume();
    await closed;
    const ids = Array.from(received().matchAll(/(?<=")[\da-f-]{36}(?=")/g), String);
    const stored = rows(target, 'metrics').filter((row) => row['data_string'] === 'pipelined');
    expect(ids).toHaveLength(requests + 1);
    expect(stored.map((row) => row['id'])).toEqual(ids);
  });

  test('wait for a request that arrives in pieces', async () => {
    const request = await metricRequest('pieces');
    const { socket, until } = openConnection(target);
    socket.setNoDelay(true);
    for (const part of request.match(/.{1,40}/gs) ?? []) {
      await new Promise<void>((resolve) => socket.write(part, () => resolve()));
      await new Promise(setImmediate);
    }
    await until('HTTP/1.1 200');
    socket.destroy();
  });

  test('respond to an invalid token before the body arrives', async () => {
    const head = (await metricRequest('never', [])).replace(/Bearer .*/, 'Bearer x').split('\r\n\r\n')[0];
    const { socket, until } = openConnection(target);
    socket.write(`${head}\r\n\r\n{`);
    await until('HTTP/1.1 401');
    socket.destroy();
  });

  test('leave every request that is not certain to them to the HTTP parser', async () => {
    const request = await metricRequest('twice', ['Content-Length: 5', 'Connection: close']);
    expect(await rawRequest(target.url, [request])).toStartWith('HTTP/1.1 400');
    const chunked = (await metricRequest('chunked', ['Transfer-Encoding: chunked', 'Connection: close'])).replace(
      /Content-Length: \d+\r\n/,
      '',
    );
    const [head, body = ''] = chunked.split('\r\n\r\n');
    const response = await rawRequest(target.url, [
      `${head}\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    ]);
    expect(response).toStartWith('HTTP/1.1 200');
  });

  test('pass all other requests on', async () => {
    expect((await send(`${target.url}/`)).status).toBe(200);
    const head = await fetch(`${target.url}/healthz`, { method: 'HEAD' });
    expect({ status: head.status, text: await head.text() }).toEqual({ status: 200, text: '' });
    expectError(await post(target, '/nowhere', METRIC), 404, 'not_found');
    const get = await send(`${target.url}/log_raw_metric`);
    expectError(get, 405, 'method_not_allowed');
    expect(get.headers.get('allow')).toBe('POST');
    expectError(await post(target, '/log_batch', `"${'x'.repeat(2 ** 20)}"`), 413, 'payload_too_large');
  });

  test('pass rejections on with all header fields', async () => {
    const response = await post(target, '/log_raw_metric', METRIC, { authorization: 'Bearer x' });
    expectError(response, 401, 'unauthorized');
    expect(response.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
    expectError(await post(target, '/log_raw_metric', '{'), 400, 'invalid_json');
    expectError(await post(target, '/log_raw_metric', { ...METRIC, metric_value: 'ü' }), 422, 'validation_failed');
    expectError(
      await post(target, '/log_raw_metric', METRIC, { 'content-type': 'text/plain' }),
      415,
      'unsupported_media_type',
    );
  });

  test('store a request once that arrives on many connections at the same time', async () => {
    const headers = { 'idempotency-key': 'at-once' };
    const body = { ...METRIC, data_string: 'at once' };
    const responses = await Promise.all(
      Array.from({ length: 40 }, () => postAlone(target, '/log_raw_metric', body, headers)),
    );
    expect(new Set(responses.map(({ status, text }) => `${status} ${text}`)).size).toBe(1);
    expect(responses.filter((response) => response.headers.get('idempotent-replayed') !== 'true')).toHaveLength(1);
    expect(rows(target, 'metrics').filter((row) => row['data_string'] === 'at once')).toHaveLength(1);
  });

  test('respond to a client that sends nothing more', async () => {
    const unauthorized = 'POST /log_raw_metric HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}';
    const health = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n';
    const record = await metricRequest('half-closed');
    for (const [requests, statuses] of [
      [[record], [200]],
      [[unauthorized], [401]],
      [[health], [200]],
      [
        [record, unauthorized, record],
        [200, 401, 200],
      ],
      [
        [health, record],
        [200, 200],
      ],
    ] as const) {
      const { socket, received, closed } = openConnection(target);
      socket.end(requests.join(''));
      await closed;
      const found = received().matchAll(/HTTP\/1\.1 (\d{3}) /g);
      expect(Array.from(found, ([, status]) => Number(status))).toEqual([...statuses]);
    }
    expect(rows(target, 'metrics').filter((row) => row['data_string'] === 'half-closed')).toHaveLength(4);
  });

  test('pass live tails on, and end them when the client disconnects', async () => {
    const authorization = `Bearer ${await token({ sub: 'tail' })}`;
    const tail = await openEvents(`${target.url}/api/records/metrics/tail`, { authorization });
    expect(await tail.next()).toMatchObject({ event: 'open' });
    const { body } = await post(target, '/log_raw_metric', METRIC, { authorization });
    expect(JSON.parse((await tail.next())?.data ?? '')).toMatchObject({ id: body });
    tail.close();
    const admin = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    while (!(await send(`${target.url}/metrics`, { headers: admin })).text.includes('\nrawlog_tails 0\n')) {
      // poll
    }
  });

  test('pass an export on completely to a client that reads slowly', async () => {
    const metrics = Array.from({ length: 1000 }, (_, i) => ({ ...METRIC, data_string: `${i} ${'y'.repeat(900)}` }));
    const authorization = `Bearer ${await token({ sub: 'export' })}`;
    for (let i = 0; i < 20; i++) await post(target, '/log_batch', { metrics }, { authorization });
    const { socket, received, closed } = openConnection(target);
    socket.write(
      `GET /api/export/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\nConnection: close\r\n\r\n`,
    );
    // reads a little, then lets everything else wait
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    for (let i = 0; i < 50; i++) await post(target, '/log_raw_metric', METRIC);
    socket.resume();
    await closed;
    const body = received().replace(/\r\n[\da-f]+\r\n/g, ''); // the sizes of chunks
    expect(body.match(/"metric_name"/g)).toHaveLength(20_000);
    expect(received()).toEndWith('\r\n0\r\n\r\n');
  });

  test('count every item in one ledger', async () => {
    const ledger = await ledgerOf(target);
    const rejected = Object.values(ledger.rejected as Record<string, number>).reduce((sum, count) => sum + count, 0);
    expect(ledger.received).toBe(ledger.stored + ledger.duplicates + rejected);
    expect(ledger.stored).toBe(rows(target, 'metrics').length + rows(target, 'analytics').length);
    expect(ledger.duplicates).toBe(39);
  });
});

describe('limits', () => {
  test('of rows apply to all receivers together', async () => {
    const target = await start({ JWT_SECRET: SECRET, RATE_LIMIT: '10/h', MAX_BATCH_ITEMS: '10' });
    const responses = await Promise.all(Array.from({ length: 60 }, () => postAlone(target, '/log_raw_metric', METRIC)));
    expect(responses.filter(({ status }) => status === 200)).toHaveLength(10);
    for (const response of responses.filter(({ status }) => status !== 200)) expectLimited(response, 'rows');
    await target.stop();
  });

  test('of time apply to clients that do not read', async () => {
    const target = await start({ ...UNLIMITED, IDLE_TIMEOUT: '1s' });
    const metrics = Array.from({ length: 1000 }, (_, i) => ({ ...METRIC, data_string: `${i} ${'y'.repeat(900)}` }));
    for (let i = 0; i < 30; i++) expect((await post(target, '/log_batch', { metrics })).status).toBe(200);
    const { socket } = openConnection(target);
    socket.write(`GET /api/export/metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${await token()}\r\n\r\n`);
    await new Promise((resolve) => socket.once('data', resolve));
    socket.pause();
    const port = Number(new URL(target.url).port);
    const ends = [port, socket.localPort ?? 0].map(
      (number) => `:${number.toString(16).toUpperCase().padStart(4, '0')}`,
    );
    const entry = new RegExp(`: [\\dA-F]{8}${ends[0]} [\\dA-F]{8}${ends[1]} `);
    expect(readFileSync('/proc/net/tcp', 'utf8')).toMatch(entry);
    while (entry.test(readFileSync('/proc/net/tcp', 'utf8'))) await send(`${target.url}/healthz`);
    socket.destroy();
    await target.stop();
  });

  test('of failed authentication apply per address, however a request is received', async () => {
    const target = await start({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '10/h', HOST: '0.0.0.0' });
    const url = target.url.replace('0.0.0.0', '127.0.0.1');
    const authorization = 'Bearer x';
    const from = { ...target, url };
    for (let i = 0; i < 5; i++) {
      expectError(await postAlone(from, '/log_raw_metric', METRIC, { authorization }), 401, 'unauthorized');
      expectError(await send(`${url}/api/metrics`, { headers: { authorization } }), 401, 'unauthorized');
    }
    expectLimited(await postAlone(from, '/log_raw_metric', METRIC, { authorization }), 'failed-authentication');
    expectLimited(await send(`${url}/api/metrics`, { headers: { authorization } }), 'failed-authentication');
    // another address of this machine is another client
    const request = await metricRequest('x', ['Connection: close']);
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), localAddress: '127.0.0.3' });
    socket.write(request.replace(/Bearer .*/, 'Bearer x'));
    const response = await new Promise<string>((resolve) => socket.once('data', (data) => resolve(String(data))));
    expect(response).toStartWith('HTTP/1.1 401');
    await target.stop();
  });
});

describe('a server with receivers', () => {
  test('stores every acknowledged row when stopped under load', async () => {
    using folder = temporaryFolder();
    const target = await start({ JWT_SECRET: SECRET, RATE_LIMIT: 'off' }, folder.path);
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
    const ended = target.stop();
    await Promise.all(clients);
    expect(await ended).toBe(0);
    expect(new Set(rejected).difference(new Set([503]))).toEqual(new Set());
    const stored = new Set(rows(target, 'metrics').map((row) => row['id']));
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    expect((await runCli(['verify'], { env: { DATA_DIR: folder.path } })).exitCode).toBe(0);
  });

  test('responds to requests that are arriving when it is stopped', async () => {
    using folder = temporaryFolder();
    const target = await start({ JWT_SECRET: SECRET }, folder.path);
    const request = await metricRequest('stopped');
    const connections = Array.from({ length: 8 }, () => openConnection(target));
    // connected, and accepted by a receiver
    for (const { socket, until } of connections) {
      socket.write(await metricRequest('before'));
      await until('HTTP/1.1 200');
    }
    for (const { socket } of connections) socket.write(request.slice(0, -10));
    await send(`${target.url}/healthz`); // by now, the receivers have read them
    target.process.kill('SIGTERM');
    await target.logged(({ msg }) => msg === 'stopping');
    await expect(fetch(`${target.url}/healthz`, { keepalive: false })).rejects.toThrow();
    for (const { socket } of connections) socket.write(request.slice(-10));
    await Promise.all(connections.map(({ closed }) => closed));
    for (const { received } of connections) {
      expect(received()).toMatch(
        /^HTTP\/1\.1 200[\s\S]*HTTP\/1\.1 (200[\s\S]*-[\da-f]{12}"|503[\s\S]*"shutting_down".*})$/,
      );
    }
    const ids = connections.flatMap(({ received }) => received().match(/(?<=")[\da-f-]{36}(?=")/g) ?? []);
    expect(await target.process.exited).toBe(0);
    expect(new Set(rows(target, 'metrics').map((row) => row['id']))).toEqual(new Set(ids));
  });

  test('loses no acknowledged row when killed under load', async () => {
    using folder = temporaryFolder();
    const target = await start({ JWT_SECRET: SECRET, RATE_LIMIT: 'off' }, folder.path);
    const acknowledged: string[] = [];
    const client = async () => {
      for (;;) {
        const response = await post(target, '/log_raw_metric', METRIC).catch(() => undefined);
        if (!response) return;
        acknowledged.push(response.body);
      }
    };
    const clients = Array.from({ length: 20 }, client);
    while (acknowledged.length < 200) await send(`${target.url}/healthz`);
    await target.stop('SIGKILL');
    await Promise.all(clients);
    const again = await start(UNLIMITED, folder.path);
    const stored = new Set(rows(again, 'metrics').map((row) => row['id']));
    expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
    await again.stop();
  });

  test('does not share its port with another server', async () => {
    using folder = temporaryFolder();
    const target = await start();
    const { port } = new URL(target.url);
    for (const receivers of ['1', '2']) {
      const env = { DATA_DIR: folder.path, JWT_SECRET: SECRET, PORT: port, RECEIVERS: receivers };
      const { exitCode, stderr } = await runCli(['serve'], { env });
      expect(exitCode).toBe(1);
      expect(stderr).toContain(`PORT ${port} on HOST 127.0.0.1 is in use by process ${target.process.pid}`);
    }
    await target.stop();
  });

  test('does not trust a client that connects to the main thread itself', async () => {
    const target = await start({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '2/h', TRUSTED_PROXIES: '127.0.0.0/8' });
    const { hostname, port } = new URL(target.url);
    const [internal, ...others] = listeningPorts(target).filter((own) => own !== Number(port));
    expect(others).toEqual([]);
    const statuses: number[] = [];
    for (const [at, address] of [
      [Number(port), '192.0.2.1'],
      [Number(port), '192.0.2.1'],
      [Number(port), '192.0.2.1'],
      [Number(port), '192.0.2.2'],
      // whatever address it claims to have
      [internal, '192.0.2.3'],
      [internal, '192.0.2.4'],
      [internal, '192.0.2.5'],
    ] as const) {
      const headers = { authorization: 'Bearer x', 'x-forwarded-for': address };
      statuses.push((await post({ url: `http://${hostname}:${at}` }, '/log_raw_metric', METRIC, headers)).status);
    }
    expect(statuses).toEqual([401, 401, 429, 401, 401, 401, 429]);
    await target.stop();
  });
});
