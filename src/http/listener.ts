import { readdirSync, readFileSync, statSync } from 'node:fs';
import type { Logger } from 'pino';
import { describeProcess, listenerOn } from '../system-process.ts';
import { bunTimeout } from './idle-timeout.ts';

/*
 * Limits connections to the available file descriptors. If there is none left for a new connection, Bun retries the
 * accept in a loop and keeps one CPU busy. Bun has no connection limit, but stopping a server closes its idle
 * connections, finishes requests in progress, and accepts no connections until the app listens again.
 */

/** Descriptors reserved for the database, exports and key sets. */
const RESERVED_DESCRIPTORS = 16;
/** Fraction of the limit from which idle connections are closed early. */
const CROWDED_FRACTION = 3 / 4;
/** Idle timeout while connections are crowded, in seconds. */
const CROWDED_IDLE_SECONDS = 5;
/** Fraction of the limit below which connections are accepted again. */
const REOPEN_FRACTION = 0.9;
/** Pause between counts of descriptors: 50 times the duration of the last count, between 100 ms and 1 s. */
const CHECK = { intervalMs: 100, durationFactor: 50, maxIntervalMs: 1_000 };
/** Minimum time between two log lines, in milliseconds. */
const LOG_INTERVAL_MS = 10_000;

/** A Bun server that is listening. */
export type BunServer = Pick<Bun.Server<unknown>, 'url' | 'port' | 'pendingRequests' | 'stop'>;

/** The part of the app that listens. */
export interface ListeningApp {
  readonly server: BunServer | null;
  /** Returns the number of file descriptors that are used for connections within the process. */
  internalDescriptors?(): number;
  listen(options: { hostname: string; port: number; idleTimeout: number }): unknown;
}

/** Where to listen. */
export interface ListenAddress {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  /** The idle timeout while connections are not crowded. */
  readonly idleTimeoutSeconds: number;
}

/** A server that accepts connections. */
export interface Listener {
  readonly url: BunServer['url'];
  readonly port: number;
  /** Returns the approximate number of open connections: file descriptors beyond those open at startup. */
  connections(): number;
  /** The connection limit. */
  readonly maxConnections: number;
  /** Stops accepting connections. Requests in progress continue. Safe to call more than once. */
  stop(): void;
  /** Returns the number of requests in progress. */
  pendingRequests(): number;
  /** Closes all connections. */
  close(): Promise<void>;
}

/**
 * Starts listening and keeps the number of connections within the file descriptor limit.
 *
 * @throws if listening on the address fails
 */
