import { afterAll, describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import { connect } from 'node:net';
import { unsentBytes } from '../../src/receiving/unsent-bytes.ts';

const BODY = new Uint8Array(32 * 1024 * 1024);
const NO_CLIENT = { address: '127.0.0.1', port: 1 };

describe.skipIf(process.platform !== 'linux')('the unsent bytes of a connection', () => {
  const addresses = [
    ['127.0.0.1', '127.0.0.1'],
    ['::1', '::1'],
    ['::', '127.0.0.1'],
  ] as const;
  const servers: Bun.Server<undefined>[] = [];
  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop(true)));
  });

  test.each(addresses)('on %s are those that a client at %s has not read', async (hostname, host) => {
    const requested = Promise.withResolvers<{ address: string; port: number } | null>();
    const server = Bun.serve({
      ...{ hostname, port: 0, idleTimeout: 0 },
      fetch(request, { requestIP }) {
        requested.resolve(requestIP.call(server, request));
        return new Response(BODY);
      },
    });
    servers.push(server);
    const port = server.port ?? 0;
    const socket = connect(port, host);
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(socket, 'readable'); // and then it reads nothing
    const client = (await requested.promise) ?? NO_CLIENT;
    while (((await unsentBytes(client, port)) ?? 0) < 100_000) {
      // until the buffers of the client are full
    }
    let read = 0;
    for await (const chunk of socket) {
      read += (chunk as Buffer).length;
      if (read > BODY.length) break; // there is also a head
    }
    while (((await unsentBytes(client, port)) ?? 0) > 0) {
      // until the last bytes are acknowledged
    }
    socket.destroy();
    expect(read).toBeGreaterThan(BODY.length);
    expect(await unsentBytes(NO_CLIENT, port)).toBeUndefined();
  });
});
