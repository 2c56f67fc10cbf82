import { expect, test } from 'bun:test';
import { connect } from 'node:net';
import { Connection } from '../../src/receiving/connection.ts';
import { createRecognizer } from '../../src/receiving/request-head.ts';

const REQUEST = 'POST /log HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}';

/** Listens for connections whose first request never gets a response, and that may keep a number of bytes. */
function startReceiver(room: number) {
  let keptBytes = 0;
  let submitted = Promise.withResolvers<void>();
  const listener = Bun.listen<Connection>({
    hostname: '127.0.0.1',
    port: 0,
    allowHalfOpen: true,
    socket: {
      open(socket) {
        socket.data = new Connection(1, 1, socket, {
          recognize: createRecognizer(['/log'], 100, false),
          upstreams: {
            open() {
              throw new Error('nothing is passed on');
            },
          },
          submit() {
            submitted.resolve();
            return true;
          },
          hold: () => true,
          release() {},
          countReceived(change) {
            keptBytes += change;
            return keptBytes <= room;
          },
          countInFlight() {},
          idleTimeoutSeconds: () => 0,
        });
      },
      data: ({ data }, bytes) => data.receive(bytes),
      end: ({ data }) => data.inputEnded(),
      close: ({ data }) => data.closed(),
    },
  });
  return {
    /** Resolves once the next request has arrived. */
    async submitted() {
      await submitted.promise;
      submitted = Promise.withResolvers();
    },
    keptBytes: () => keptBytes,
    connect: () => connect(listener.port, '127.0.0.1'),
    [Symbol.dispose]: () => listener.stop(true),
  };
}

test('a connection is not read while a request waits and others have arrived', async () => {
  using receiver = startReceiver(Number.POSITIVE_INFINITY);
  const socket = receiver.connect();
  socket.write(REQUEST + REQUEST);
  await receiver.submitted();
  await new Promise<void>((resolve) => socket.write(REQUEST.repeat(1_000), () => resolve()));
  // the requests of these would arrive later
  for (let i = 0; i < 20; i++) {
    const other = receiver.connect();
    other.write(REQUEST);
    await receiver.submitted();
    other.destroy();
  }
  expect(receiver.keptBytes()).toBe(2 * REQUEST.length); // the rest is half of what arrived, and kept with it
  socket.destroy();
});

test('a connection is closed if the receiver has no room for what it keeps', async () => {
  using receiver = startReceiver(1_000);
  const socket = receiver.connect();
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write(REQUEST.repeat(1_000));
  await closed;
  expect(receiver.keptBytes()).toBe(0);
});

test('what a connection keeps is not a part of a larger buffer', async () => {
  using receiver = startReceiver(Number.POSITIVE_INFINITY);
  const socket = receiver.connect();
  socket.write(REQUEST + REQUEST.slice(0, 20));
  await receiver.submitted();
  expect(receiver.keptBytes()).toBe(20);
  socket.destroy();
});
