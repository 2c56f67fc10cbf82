import { expect, test } from 'bun:test';
import { connect } from 'node:net';
import { listenWithReceivers } from '../../src/http/receiving-app.ts';
import { createLog } from '../../src/log.ts';
import { openPeerTable } from '../../src/receiving/peers.ts';
import { startReceivers } from '../../src/receiving/receivers.ts';

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(port, '127.0.0.1', () => {
      probe.destroy();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
  });
}

test('a request that a receiver is reading when the server stops still gets its response', async () => {
  const log = createLog('silent');
  const receivers = await startReceivers({
    count: 2,
    worker: new URL('../../src/receiving/worker.ts', import.meta.url),
    handlers: new Map([['/log', async () => ({ status: 200, headers: {}, body: 'received' })]]),
    peers: openPeerTable(),
    maxBodyBytes: 1000,
    hasCors: false,
    log,
  });
  const app = {
    server: null as Bun.Server<undefined> | null,
    listen(options: { hostname: string; port: number; idleTimeout: number }) {
      app.server = Bun.serve({
        ...options,
        fetch: async (request) => new Response(`passed on: ${await request.text()}`),
      });
    },
  };
  const address = { hostname: '127.0.0.1', port: 0, idleTimeoutSeconds: 10 };
  const listener = await listenWithReceivers(app, receivers, address, log);
  const socket = connect(listener.port, '127.0.0.1');
  let response = '';
  socket.on('data', (data) => {
    response += data;
  });
  const closed = new Promise((resolve) => socket.on('close', resolve));
  socket.write('POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab');
  while (listener.pendingRequests() === 0) await new Promise(setImmediate);
  listener.stop();
  expect(listener.pendingRequests()).toBe(1);
  // until the receivers do not listen any more
  while (await isListening(listener.port)) await new Promise(setImmediate);
  socket.write('cd');
  while (listener.pendingRequests() > 0) await new Promise(setImmediate);
  await listener.close();
  await closed;
  expect(response).toEndWith('passed on: abcd');
  await receivers.close();
});
