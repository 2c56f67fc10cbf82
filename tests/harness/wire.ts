import { connect, type Socket } from 'node:net';

/** A response read from the socket. */
export interface WireResponse {
  readonly status: number;
  /** The header fields by lower-case name. The last value of a repeated field counts. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Whether the whole body arrived. */
  readonly isComplete: boolean;
}

/** A raw request and how to read its response. */
interface Exchange {
  /** The request, sent unmodified. */
  readonly bytes: Buffer;
  /** Whether the response has no body, whatever its headers say. */
  readonly isHead: boolean;
  /** Whether to half-close the connection after the request, which is shorter than its Content-Length. */
  readonly endsEarly: boolean;
  /** Maximum body size to read, in bytes; then the connection is closed. */
  readonly maxBody: number;
  /** Timeout of the exchange, in milliseconds. */
  readonly timeoutMs: number;
}

/** The outcome of a request: a response, or the reason why there is none. */
export type Outcome = WireResponse | 'closed' | 'timeout';

/**
 * Creates a connection that sends raw requests one after the other, and reconnects when the server has closed it.
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
        const finish = (outcome: Outcome | 'retry', keep: boolean) => {
          clearTimeout(timer);
          used.removeAllListeners();
          used.on('error', () => {}); // the outcome is settled
          if (!keep) {
            used.destroy();
            if (socket === used) socket = undefined;
          }
          // the server may close an idle connection just as the next request is written: retry on a new one
          resolve(outcome === 'retry' ? this.send(exchange) : outcome);
        };
        const check = (isOver: boolean) => {
          const response = parseResponse(received, exchange.isHead, isOver);
          if (response === undefined)
            return isOver && finish(isReused && received.length === 0 ? 'retry' : 'closed', false);
          const isEnough = response.isComplete || response.body.length >= exchange.maxBody;
          if (!isEnough && !isOver) return;
          const closes = isOver || exchange.endsEarly || response.headers.get('connection') === 'close';
          finish(response, response.isComplete && !closes);
        };
        const timer = setTimeout(() => finish('timeout', false), exchange.timeoutMs);
        used.on('data', (bytes: Buffer) => {
          received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
          check(false);
        });
        used.on('end', () => check(true));
        used.on('close', () => check(true));
        used.on('error', () => check(true));
        used.write(exchange.bytes);
        if (exchange.endsEarly) used.end();
      });
    },
    close: () => void socket?.destroy(),
  };
}

/** Parses the bytes received so far; returns undefined until the head is complete. Skips interim responses. */
function parseResponse(received: Buffer, isHead: boolean, isOver: boolean): WireResponse | undefined {
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [statusLine = '', ...lines] = received.subarray(0, end).toString('latin1').split('\r\n');
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(statusLine)?.[1] ?? 0);
  const afterHead = received.subarray(end + 4);
  if (status >= 100 && status < 200) return parseResponse(afterHead, isHead, isOver);
  const headers = new Map(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
    }),
  );
  const head = { status, headers };
  if (isHead || status === 204 || status === 304) return { ...head, body: Buffer.alloc(0), isComplete: true };
  if (headers.get('transfer-encoding') === 'chunked') return { ...head, ...decodeChunks(afterHead) };
  const length = headers.get('content-length');
  if (length === undefined)
    return { ...head, body: afterHead, isComplete: isOver || headers.get('connection') === 'close' };
  return { ...head, body: afterHead.subarray(0, Number(length)), isComplete: afterHead.length >= Number(length) };
}

function decodeChunks(bytes: Buffer): { body: Buffer; isComplete: boolean } {
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
