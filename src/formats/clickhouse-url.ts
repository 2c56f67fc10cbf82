import { isEngineName } from './engine-name.ts';

/*
 * Addresses of ClickHouse: clickhouse://USER:PASSWORD@HOST:8123/DATABASE?cluster=NAME over HTTP, clickhouses:// over
 * HTTPS.
 */

const PROTOCOLS: ReadonlyMap<string, { readonly scheme: string; readonly port: string }> = new Map([
  ['clickhouse:', { scheme: 'http', port: '8123' }],
  ['clickhouses:', { scheme: 'https', port: '8443' }],
]);

/** Where tables are, and how to reach them. */
export interface ClickHouseAddress {
  /** The URL of the HTTP interface, without credentials. */
  readonly origin: string;
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** The cluster whose nodes share the tables; undefined for a single server. */
  readonly cluster: string | undefined;
}

/**
 * Parses the address of a database.
 *
 * @throws {Error} with a message that completes a sentence; it does not repeat the URL, which may contain a password
 */
export function parseClickHouseUrl(url: URL): ClickHouseAddress {
  const protocol = PROTOCOLS.get(url.protocol);
  if (protocol === undefined || url.hostname === '' || url.hash !== '') {
    throw new Error('should be clickhouse://HOST/DATABASE or clickhouses://HOST/DATABASE');
  }
  const database = url.pathname.replace(/^\//, '') || 'default';
  if (!isEngineName(database)) throw new Error('should name a database of letters, digits, hyphens and underscores');
  if ([...url.searchParams.keys()].some((name) => name !== 'cluster')) {
    throw new Error('should have no parameter except cluster');
  }
  const [cluster, ...others] = url.searchParams.getAll('cluster');
  if ((cluster !== undefined && !isEngineName(cluster)) || others.length > 0) {
    throw new Error('should name one cluster, of letters, digits, hyphens and underscores');
  }
  return {
    origin: `${protocol.scheme}://${url.hostname}:${url.port || protocol.port}`,
    user: decoded(url.username) || 'default',
    password: decoded(url.password),
    database,
    cluster,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error('should escape the % signs of its user and password as %25');
  }
}
