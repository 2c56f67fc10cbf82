import { STATUS_CODES } from 'node:http';
import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { PeerTable } from './peers.ts';
import {
  COUNTERS,
  type FromReceiver,
  MAX_PASSED_BODY_BYTES,
  REQUEST_LENGTH,
  type ReceivedRequests,
  type ReceiverOptions,
  type ToReceiver,
} from './protocol.ts';
import { ReceivedRequest } from './received-request.ts';

/** Delay before a receiver is restarted, in milliseconds. Doubles after each exit. */
const RESTART_DELAY_MS = { initial: 100, max: 30_000 };
/** Run time after which the restart delay is reset, in milliseconds. */
const STABLE_AFTER_MS = 30_000;
/** How long receivers have to close their connections at shutdown, in milliseconds. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Delay before a receiver tries again to listen, in milliseconds. */
const LISTEN_RETRY_MS = 1_000;

/** A response without a connection. */
export interface ReceivedResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

/** Handles a recording request that a receiver has read. Never rejects. */
export type ReceivedHandler = (request: ReceivedRequest) => Promise<ReceivedResponse>;

/** The address on which receivers listen, and the main thread's server that serves all other requests. */
export interface ReceivingAddress {
  readonly hostname: string;
  readonly port: number;
  readonly upstreamPort: number;
  readonly idleTimeoutSeconds: number;
  /** How long a connection to the main thread may be unused before it is not used again, in milliseconds. */
  readonly upstreamUsableMs: number;
}

/** The receiving threads. */
export interface Receivers {
  /** Starts listening. */
  listen(address: ReceivingAddress): void;
  /** Resolves once all receivers listen; rejects with the first error of one that cannot. */
  listening(): Promise<void>;
  /**
   * Stops listening, closes idle connections, and the others after their requests. Resolves once all connections that were
   * open are closed.
   *
   * @param closeActive also closes connections with a request in progress
   */
  stop(closeActive: boolean): Promise<void>;
  /** Returns the number of requests that receivers have, or have passed on, and that have no response yet. */
  pendingRequests(): number;
  /** Returns the number of connections from receivers to the main thread. */
  upstreams(): number;
  /** Ends the threads. */
  close(): Promise<void>;
}

/** Options of {@link startReceivers}. */
export interface ReceiversOptions {
  readonly count: number;
  /** Created in server.ts, because the binary resolves it relative to the entry point. */
  readonly worker: URL;
  /** The recording routes, by path. */
  readonly handlers: ReadonlyMap<string, ReceivedHandler>;
  /** Where receivers store the clients of their connections to the main thread. */
  readonly peers: PeerTable;
  readonly maxBodyBytes: number;
  readonly hasCors: boolean;
  readonly log: Logger;
}

/** A receiver thread. */
interface Receiver {
  worker: Worker;
  readonly counters: Int32Array;
  /** The responses of this turn of the event loop: see Responses. */
  responses: (string | number)[];
}

