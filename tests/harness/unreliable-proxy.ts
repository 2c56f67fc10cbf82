import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * What the proxy does with a request:
 *
 * - `pass`: forwards it
 * - `reset`: resets the connection without forwarding it
 * - `lose`: forwards it, waits for the response, and resets the connection
 * - `stall`: never responds
 * - a held request is forwarded at once, and its response is passed on when the promise resolves
 * - a response of the proxy itself
 */
export type Behavior =
  | 'pass'
  | 'reset'
  | 'lose'
  | 'stall'
  | { readonly until: Promise<unknown> }
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string };

/** A POST request that reached the proxy. */
export interface SeenRequest {
  /** When it arrived, in milliseconds since the process started. */
  readonly at: number;
  readonly key: string;
  readonly authorization: string;
  readonly body: string;
}

/** A proxy in front of a server that fails as told. */
export interface UnreliableProxy {
  readonly url: string;
  /** The POST requests so far. */
  readonly requests: SeenRequest[];
  /** What happens to the next POST requests, in order; after the last one, `usual` applies. */
  readonly next: Behavior[];
  usual: Behavior;
  /** Refuses connections, or accepts them again. */
  refuse(isRefusing: boolean): Promise<void>;
  /** Resolves once this many POST requests have arrived. */
  received(count: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a proxy. Preflight requests are always forwarded.
 *
 * @param upstream the server's URL
 */
export async function startUnreliableProxy(upstream: string): Promise<UnreliableProxy> {
  let arrival = Promise.withResolvers<void>();
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const { method = 'GET', headers } = request;
    let behavior: Behavior = 'pass';
    if (method === 'POST') {
      behavior = proxy.next.shift() ?? proxy.usual;
      proxy.requests.push({
        at: performance.now(),
        key: String(headers['idempotency-key']),
        authorization: String(headers.authorization),
        body: body.toString(),
      });
      arrival.resolve();
      arrival = Promise.withResolvers();
    }
    if (behavior === 'stall') return;
    if (behavior === 'reset') return void request.socket.destroy();
    if (typeof behavior === 'object' && 'status' in behavior) {
      const origin = headers.origin ? { 'access-control-allow-origin': headers.origin } : {};
      const exposed = { 'access-control-expose-headers': 'Retry-After' };
      response.writeHead(behavior.status, { ...origin, ...exposed, ...behavior.headers }).end(behavior.body);
      return;
    }
    const forwarded = new Headers();
    for (const [name, value] of Object.entries(headers)) {
      if (!['host', 'connection', 'content-length'].includes(name)) forwarded.set(name, String(value));
    }
    const result = await fetch(upstream + request.url, {
      method,
      headers: forwarded,
      ...(body.length > 0 && { body }),
    }).catch(() => undefined);
    if (!result || behavior === 'lose') return void request.socket.destroy();
    const text = await result.text();
    if (typeof behavior === 'object') await behavior.until;
    const passed = Object.fromEntries(
      [...result.headers].filter(
        ([name]) => !/^(content-encoding|content-length|connection|transfer-encoding)$/.test(name),
      ),
    );
    response.writeHead(result.status, passed).end(text);
  };
  const server = createServer((request, response) => void handle(request, response));
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const proxy: UnreliableProxy = {
    url: `http://127.0.0.1:${port}`,
    requests: [],
    next: [],
    usual: 'pass',
    refuse: (isRefusing) => (isRefusing ? close() : listen(port)),
    async received(count) {
      while (proxy.requests.length < count) await arrival.promise;
    },
    async stop() {
      if (server.listening) await close();
    },
  };
  return proxy;
}
