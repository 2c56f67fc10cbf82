import type { Logger } from 'pino';
import type { Receivers } from '../receiving/receivers.ts';
import { otherListenerOn } from '../system-process.ts';
import { idleSecondsOf } from './idle-timeout.ts';
import {
  type BunServer,
  type ListenAddress,
  type Listener,
  type ListeningApp,
  listen,
  portInUse,
  toListenError,
} from './listener.ts';

/** The address of the server for requests that receivers do not read. Only this machine reaches it. */
const LOOPBACK = '127.0.0.1';

/** How long a server that stops listening still accepts connections from receivers, and how often it looks, in milliseconds. */
const SETTLE_MS = { longest: 200, interval: 5 };

/** File descriptors of a connection from a receiver to the main thread: both its ends. */
const DESCRIPTORS_PER_UPSTREAM = 2;

/**
 * Starts listening with receivers.
 *
 * @throws if listening on the address fails
 */
export async function listenWithReceivers(
  app: ListeningApp,
  receivers: Receivers,
  address: ListenAddress,
  log: Logger,
): Promise<Listener> {
  const listener = listen(receivingApp(app, receivers), address, log);
  const { hostname } = address;
  const port = Number(listener.port);
  try {
    await receivers.listening();
    // another server that starts at the same time could have begun to share the port after it was probed
    const other = otherListenerOn(port);
    if (other !== undefined) throw new Error(portInUse(hostname, port, other));
  } catch (error) {
    await listener.close();
    throw toListenError(error, hostname, port);
  }
  return listener;
}

/**
 * Returns an app whose connections are accepted by receivers. The app itself serves what they pass on, from a port of the
 * loopback interface.
 */
function receivingApp(app: ListeningApp, receivers: Receivers): ListeningApp {
  let server: BunServer | null = null;
  /** The public address, once it is known. */
  let bound: { readonly url: BunServer['url']; readonly port: number } | undefined;

  return {
    get server() {
      return server;
    },
    internalDescriptors: () => receivers.upstreams() * DESCRIPTORS_PER_UPSTREAM,
    listen({ hostname, port, idleTimeout }) {
      // receivers share the port, and would share it with another program, too
      bound ??= probe(hostname, port);
      app.listen({ hostname: LOOPBACK, port: 0, idleTimeout });
      const own = app.server;
      if (!own) throw new Error('the server did not start');
      receivers.listen({
        hostname,
        port: bound.port,
        upstreamPort: own.port ?? 0,
        idleTimeoutSeconds: idleTimeout,
        upstreamUsableMs: (idleSecondsOf(idleTimeout) * 1000) / 2,
      });
      server = {
        ...bound,
        get pendingRequests() {
          return own.pendingRequests + receivers.pendingRequests();
        },
        async stop(closeActive = false) {
          const stopped = receivers.stop(closeActive);
          if (!closeActive) await settle(receivers);
          await Promise.all([own.stop(closeActive), stopped]);
        },
      };
    },
  };
}

/** Waits until this thread has what receivers are passing on, for a moment. */
async function settle(receivers: Receivers): Promise<void> {
  const deadline = performance.now() + SETTLE_MS.longest;
  while (receivers.pendingRequests() > 0 && performance.now() < deadline) await Bun.sleep(SETTLE_MS.interval);
}

/**
 * Listens on an address for a moment, without sharing the port.
 *
 * @throws if that fails, for example because the port is in use
 */
function probe(hostname: string, port: number): { readonly url: BunServer['url']; readonly port: number } {
  const server = Bun.serve({ hostname, port, reusePort: false, development: false, fetch: () => new Response() });
  const { url, port: boundPort = port } = server;
  void server.stop(true);
  return { url, port: boundPort };
}