export function listen(
  app: ListeningApp,
  { hostname, port, idleTimeoutSeconds }: ListenAddress,
  log: Logger,
): Listener {
  const baseline = openDescriptors();
  const maxConnections = Math.max(1, maxDescriptors() - baseline - RESERVED_DESCRIPTORS);
  /** The servers with open connections. Only the last one may accept new ones. */
  let servers: BunServer[] = [];
  let state: 'open' | 'crowded' | 'full' = 'open';
  let loggedAt = Number.NEGATIVE_INFINITY;
  let checkTimer: ReturnType<typeof setTimeout> | undefined;
  let isStopped = false;

  /** Starts a new server that accepts connections. */
  function startAccepting(atPort: number, idleSeconds: number): void {
    app.listen({ hostname, port: atPort, idleTimeout: bunTimeout(idleSeconds) });
    if (!app.server) throw new Error('the server did not start');
    servers.push(app.server);
  }

  /** Stops the current server: idle connections are closed, requests in progress are finished. */
  function stopAccepting(): void {
    const server = servers.at(-1);
    // resolves once the last connection is closed
    void server?.stop().then(() => {
      servers = servers.filter((other) => other !== server);
    });
  }

  try {
    startAccepting(port, idleTimeoutSeconds);
  } catch (error) {
    throw toListenError(error, hostname, port);
  }
  // read now, because Bun reports port 0 for a stopped server
  const { url, port: boundPort = port } = servers[0] as BunServer;

  function check(): void {
    const began = performance.now();
    const connections = openDescriptors() - baseline;
    const durationMs = performance.now() - began;
    const pauseMs = Math.min(CHECK.maxIntervalMs, Math.max(CHECK.intervalMs, durationMs * CHECK.durationFactor));
    const next = stateOf(connections);
    if (next !== state) change(next, connections);
    if (state === 'full') closeUnused();
    checkTimer = setTimeout(check, pauseMs);
    checkTimer.unref();
  }

  /** Closes the connections of servers without a request in progress, including ones that have sent nothing yet. */
  function closeUnused(): void {
    for (const server of servers) if (server.pendingRequests === 0) void server.stop(true);
  }

  function stateOf(connections: number): typeof state {
    if (connections >= maxConnections) return 'full';
    // hysteresis, so that a single connection does not toggle the state
    if (state === 'full' && connections >= maxConnections * REOPEN_FRACTION) return 'full';
    if (connections >= maxConnections * CROWDED_FRACTION) return 'crowded';
    if (state !== 'open' && connections >= (maxConnections * CROWDED_FRACTION) / 2) return 'crowded';
    return 'open';
  }

  function change(next: typeof state, connections: number): void {
    let listenError: unknown;
    try {
      if (state !== 'full') stopAccepting();
      if (next !== 'full') startAccepting(boundPort, next === 'open' ? idleTimeoutSeconds : CROWDED_IDLE_SECONDS);
      state = next;
    } catch (error) {
      state = 'full';
      listenError = error;
    }
    if (state !== 'full' || performance.now() - loggedAt < LOG_INTERVAL_MS) return;
    loggedAt = performance.now();
    const counts = { connections, max_connections: maxConnections };
    if (listenError) log.error({ ...counts, err: listenError }, 'failed to listen again; retrying');
    else log.warn(counts, 'connection limit reached; closing idle connections (raise "ulimit -n" to allow more)');
  }

  checkTimer = setTimeout(check, CHECK.intervalMs);
  checkTimer.unref();

  return {
    url,
    port: boundPort,
    connections: () => Math.max(0, openDescriptors() - baseline - (app.internalDescriptors?.() ?? 0)),
    maxConnections,
    stop() {
      if (isStopped) return;
      isStopped = true;
      clearTimeout(checkTimer);
      stopAccepting();
    },
    pendingRequests: () => servers.reduce((sum, { pendingRequests }) => sum + pendingRequests, 0),
    async close() {
      await Promise.all(servers.map((server) => server.stop(true)));
    },
  };
}

/** Returns the error with which listening failed, with a message for the operator if there is one. */
export function toListenError(error: unknown, host: string, port: number): unknown {
  const problem = listenProblem(error, host, port);
  return problem === undefined ? error : new Error(problem, { cause: error });
}

/** Returns the message for a port that another process listens on. */
export function portInUse(host: string, port: number, process: number | undefined): string {
  return `PORT ${port} on HOST ${host} is in use by ${describeProcess(process)}. Stop it, or set PORT (--port) to a free port; 0 picks one.`;
}

/** Returns why a server cannot listen on an address and which setting to change; undefined for other errors. */
export function listenProblem(error: unknown, host: string, port: number): string | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return portInUse(host, port, listenerOn(port));
    case 'EACCES':
      return `This user may not listen on PORT ${port}. Set PORT (--port) to a port from 1024, or let a reverse proxy listen on ${port}.`;
    case 'EADDRNOTAVAIL':
      return `HOST ${host} is not an address of this machine. Set HOST (--host) to one of its addresses, or to 0.0.0.0 for all of them.`;
    default:
      return undefined;
  }
}

/** Returns the number of open file descriptors of this process. */
function openDescriptors(): number {
  try {
    // Linux 6.2 and later report the number as the size of the directory
    return statSync('/proc/self/fd').size || readdirSync('/proc/self/fd').length;
  } catch {
    return Number.POSITIVE_INFINITY; // no descriptor left to open the directory
  }
}

/** Returns the limit on open file descriptors. */
function maxDescriptors(): number {
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
  return limit === undefined ? Number.MAX_SAFE_INTEGER : Number(limit);
}
