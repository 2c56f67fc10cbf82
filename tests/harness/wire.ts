import { connect, type Socket } from 'node:net';

/** A response as it came over the wire. */
export interface WireResponse {
  readonly status: number;
  /** By lower-case name. Of several with one name, the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Whether all of the body came. */
  readonly isComplete: boolean;
}

/** What to do with a connection once the request is written. */
interface Exchange {
  /** The request, byte by byte. */
  readonly bytes: Buffer;
  /** Whether the response has no body, whatever its headers say. */
  readonly isHead: boolean;
  /** Ends the sending side after the request: it is shorter than it says. */
  readonly endsEarly: boolean;
  /** How much of a body to read, in bytes; then the connection is closed. */
  readonly maxBody: number;
  /** After how many milliseconds to give up. */
  readonly timeoutMs: number;
}

/** What came of a request: a response, or the reason why there is none. */
export type Outcome = WireResponse | 'closed' | 'timeout';

/**
 * A connection that sends bytes as they are, one request after the other, and is opened anew when the server has
 * closed it.
 */
export function createWire(url: string): { send(exchange: Exchange): Promise<Outcome>; close(): void } {
  const { hostname, port } = new URL(url);
  let socket: Socket | undefined;

  return {
    send(exchange) {
      const isReused = socket !== undefined;
      const used = socket ?? connect({ port: Number(port), host: hostname, noDelay: true, allowHalfOpen: true });
      socket = used;
      return new Promise((resolve) => {
        let received: Buffer = Buffer.alloc(0);
        const finish = (outcome: Outcome | 'again', keep: boolean) => {
          clearTimeout(timer);
          used.removeAllListeners();
          used.on('error', () => {}); // of a connection that is done with
          if (!keep) {
            used.destroy();
            if (socket === used) socket = undefined;
          }
          // the server may close an idle connection just as the next request is written
          resolve(outcome === 'again' ? this.send(exchange) : outcome);
        };
        const look = (isOver: boolean) => {
          const response = parseResponse(received, exchange.isHead, isOver);
          if (response === undefined)
            return isOver && finish(isReused && received.length === 0 ? 'again' : 'closed', false);
          const isEnough = response.isComplete || response.body.length >= exchange.maxBody;
          if (!isEnough && !isOver) return;
          const closes = isOver || exchange.endsEarly || response.headers.get('connection') === 'close';
          finish(response, response.isComplete && !closes);
        };
        const timer = setTimeout(() => finish('timeout', false), exchange.timeoutMs);
        used.on('data', (bytes: Buffer) => {
          received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
          look(false);
        });
        used.on('end', () => look(true));
        used.on('close', () => look(true));
        used.on('error', () => look(true));
        used.write(exchange.bytes);
        if (exchange.endsEarly) used.end();
      });
    },
    close: () => void socket?.destroy(),
  };
}

/** Parses what has come so far; undefined as long as there is no whole head. Interim responses are skipped. */
function parseResponse(received: Buffer, isHead: boolean, isOver: boolean): WireResponse | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0);
  const rest = received.subarray(end + 4);
  if (status >= 100 && status < 200) return parseResponse(rest, isHead, isOver);
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const head = { status, headers };
  if (isHead || status === 204 || status === 304) return { ...head, body: Buffer.alloc(0), isComplete: true };
  if (headers.get('transfer-encoding') === 'chunked') return { ...head, ...unchunk(rest) };
  const length = headers.get('content-length');
  if (length === undefined) return { ...head, body: rest, isComplete: isOver || headers.get('connection') === 'close' };
  return { ...head, body: rest.subarray(0, Number(length)), isComplete: rest.length >= Number(length) };
}

function unchunk(bytes: Buffer): { body: Buffer; isComplete: boolean } {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = bytes.indexOf('\r\n', at);
    const size = line < 0 ? Number.NaN : Number.parseInt(bytes.subarray(at, line).toString('latin1'), 16);
    if (Number.isNaN(size)) return { body: Buffer.concat(parts), isComplete: false };
    if (size === 0) return { body: Buffer.concat(parts), isComplete: true };
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
    if (at > bytes.length) return { body: Buffer.concat(parts), isComplete: false };
  }
}
