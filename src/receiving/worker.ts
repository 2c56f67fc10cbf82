import { parentPort, workerData } from 'node:worker_threads';
import { Connection, type ConnectionParts } from './connection.ts';
import { openPeerTable } from './peers.ts';
import { COUNTERS, type FromReceiver, type ReceiverOptions, type Responses, type ToReceiver } from './protocol.ts';
import { createRecognizer } from './request-head.ts';
import { createUpstreams } from './upstream.ts';

/*
 * A receiver: a thread that accepts connections. It reads small recording requests and passes those of one turn of the
 * event loop to the main thread in one message, which decides everything about them. All other requests are passed on over
 * a connection to the main thread's server.
 */

/** How long the rest of a request may take before the request is passed on, at least and at most twice as long. */
const HOLD_MS = 50;
/** Memory for incomplete requests, and for those that the main thread has, each; further ones are passed on. */
const MAX_HELD_BYTES = 8 * 1024 ** 2;
const MAX_SUBMITTED_BYTES = 16 * 1024 ** 2;
/** Memory for all that connections have received and not passed on: incomplete requests, and those that await their turn. */
const MAX_RECEIVED_BYTES = 24 * 1024 ** 2;

if (!parentPort) throw new Error('worker.ts runs in a worker');
const port = parentPort;
const options = workerData as ReceiverOptions;
const counters = new Int32Array(options.counters);
const count = (counter: keyof typeof COUNTERS, change: number) => Atomics.add(counters, COUNTERS[counter], change);

/** The open connections by number. */
const connections = new Map<number, Connection>();
let lastConnection = 0;
let generation = 0;
let listener: Bun.TCPSocketListener<Connection> | undefined;
let idleTimeoutSeconds = 0;
let upstreamPort = 0;
let upstreamUsableMs = 0;
/** The generations whose connections are awaited: see `stopped`. */
const stopping = new Set<number>();

/** The requests of this turn of the event loop: see ReceivedRequests. */
let requests: (string | number | null)[] = [];
let bodies: Buffer[] = [];
/** The size of the bodies that the main thread has, in total and by connection. */
let submittedBytes = 0;
const submitted = new Map<number, number>();

/** Connections with an incomplete request, their size, and whether they had it at the last check. */
const held = new Map<Connection, { bytes: number; isOld: boolean }>();
let heldBytes = 0;
let receivedBytes = 0;
let isHoldTimed = false;

const parts: ConnectionParts = {
  recognize: createRecognizer(options.paths, options.maxBodyBytes, options.hasCors),
  upstreams: createUpstreams(
    options.number,
    openPeerTable(options.peers),
    () => ({ port: upstreamPort, usableMs: upstreamUsableMs }),
    (change) => count('upstreams', change),
    reportError,
  ),
  submit({ number, address }, { path, fields, bodyStart, end }, buffer) {
    const bytes = end - bodyStart;
    if (submittedBytes + bytes > MAX_SUBMITTED_BYTES) return false;
    submittedBytes += bytes;
    submitted.set(number, bytes);
    count('inFlight', 1);
    if (requests.length === 0) setImmediate(post);
    requests.push(number, path, bytes, address, ...fields);
    bodies.push(buffer.subarray(bodyStart, end));
    return true;
  },
  hold(connection) {
    const { bytes: before, isOld } = held.get(connection) ?? { bytes: 0, isOld: false };
    const bytes = connection.heldBytes;
    if (heldBytes - before + bytes > MAX_HELD_BYTES) return false;
    heldBytes += bytes - before;
    if (!held.has(connection)) count('inFlight', 1);
    held.set(connection, { bytes, isOld });
    if (!isHoldTimed) timeHold();
    return true;
  },
  release(connection) {
    heldBytes -= held.get(connection)?.bytes ?? 0;
    if (held.delete(connection)) count('inFlight', -1);
  },
  countReceived(change) {
    receivedBytes += change;
    return receivedBytes <= MAX_RECEIVED_BYTES;
  },
  countInFlight: (change) => count('inFlight', change),
  idleTimeoutSeconds: () => idleTimeoutSeconds,
};

function timeHold(): void {
  isHoldTimed = true;
  setTimeout(giveUpHeld, HOLD_MS);
}