/** Starts receivers, which do not listen yet, and restarts those that exit unexpectedly. */
export async function startReceivers({
  count,
  worker: workerUrl,
  handlers,
  peers,
  maxBodyBytes,
  hasCors,
  log,
}: ReceiversOptions): Promise<Receivers> {
  const paths = [...handlers.keys()];
  const handlerAt = [...handlers.values()];
  const slots: (Receiver | undefined)[] = [];
  let lastNumber = 0;
  let isClosed = false;
  let generation = 0;
  /** Where receivers should listen now. */
  let address: ReceivingAddress | undefined;
  /** The receivers that do not listen yet at the current address. */
  let awaited = new Set<Receiver>();
  let listening = Promise.withResolvers<void>();
  /** Stops in progress: their generation, and the receivers that have not finished. */
  const stops: { readonly generation: number; readonly awaited: Set<Receiver>; readonly done: () => void }[] = [];

  /**
   * Starts a receiver. Resolves once it is ready.
   *
   * @param failures the number of exits before it, without a stable run in between
   */
  function start(slot: number, failures: number): Promise<void> {
    const ready = Promise.withResolvers<void>();
    const counters = new SharedArrayBuffer(Object.keys(COUNTERS).length * Int32Array.BYTES_PER_ELEMENT);
    const number = lastNumber++;
    const workerData: ReceiverOptions = {
      ...{ number, paths, hasCors, peers: peers.memory, counters },
      maxBodyBytes: Math.min(maxBodyBytes, MAX_PASSED_BODY_BYTES),
    };
    const worker = new Worker(workerUrl, { workerData });
    const receiver: Receiver = { worker, counters: new Int32Array(counters), responses: [] };
    slots[slot] = receiver;
    const startedAt = performance.now();
    let reason: unknown = new Error('the receiver exited');
    worker.on('message', (message: FromReceiver) => {
      if (message.event === 'received') receive(receiver, message);
      else if (message.event === 'ready') {
        if (address) {
          accept(receiver, true);
          worker.postMessage({ do: 'listen', ...address, generation } satisfies ToReceiver);
        }
        ready.resolve();
      } else handle(receiver, message);
    });
    worker.on('error', (error) => {
      reason = error;
    });
    worker.on('exit', () => {
      ready.reject(reason);
      if (slots[slot] !== receiver) return;
      slots[slot] = undefined;
      peers.clear(number);
      finish(receiver, Number.POSITIVE_INFINITY);
      if (awaited.delete(receiver)) listening.reject(reason);
      if (isClosed) return;
      const exits = performance.now() - startedAt > STABLE_AFTER_MS ? 0 : failures;
      const delay = Math.min(RESTART_DELAY_MS.initial * 2 ** exits, RESTART_DELAY_MS.max);
      log.error({ err: reason, delay_ms: delay }, 'a receiver exited, and its connections were closed; restarting it');
      setTimeout(() => {
        if (!isClosed) start(slot, exits + 1).catch(() => {}); // reported when it exits
      }, delay);
    });
    return ready.promise;
  }

  /** Handles the requests of a message. */
  function receive(receiver: Receiver, { requests, bodies }: ReceivedRequests): void {
    let bodyAt = 0;
    for (let at = 0; at < requests.length; at += REQUEST_LENGTH) {
      const connection = requests[at] as number;
      const handler = handlerAt[requests[at + 1] as number] as ReceivedHandler;
      const bodyEnd = bodyAt + (requests[at + 2] as number);
      const request = new ReceivedRequest(
        requests,
        at + 4,
        requests[at + 3] as string,
        bodies.subarray(bodyAt, bodyEnd),
      );
      bodyAt = bodyEnd;
      handler(request).then(
        ({ status, headers, body }) => respond(receiver, connection, headOf(status, headers), body ?? ''),
        (error: unknown) => {
          log.error({ err: error }, 'a recording request failed');
          respond(receiver, connection, '', '');
        },
      );
    }
  }

  /** Passes a response to its receiver, with all others of this turn. */
  function respond(receiver: Receiver, connection: number, head: string, body: string): void {
    if (receiver.responses.length === 0) {
      setImmediate(() => {
        const { responses } = receiver;
        receiver.responses = [];
        receiver.worker.postMessage(responses satisfies ToReceiver);
      });
    }
    receiver.responses.push(connection, head, body);
  }

  function handle(receiver: Receiver, message: Exclude<FromReceiver, ReceivedRequests | { event: 'ready' }>): void {
    switch (message.event) {
      case 'listening':
        awaited.delete(receiver);
        if (awaited.size === 0) listening.resolve();
        break;
      case 'failed': {
        const error = Object.assign(new Error(message.message), { code: message.code });
        listening.reject(error);
        if (message.generation !== generation || !address) return;
        log.error({ err: error }, 'a receiver failed to listen; retrying');
        setTimeout(() => {
          if (message.generation !== generation || !address) return;
          receiver.worker.postMessage({ do: 'listen', ...address, generation } satisfies ToReceiver);
        }, LISTEN_RETRY_MS);
        break;
      }
      case 'stopped':
        finish(receiver, message.generation);
        break;
      case 'error':
        log.error({ err: new Error(message.message) }, 'a connection was closed because of an error');
        break;
    }
  }

  /** Ends the wait for a receiver's connections up to a generation. */
  function finish(receiver: Receiver, upTo: number): void {
    for (const stop of [...stops]) {
      if (stop.generation > upTo || !stop.awaited.delete(receiver) || stop.awaited.size > 0) continue;
      stops.splice(stops.indexOf(stop), 1);
      stop.done();
    }
  }

  /** Lets a receiver accept connections of the current generation, or none. */
  function accept({ counters }: Receiver, isAccepting: boolean): void {
    Atomics.store(counters, COUNTERS.accepted, isAccepting ? generation : 0);
  }

  const running = () => slots.filter((receiver) => receiver !== undefined);
  const post = (message: ToReceiver) => {
    for (const { worker } of running()) worker.postMessage(message);
  };
  const sum = (counter: keyof typeof COUNTERS) =>
    running().reduce((total, { counters }) => total + Atomics.load(counters, COUNTERS[counter]), 0);

  const receivers: Receivers = {
    listen(newAddress) {
      address = newAddress;
      generation++;
      awaited = new Set(running());
      listening = Promise.withResolvers();
      listening.promise.catch(() => {}); // logged, and reported to those who wait for it
      for (const receiver of awaited) accept(receiver, true);
      post({ do: 'listen', ...newAddress, generation });
    },
    listening: () => listening.promise,
    stop(closeActive) {
      const stopped = Promise.withResolvers<void>();
      for (const receiver of running()) accept(receiver, false);
      post({ do: 'stop' });
      address = undefined;
      if (closeActive) post({ do: 'close', generation });
      const open = new Set(running());
      if (open.size === 0) return Promise.resolve();
      stops.push({ generation, awaited: open, done: stopped.resolve });
      // a client that does not read must not delay it
      return closeActive ? Promise.race([stopped.promise, Bun.sleep(CLOSE_TIMEOUT_MS)]) : stopped.promise;
    },
    pendingRequests: () => sum('inFlight'),
    upstreams: () => sum('upstreams'),
    async close() {
      isClosed = true;
      await receivers.stop(true);
      await Promise.all(running().map(({ worker }) => worker.terminate()));
    },
  };
  try {
    await Promise.all(Array.from({ length: count }, (_, slot) => start(slot, 0)));
  } catch (error) {
    await receivers.close();
    throw error;
  }
  return receivers;
}

/** Returns the head of a response, without `Date` and `Content-Length`. */
function headOf(status: number, headers: ReceivedResponse['headers']): string {
  let head = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Unknown'}`;
  for (const name in headers) head += `\r\n${name}: ${headers[name]}`;
  return head;
}
