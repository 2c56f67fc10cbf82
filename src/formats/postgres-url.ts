import { isEngineName } from './engine-name.ts';

/*
 * URLs of PostgreSQL databases: postgres://user:password@host:port/database?schema=platform&sslmode=verify-full. The
 * parameters are those of libpq, Prisma's `schema`, and our `tables`.
 */

/** How TLS is used, as in libpq: only `verify-ca` and `verify-full` check the certificate, only the latter the host. */
const TLS_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type PostgresTlsMode = (typeof TLS_MODES)[number];

/** A PostgreSQL database, and where its tables are. */
export interface PostgresTarget {
  /** A host name or IP address, or the folder of a Unix socket. */
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
  /** Undefined if the URL contains none. */
  readonly password: string | undefined;
  /** Path of a password file with the format of libpq's .pgpass. */
  readonly passwordFile: string | undefined;
  readonly schema: string;
  /** The tables of the original service, or rawlog's own. */
  readonly tables: 'original' | 'rawlog';
  readonly tlsMode: PostgresTlsMode;
  /** Paths of PEM files: trusted certificates, and the client's certificate with its key. */
  readonly rootCertificateFile: string | undefined;
  readonly certificateFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly connectTimeoutSeconds: number;
}

const DEFAULT_PORT = 5432;
const DEFAULT_CONNECT_TIMEOUT_SECONDS = 10;
/** Longest accepted timeout: after that, a forwarder has given up. */
const MAX_CONNECT_TIMEOUT_SECONDS = 300;
const PARAMETERS: ReadonlySet<string> = new Set([
  'schema',
  'tables',
  'host',
  'passfile',
  'sslmode',
  'sslrootcert',
  'sslcert',
  'sslkey',
  'connect_timeout',
]);
/** Parameters of Prisma's connection pool, which are ignored, so that the URL of an existing service works as it is. */
const IGNORED_PARAMETERS: ReadonlySet<string> = new Set(['connection_limit', 'pool_timeout', 'pgbouncer']);

/** Returns whether a text looks like the URL of a PostgreSQL database. */
export function isPostgresUrl(text: string): boolean {
  return /^postgres(?:ql)?:\/\//i.test(text);
}

/**
 * Parses the URL of a PostgreSQL database.
 *
 * @throws {Error} with the first problem. The message contains nothing of the URL but names of parameters
 */
export function parsePostgresUrl(text: string): PostgresTarget {
  const url = isPostgresUrl(text) ? URL.parse(text) : null;
  if (!url) throw new Error('should be a URL such as postgres://user@host:5432/database');
  const parameters = new Map<string, string>();
  for (const [name, value] of url.searchParams) {
    if (IGNORED_PARAMETERS.has(name)) continue;
    if (!PARAMETERS.has(name)) {
      throw new Error(`should have only the parameters ${[...PARAMETERS].join(', ')}`);
    }
    if (parameters.has(name) || value === '') throw new Error(`should have one value for ${name}`);
    parameters.set(name, value);
  }
  const host = parameters.get('host') ?? decode(url.hostname, 'host').replace(/^\[(.*)\]$/, '$1');
  const database = decode(url.pathname.slice(1), 'database');
  const user = decode(url.username, 'user');
  if (host === '' || host.includes(',')) throw new Error('should name one host');
  if (database === '' || database.includes('/')) throw new Error('should name a database');
  if (user === '') throw new Error('should name a user');
  const schema = parameters.get('schema') ?? 'public';
  if (!isEngineName(schema)) throw new Error('should have a schema of letters, digits, _ and -');
  const tables = parameters.get('tables');
  if (tables !== undefined && tables !== 'rawlog') throw new Error('should have tables=rawlog, or no such parameter');
  const tlsMode = TLS_MODES.find((mode) => mode === (parameters.get('sslmode') ?? 'prefer'));
  if (!tlsMode) throw new Error(`should have an sslmode of ${TLS_MODES.join(', ')}`);
  if (parameters.has('sslcert') !== parameters.has('sslkey')) throw new Error('should have both sslcert and sslkey');
  const timeout = Number(parameters.get('connect_timeout') ?? DEFAULT_CONNECT_TIMEOUT_SECONDS);
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > MAX_CONNECT_TIMEOUT_SECONDS) {
    throw new Error(`should have a connect_timeout of 1 to ${MAX_CONNECT_TIMEOUT_SECONDS} seconds`);
  }
  return {
    host,
    port: url.port === '' ? DEFAULT_PORT : Number(url.port),
    database,
    user,
    password: url.password === '' ? undefined : decode(url.password, 'password'),
    passwordFile: parameters.get('passfile'),
    schema,
    tables: tables ?? 'original',
    tlsMode,
    rootCertificateFile: parameters.get('sslrootcert'),
    certificateFile: parameters.get('sslcert'),
    keyFile: parameters.get('sslkey'),
    connectTimeoutSeconds: timeout,
  };
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error(`should have a ${part} whose % are written as %25`);
  }
}

/**
 * Returns the password for a database from the text of a password file: lines of `host:port:database:user:password`,
 * where `*` matches anything and `\` escapes a colon (https://www.postgresql.org/docs/current/libpq-pgpass.html).
 *
 * @returns undefined if no line matches
 */
export function findPassword(
  text: string,
  { host, port, database, user }: Pick<PostgresTarget, 'host' | 'port' | 'database' | 'user'>,
): string | undefined {
  const wanted = [host.startsWith('/') ? 'localhost' : host, String(port), database, user];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = [...line.matchAll(/((?:\\.|[^:\\])*)(?::|$)/g)].map(([, field = '']) =>
      field.replace(/\\(.)/g, '$1'),
    );
    if (fields.length > 4 && wanted.every((value, i) => fields[i] === '*' || fields[i] === value)) return fields[4];
  }
  return undefined;
}