/** Passes on the requests that were incomplete at the last check, too. */
function giveUpHeld(): void {
  isHoldTimed = false;
  for (const [connection, hold] of held) {
    if (hold.isOld) guard(connection, () => connection.giveUp());
    else hold.isOld = true;
  }
  if (held.size > 0) timeHold();
}

/** Passes the requests of this turn to the main thread. */
function post(): void {
  const copy = Bun.concatArrayBuffers(bodies, Number.POSITIVE_INFINITY, true); // in memory that can be transferred
  const passed = { event: 'received', requests, bodies: copy } as const;
  requests = [];
  bodies = [];
  port.postMessage(passed satisfies FromReceiver, [passed.bodies.buffer]);
}

/** Sends the responses to requests of this receiver. */
function respond(responses: Responses): void {
  const date = new Date().toUTCString();
  for (let i = 0; i < responses.length; i += 3) {
    const number = responses[i] as number;
    const head = responses[i + 1] as string;
    const body = responses[i + 2] as string;
    submittedBytes -= submitted.get(number) ?? 0;
    submitted.delete(number);
    const connection = connections.get(number);
    if (connection) {
      guard(connection, () => {
        if (head === '') connection.abort();
        else {
          const isLast = head.includes('\r\nconnection: close');
          connection.respond(
            `${head}\r\nDate: ${date}\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
            isLast,
          );
        }
      });
    }
    count('inFlight', -1);
  }
}

/** Runs a handler of a connection. An error in it must not end the other connections. */
function guard(connection: Connection | undefined, handle: (connection: Connection) => void): void {
  if (!connection) return;
  try {
    handle(connection);
  } catch (error) {
    connection.abort();
    reportError(error);
  }
}

function reportError(error: unknown): void {
  const { stack = String(error) } = error as Error;
  port.postMessage({ event: 'error', message: stack } satisfies FromReceiver);
}

function listen({ hostname, port: atPort, generation: next }: Extract<ToReceiver, { do: 'listen' }>): void {
  generation = next;
  try {
    listener = Bun.listen<Connection>({
      hostname,
      port: atPort,
      // missing in Bun's types for servers
      ...{ reusePort: true },
      allowHalfOpen: true,
      socket: {
        open(socket) {
          // the main thread has stopped it, but its message is still on the way
          if (Atomics.load(counters, COUNTERS.accepted) !== next) {
            socket.terminate();
            return;
          }
          const connection = new Connection(++lastConnection, next, socket, parts);
          socket.data = connection;
          connections.set(connection.number, connection);
        },
        data: ({ data }, bytes) => guard(data, (connection) => connection.receive(bytes)),
        drain: ({ data }) => guard(data, (connection) => connection.drained()),
        end: ({ data }) => guard(data, (connection) => connection.inputEnded()),
        timeout: ({ data }) => guard(data, (connection) => connection.timedOut()),
        close: ({ data }) => guard(data, closed),
        error: ({ data }) => guard(data, (connection) => connection.abort()),
      },
    });
    port.postMessage({ event: 'listening', generation } satisfies FromReceiver);
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    port.postMessage({ event: 'failed', generation, code, message } satisfies FromReceiver);
  }
}

function closed(connection: Connection): void {
  connections.delete(connection.number);
  connection.closed();
  reportStopped();
}

/** Reports the generations whose connections are all closed. */
function reportStopped(): void {
  if (stopping.size === 0) return;
  const oldest = connections
    .values()
    .reduce((least, connection) => Math.min(least, connection.generation), generation + 1);
  for (const stopped of stopping) {
    if (stopped >= oldest) continue;
    stopping.delete(stopped);
    port.postMessage({ event: 'stopped', generation: stopped } satisfies FromReceiver);
  }
}

port.on('message', (message: ToReceiver) => {
  if (!('do' in message)) {
    respond(message);
    return;
  }
  switch (message.do) {
    case 'listen':
      ({ upstreamPort, upstreamUsableMs, idleTimeoutSeconds } = message);
      listen(message);
      break;
    case 'stop':
      listener?.stop();
      listener = undefined;
      for (const connection of connections.values()) guard(connection, () => connection.stop());
      stopping.add(generation);
      reportStopped();
      break;
    case 'close':
      for (const connection of connections.values()) {
        if (connection.generation <= message.generation) guard(connection, () => connection.close());
      }
      break;
  }
});
port.postMessage({ event: 'ready' } satisfies FromReceiver);
