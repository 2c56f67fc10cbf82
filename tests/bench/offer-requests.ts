import type { Socket } from 'bun';
import type { Offer, OfferResult, ResponseStats } from './offer.ts';
import { quantile } from './statistics.ts';
import { metricRequest } from './wire.ts';

/*
 * bun offer-requests.ts OFFER
 *
 * A load generator that, unlike wrk, reports latency by response status. To stay cheap, it writes one prepared request
 * to raw sockets and reads only the status and the length of a response. Prints the result as JSON. offer.ts runs it as
 * a separate process.
 */

/** How long to wait for outstanding responses after the last request, in milliseconds. */
const DRAIN_TIMEOUT_MS = 10_000;
/** Connections opened at once: fewer than the backlog of a listening socket. */
const CONNECT_BATCH = 100;

/** The state of a connection. */
interface Connection {
  /** When its request was sent, on the monotonic clock in milliseconds. */
  sentAt: number;
  /** Bytes of the request not yet written to the socket. */
  unsent: number;
  /** Bytes of the response still to come. 0: idle, or waiting for a response to begin. */
  missing: number;
  status: string;
  isBusy: boolean;
}

const options: Offer = JSON.parse(process.argv[2] ?? '');
const { hostname, port } = new URL(options.url);
const request = metricRequest(options);

const idle: Socket<Connection>[] = [];
const times: Record<string, number[]> = {};
let sent = 0;
let unsent = 0;
let broken = 0;
let isOpen = true;

function send(socket: Socket<Connection>): void {
  sent++;
  socket.data.isBusy = true;
  socket.data.sentAt = performance.now();
  socket.data.unsent = request.length - Math.max(0, socket.write(request));
}

function finish(socket: Socket<Connection>): void {
  const { status, sentAt } = socket.data;
  times[status] ??= [];
  times[status].push(performance.now() - sentAt);
  socket.data.isBusy = false;
  if (isOpen && options.rate === 0) send(socket);
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
      // the head of a response is short enough to arrive in one read
      const end = bytes.indexOf('\r\n\r\n');
      const head = bytes.toString('latin1', 0, end);
      data.status = head.slice(9, 12);
      data.missing = end + 4 + Number(/content-length: (\d+)/i.exec(head)?.[1]) - bytes.length;
    }
    if (data.missing === 0) finish(socket);
  },
  close(socket: Socket<Connection>) {
    if (!isOpen) return;
    if (socket.data.isBusy) broken++;
    const at = idle.indexOf(socket);
    if (at >= 0) idle.splice(at, 1);
    void connect();
  },
  error() {}, // close() follows
};

async function connect(): Promise<void> {
  const socket = await Bun.connect<Connection>({
    hostname,
    port: Number(port),
    socket: handlers,
    data: { sentAt: 0, unsent: 0, missing: 0, status: '', isBusy: false },
  });
  idle.push(socket);
}

for (let i = 0; i < options.connections; i += CONNECT_BATCH) {
  await Promise.all(Array.from({ length: Math.min(CONNECT_BATCH, options.connections - i) }, connect));
}

const began = performance.now();
const end = began + options.seconds * 1000;
for (let now = began; now < end; now = performance.now()) {
  // this also serves new connections, and in a closed loop all connections at the start
  const due = options.rate === 0 ? idle.length : Math.floor(((now - began) / 1000) * options.rate) - sent - unsent;
  const sendable = idle.splice(0, due);
  for (const socket of sendable) send(socket);
  unsent += due - sendable.length;
  await Bun.sleep(1);
}
isOpen = false;
const seconds = (performance.now() - began) / 1000;
const counted = Object.fromEntries(Object.entries(times).map(([status, { length }]) => [status, length]));
for (
  const limit = performance.now() + DRAIN_TIMEOUT_MS;
  idle.length < options.connections && performance.now() < limit;
) {
  await Bun.sleep(10);
}

const responses = Object.fromEntries(
  Object.entries(times).map(([status, all]): [string, ResponseStats] => [
    status,
    // counts only responses within the time; the latencies include later ones
    { count: counted[status] ?? 0, p50: quantile(all, 0.5), p99: quantile(all, 0.99), max: quantile(all, 1) },
  ]),
);
console.log(JSON.stringify({ seconds, sent, unsent, broken, responses } satisfies Omit<OfferResult, 'loadCores'>));
process.exit();
