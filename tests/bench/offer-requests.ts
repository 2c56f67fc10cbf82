import type { Socket } from 'bun';
import { quantile } from './figures.ts';
import type { Answers, Offer, Offered } from './offer.ts';
import { metricRequest } from './wire.ts';

/*
 * bun offer-requests.ts OFFER
 *
 * A load that tells the times of answers apart by their status, which wrk does not: sockets, one request
 * prepared beforehand, and of an answer no more read than its status and its length. Prints what became
 * of the offer as JSON. It runs as a process of its own, see offer.ts.
 */

/** How long to wait for answers once nothing more is sent, in milliseconds. */
const PATIENCE = 10_000;
/** Connections made at once: fewer than a listening socket keeps waiting. */
const CONNECT_BATCH = 100;

/** What a connection is about. */
interface Connection {
  /** When its request was sent, on the monotonic clock in milliseconds. */
  sentAt: number;
  /** Bytes of the request that the socket has not taken yet. */
  unsent: number;
  /** Bytes of the answer that are still to come; 0: it waits for none, or for one to begin. */
  missing: number;
  status: string;
  busy: boolean;
}

const options: Offer = JSON.parse(process.argv[2] ?? '');
const { hostname, port } = new URL(options.url);
const request = metricRequest(options);

const idle: Socket<Connection>[] = [];
const times: Record<string, number[]> = {};
let sent = 0;
let unsent = 0;
let broken = 0;
let open = true;

function send(socket: Socket<Connection>): void {
  sent++;
  socket.data.busy = true;
  socket.data.sentAt = performance.now();
  socket.data.unsent = request.length - Math.max(0, socket.write(request));
}

function finish(socket: Socket<Connection>): void {
  const { status, sentAt } = socket.data;
  times[status] ??= [];
  times[status].push(performance.now() - sentAt);
  socket.data.busy = false;
  if (open && options.rate === 0) send(socket);
  else idle.push(socket);
}

const handlers = {
  drain(socket: Socket<Connection>) {
    const { data } = socket;
    if (data.unsent > 0) data.unsent -= Math.max(0, socket.write(request.subarray(request.length - data.unsent)));
  },
  data(socket: Socket<Connection>, bytes: Buffer) {
    const { data } = socket;
    if (data.missing > 0) {
      data.missing -= bytes.length;
    } else {
      // the head of an answer is short: it comes in one piece
      const end = bytes.indexOf('\r\n\r\n');
      const head = bytes.toString('latin1', 0, end);
      data.status = head.slice(9, 12);
      data.missing = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1]) - bytes.length;
    }
    if (data.missing === 0) finish(socket);
  },
  close(socket: Socket<Connection>) {
    if (!open) return;
    if (socket.data.busy) broken++;
    const at = idle.indexOf(socket);
    if (at >= 0) idle.splice(at, 1);
    void connect();
  },
  error() {}, // what follows is a close
};

async function connect(): Promise<void> {
  const socket = await Bun.connect<Connection>({
    hostname,
    port: Number(port),
    socket: handlers,
    data: { sentAt: 0, unsent: 0, missing: 0, status: '', busy: false },
  });
  idle.push(socket);
}

for (let i = 0; i < options.connections; i += CONNECT_BATCH) {
  await Promise.all(Array.from({ length: Math.min(CONNECT_BATCH, options.connections - i) }, connect));
}

const began = performance.now();
const end = began + options.seconds * 1000;
for (let now = began; now < end; now = performance.now()) {
  // a new connection, and in a closed loop all of them at first, come this way
  const due = options.rate === 0 ? idle.length : Math.floor(((now - began) / 1000) * options.rate) - sent - unsent;
  const sendable = idle.splice(0, due);
  for (const socket of sendable) send(socket);
  unsent += due - sendable.length;
  await Bun.sleep(1);
}
open = false;
const seconds = (performance.now() - began) / 1000;
const counted = Object.fromEntries(Object.entries(times).map(([status, { length }]) => [status, length]));
for (const limit = performance.now() + PATIENCE; idle.length < options.connections && performance.now() < limit; ) {
  await Bun.sleep(10);
}

const responses = Object.fromEntries(
  Object.entries(times).map(([status, all]): [string, Answers] => [
    status,
    // the count is of those within the time, the times are of all
    { count: counted[status] ?? 0, p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: quantile(all, 1) },
  ]),
);
console.log(JSON.stringify({ seconds, sent, unsent, broken, responses } satisfies Omit<Offered, 'loadCpu'>));
process.exit();
