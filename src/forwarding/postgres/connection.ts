import { readFileSync } from 'node:fs';
import net from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { sql } from 'drizzle-orm';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { findPassword, type PostgresTarget } from '../../formats/postgres-url.ts';
import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';
import { isConnectionUsable, publicError } from './errors.ts';

/** How long a statement may wait for a lock, in milliseconds. Then the block is sent again later. */
const LOCK_TIMEOUT_MS = 2_000;
/** How long a statement may run by default, in milliseconds. */
const STATEMENT_TIMEOUT_MS = 30_000;
/** How long the server keeps a transaction whose client is silent, in milliseconds. It holds locks until then. */
const SILENCE_TIMEOUT_MS = 60_000;
/** Time by which a transaction may exceed the timeout of its statements, in milliseconds: for the network. */
const NETWORK_MS = 30_000;
/** How long closing may wait for the server, in seconds. */
const CLOSE_SECONDS = 2;

/** A transaction of drizzle. */
export type Transaction = Parameters<Parameters<PostgresJsDatabase['transaction']>[0]>[0];

/** Limits of a transaction. */
export interface TransactionOptions {
  /** Milliseconds that each statement may run; 30 s by default. */
  readonly statementTimeoutMs?: number;
  /** Milliseconds that the transaction may take as a whole; undefined for as long as a statement and the network. */
  readonly totalTimeoutMs?: number;
  /** Reads one snapshot, and writes nothing. */
  readonly isReadOnly?: boolean;
}

/** A connection to a database, which is opened when it is needed. */
export interface PostgresConnection {
  /**
   * Runs work in a transaction, and connects first if there is no connection. When it resolves, the server has made the
   * transaction durable, even where `synchronous_commit` is off. Names of tables refer to the schema of the URL, and the time
   * zone is UTC.
   *
   * @throws {SinkConfigurationError} if the operator has to remedy it: credentials, privileges, a missing database
   * @throws {unknown} the error of the statement, whose message may contain values: see {@link publicError}
   */
  transaction<Result>(
    work: (transaction: Transaction) => Promise<Result>,
    signal: AbortSignal,
    options?: TransactionOptions,
  ): Promise<Result>;
  close(): Promise<void>;
}

interface OpenConnection {
  readonly db: PostgresJsDatabase;
  readonly client: postgres.Sql;
  /** Closes at once. Statements in progress fail. */
  destroy(): void;
}

/** Creates a connection. It opens nothing yet. */
export function createConnection(target: PostgresTarget): PostgresConnection {
  let current: OpenConnection | undefined;
  return {
    async transaction(
      work,
      signal,
      { statementTimeoutMs = STATEMENT_TIMEOUT_MS, totalTimeoutMs, isReadOnly = false } = {},
    ) {
      const limit = AbortSignal.timeout(totalTimeoutMs ?? statementTimeoutMs + NETWORK_MS);
      const stop = AbortSignal.any([signal, limit]);
      stop.throwIfAborted();
      const stopped = Promise.withResolvers<never>();
      current ??= open(target);
      const connection = current;
      const onStop = () => {
        connection.destroy();
        stopped.reject(signal.aborted ? signal.reason : new SinkUnavailableError('PostgreSQL: no response in time'));
      };
      stop.addEventListener('abort', onStop);
      const done = connection.db.transaction(
        async (transaction) => {
          await transaction.execute(settings(target.schema, statementTimeoutMs));
          return work(transaction);
        },
        isReadOnly ? { isolationLevel: 'repeatable read', accessMode: 'read only' } : undefined,
      );
      try {
        return await Promise.race([done, stopped.promise]);
      } catch (error) {
        done.catch(() => {}); // the first error is reported
        if (stop.aborted || !isConnectionUsable(error)) {
          if (current === connection) current = undefined;
          connection.destroy();
        }
        throw error;
      } finally {
        stop.removeEventListener('abort', onStop);
      }
    },
    async close() {
      const connection = current;
      current = undefined;
      await connection?.client.end({ timeout: CLOSE_SECONDS });
      connection?.destroy();
    },
  };
}

