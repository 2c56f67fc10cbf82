import { afterAll, beforeAll, expect, test } from 'bun:test';
import type { Logger } from 'pino';
import { openPeerTable } from '../../src/receiving/peers.ts';
import { type ReceivedHandler, type Receivers, startReceivers } from '../../src/receiving/receivers.ts';
import { freePort } from '../harness/free-port.ts';

/*
 * The main thread's side of the receivers, with a receiver that exits when a response says so.
 */

let receivers: Receivers;
let upstream: Bun.Server<undefined>;
let url: string;
const exited = Promise.withResolvers<void>();
const peers = openPeerTable();

beforeAll(async () => {
  upstream = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    // tells the port of the client, which only the table knows
    fetch: (request, server) => new Response(String(peers.find(server.requestIP(request)?.port ?? 0)?.port)),
  });
  const headers = { 'content-type': 'text/plain' };
  receivers = await startReceivers({
    count: 1,
    worker: new URL('./ending-receiver.ts', import.meta.url),
    handlers: new Map<string, ReceivedHandler>([
      ['/echo', async (request) => ({ status: 200, headers, body: Buffer.from(await request.bytes()).toString() })],
      ['/throw', () => Promise.reject(new Error('a bug'))],
    ]),
    peers,
    maxBodyBytes: 1000,
    hasCors: false,
    log: {
      error(_fields: object, message: string) {
        if (message.startsWith('a receiver exited')) exited.resolve();
      },
    } as unknown as Logger,
  });
  const port = freePort();
  url = `http://127.0.0.1:${port}`;
  const address = { hostname: '127.0.0.1', port, upstreamPort: upstream.port ?? 0 };
  receivers.listen({ ...address, idleTimeoutSeconds: 10, upstreamUsableMs: 1_000 });
  await receivers.listening();
});
afterAll(async () => {
  await receivers.close();
  await upstream.stop(true);
});

const post = async (path: string, body: string) => (await fetch(url + path, { method: 'POST', body })).text();

/** Resolves once no request is counted: a receiver may have sent a response a moment before it counts it. */
async function untilIdle(): Promise<void> {
  while (receivers.pendingRequests() > 0) await new Promise(setImmediate);
}

test('requests are handled, and all others passed on with the port of the client', async () => {
  expect(await post('/echo', 'a body')).toBe('a body');
  expect(await post('/echo', '')).toBe('');
  expect(Number(await post('/other', 'x'))).toBeGreaterThan(0);
  expect(Number(await post('/echo', 'x'.repeat(1001)))).toBeGreaterThan(0);
  await untilIdle();
});

test('a request whose handler throws is not acknowledged', async () => {
  await expect(post('/throw', 'x')).rejects.toThrow();
  expect(await post('/echo', 'still there')).toBe('still there');
});

test('a receiver that exits is restarted, and its clients are unknown', async () => {
  expect(Number(await post('/other', 'x'))).toBeGreaterThan(0); // it has a connection to the main thread
  await post('/echo', 'exit').catch(() => {}); // it may have sent the response before
  await exited.promise;
  for (let port = 0; port < 65_536; port++) expect(peers.find(port)).toBeUndefined();
  for (;;) {
    const response = await post('/echo', 'again').catch(() => undefined);
    if (response === 'again') break;
  }
  await untilIdle();
  expect(receivers.upstreams()).toBe(0);
});
