import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { bunTimeout } from './idle-timeout.ts';

/*
 * Accepts connections, as many as file descriptors allow. Without a descriptor for a new connection, Bun would try to
 * accept it again and again, with one processor fully busy. Bun has no limit for connections, but a server that is
 * stopped closes those without a request, finishes the others, and accepts none until it listens again.
 */

/** Descriptors kept free for the database, exports and key sets. */
const RESERVED_DESCRIPTORS = 16;
/** Part of the limit from which on idle connections are closed soon. */
const CROWDED = 3 / 4;
/** How long connections may be idle then, in seconds. */
const CROWDED_IDLE_SECONDS = 5;
/** Part of the limit below which connections are accepted again. */
const RELIEVED = 0.9;
/** How often to count descriptors, in milliseconds: less often where counting takes long. */
const CHECK = { interval: 100, factor: 50, longest: 1_000 };
/** At most one log line in this time, in milliseconds. */
const LOG_INTERVAL = 10_000;

/** What Bun returns for a server that listens. */
type BunServer = Pick<Bun.Server<unknown>, 'url' | 'port' | 'pendingRequests' | 'stop'>;

/** The app, as far as it listens. */
interface Listening {
  readonly server: BunServer | null;
  listen(options: { hostname: string; port: number; idleTimeout: number }): unknown;
}

/** A server that accepts connections. */
export interface Listener {
  readonly url: BunServer['url'];
  /** How many connections are open, about: descriptors beside those that were open at the start. */
  connections(): number;
  /** How many may be open. */
  readonly maxConnections: number;
  /** Accepts no more connections. Requests under way go on. */
  stop(): void;
  /** How many requests are under way. */
  pendingRequests(): number;
  /** Closes all connections. */
  close(): Promise<void>;
}

/**
 * Listens, and keeps the number of connections below the limit of file descriptors.
 *
 * @param idleTimeoutSeconds how long connections may be idle while there are few of them
 * @throws if the address cannot be listened on
 */
export function listen(
  app: Listening,
  { hostname, port, idleTimeoutSeconds }: { hostname: string; port: number; idleTimeoutSeconds: number },
  log: Logger,
): Listener {
  const baseline = openDescriptors();
  const maxConnections = Math.max(1, maxDescriptors() - baseline - RESERVED_DESCRIPTORS);
  /** Those that have connections; the last one may accept more. */
  let servers: BunServer[] = [];
  let state: 'open' | 'crowded' | 'full' = 'open';
  let loggedAt = Number.NEGATIVE_INFINITY;
  let checking: ReturnType<typeof setTimeout> | undefined;

  /** Listens anew. Connections without a request are closed; those with one are served to the end. */
  function accept(atPort: number, idleSeconds: number): void {
    app.listen({ hostname, port: atPort, idleTimeout: bunTimeout(idleSeconds) });
    if (!app.server) throw new Error('the server did not start');
    servers.push(app.server);
  }

  function refuse(): void {
    const server = servers.at(-1);
    // resolves once the last connection is closed
    void server?.stop().then(() => {
      servers = servers.filter((one) => one !== server);
    });
  }

  accept(port, idleTimeoutSeconds);
  // of a server that is stopped, Bun gives port 0
  const { url, port: takenPort = port } = servers[0] as BunServer;

  function check(): void {
    const began = performance.now();
    const connections = openDescriptors() - baseline;
    const pause = Math.min(CHECK.longest, Math.max(CHECK.interval, (performance.now() - began) * CHECK.factor));
    const next = stateOf(connections);
    if (next !== state) change(next, connections);
    if (state === 'full') closeUnused();
    checking = setTimeout(check, pause);
    checking.unref();
  }

  /** Closes connections that have sent nothing so far, of servers that have no request under way. */
  function closeUnused(): void {
    for (const server of servers) if (server.pendingRequests === 0) void server.stop(true);
  }

  function stateOf(connections: number): typeof state {
    if (connections >= maxConnections) return 'full';
    // some room, so that one connection more or less does not change it
    if (state === 'full' && connections >= maxConnections * RELIEVED) return 'full';
    if (connections >= maxConnections * CROWDED) return 'crowded';
    if (state !== 'open' && connections >= (maxConnections * CROWDED) / 2) return 'crowded';
    return 'open';
  }

  function change(next: typeof state, connections: number): void {
    let failure: unknown;
    try {
      if (state !== 'full') refuse();
      if (next !== 'full') accept(takenPort, next === 'open' ? idleTimeoutSeconds : CROWDED_IDLE_SECONDS);
      state = next;
    } catch (error) {
      state = 'full';
      failure = error;
    }
    if (state !== 'full' || performance.now() - loggedAt < LOG_INTERVAL) return;
    loggedAt = performance.now();
    const counts = { connections, max_connections: maxConnections };
    if (failure) log.error({ ...counts, err: failure }, 'the server could not listen again; further attempts follow');
    else log.warn(counts, 'the limit of connections is reached: idle ones are closed');
  }

  checking = setTimeout(check, CHECK.interval);
  checking.unref();

  return {
    url,
    connections: () => Math.max(0, openDescriptors() - baseline),
    maxConnections,
    stop() {
      clearTimeout(checking);
      refuse();
    },
    pendingRequests: () => servers.reduce((sum, { pendingRequests }) => sum + pendingRequests, 0),
    async close() {
      await Promise.all(servers.map((server) => server.stop(true)));
    },
  };
}

/** Returns how many file descriptors this process has open. */
function openDescriptors(): number {
  try {
    // Linux 6.2 and later tell the number as the size of the folder
    return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
  } catch {
    return Number.POSITIVE_INFINITY; // there is none left to read it with
  }
}

/** Returns how many it may have open. */
function maxDescriptors(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined ? Number.MAX_SAFE_INTEGER : Number(limit);
}