/** Set per transaction, not per session: a pooler such as PgBouncer may run each transaction on another connection. */
function settings(schema: string, statementTimeoutMs: number) {
  return sql`SELECT set_config('search_path', ${`"${schema}"`}, true),
    set_config('statement_timeout', ${String(statementTimeoutMs)}, true),
    set_config('lock_timeout', ${String(LOCK_TIMEOUT_MS)}, true),
    set_config('idle_in_transaction_session_timeout', ${String(Math.max(SILENCE_TIMEOUT_MS, statementTimeoutMs))}, true),
    set_config('TimeZone', 'UTC', true),
    set_config('synchronous_commit', CASE WHEN current_setting('synchronous_commit') = 'off' THEN 'on'
      ELSE current_setting('synchronous_commit') END, true)`;
}

/** Opens a connection that never reconnects: after an error, another one is opened. */
function open(target: PostgresTarget): OpenConnection {
  const { host, port, database, user, connectTimeoutSeconds } = target;
  let socket: net.Socket | undefined;
  const client = postgres({
    host,
    port,
    database,
    user,
    pass: passwordOf(target) ?? '',
    max: 1,
    ssl: tlsOf(target),
    prepare: false, // works behind PgBouncer, and each statement is sent once per block
    fetch_types: false,
    idle_timeout: 0,
    max_lifetime: null,
    connect_timeout: connectTimeoutSeconds,
    connection: { application_name: 'rawlog' },
    onnotice() {}, // by default, notices are printed
    // postgres.js reconnects without a delay if a server accepts and closes at once
    async socket() {
      if (socket) throw new Error('the server closed the connection');
      socket = beginConnecting(target);
      await connected(socket, connectTimeoutSeconds);
      return socket;
    },
  } as postgres.Options<Record<string, never>>); // the types lack `socket` and `pass`
  return {
    client,
    db: drizzle(client),
    destroy() {
      client.end({ timeout: 0 }).catch(() => {});
      socket?.destroy();
    },
  };
}

function beginConnecting({ host, port }: PostgresTarget): net.Socket {
  return host.startsWith('/') ? net.connect(`${host}/.s.PGSQL.${port}`) : net.connect(port, host);
}

/** Resolves once a socket is connected; rejects if that fails or takes too long, or the socket is destroyed. */
function connected(socket: net.Socket, timeoutSeconds: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => socket.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })),
    timeoutSeconds * 1000,
  );
  const onClose = () => reject(new Error('the socket was closed'));
  socket.once('error', reject);
  socket.once('close', onClose);
  socket.once('connect', resolve);
  return promise.finally(() => {
    clearTimeout(timer);
    socket.removeListener('error', reject);
    socket.removeListener('close', onClose);
  });
}

/**
 * Returns the password: that of the URL, or of the file that `passfile` or PGPASSFILE names, or PGPASSWORD. The file is
 * read for each connection, so that passwords can be changed without a restart.
 *
 * @throws {SinkConfigurationError} if the file cannot be read
 */
function passwordOf(target: PostgresTarget): string | undefined {
  if (target.password !== undefined) return target.password;
  const file = target.passwordFile ?? Bun.env['PGPASSFILE'];
  const found = file ? findPassword(read(file, 'the password file'), target) : undefined;
  return found ?? Bun.env['PGPASSWORD'];
}

function tlsOf(target: PostgresTarget): false | 'prefer' | ConnectionOptions {
  const { tlsMode, host, rootCertificateFile, certificateFile, keyFile } = target;
  if (tlsMode === 'disable' || host.startsWith('/')) return false; // a Unix socket has no TLS
  if (tlsMode === 'prefer') return 'prefer';
  return {
    ...(net.isIP(host) === 0 && { servername: host }),
    // as in libpq, `require` checks the certificate if there is one to check it with
    rejectUnauthorized: tlsMode !== 'require' || rootCertificateFile !== undefined,
    ...(tlsMode !== 'verify-full' && { checkServerIdentity: () => undefined }),
    ...(rootCertificateFile && { ca: read(rootCertificateFile, 'the file of sslrootcert') }),
    ...(certificateFile && { cert: read(certificateFile, 'the file of sslcert') }),
    ...(keyFile && { key: read(keyFile, 'the file of sslkey') }),
  };
}

function read(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new SinkConfigurationError(`PostgreSQL: ${what} cannot be read`, { cause: error });
  }
}
