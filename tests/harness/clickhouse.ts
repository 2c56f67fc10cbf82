import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import { temporaryFolder } from './target.ts';

/** The server on Debian. */
const PROGRAM = '/usr/sbin/clickhouse-server';

/** Whether the server is not installed; tests with it are skipped. */
export const isClickHouseMissing = !existsSync(PROGRAM);
if (isClickHouseMissing) console.warn('SKIPPED: tests with ClickHouse; run "apt-get install clickhouse-server"');

/** The password of all users but `default`. Its characters need escapes in URLs. */
export const CLICKHOUSE_PASSWORD = 'p@ss:w/rd%';

/** A real ClickHouse server, as its own process. */
export interface ClickHouseServer extends AsyncDisposable {
  readonly port: number;
  /** The ID of its process, which changes with {@link start}. */
  readonly pid: number;
  /** Returns the URL of a database as FORWARD_URL and QUERY_URL take it. The user `default` has no password. */
  url(database?: string, user?: string): URL;
  /** Runs a statement as the user `default`. Returns the result as text. Rejects with the server's text. */
  sql(statement: string): Promise<string>;
  /** Runs a query. Returns the rows; 64-bit integers are texts. */
  rows<Row = Record<string, unknown>>(query: string): Promise<Row[]>;
  /** Sends a signal: SIGKILL ends the server, SIGSTOP lets it hang until SIGCONT. */
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Starts the server again, on the same port and with the same data, and waits until it responds. */
  start(): Promise<void>;
}

/** Options of {@link startClickHouse}. */
export interface ClickHouseOptions {
  /** Further users by name, with the settings of each, such as `{ reader: { readonly: '2' } }`. */
  readonly users?: Readonly<Record<string, Readonly<Record<string, string>>>>;
  /** Further elements of the configuration, such as the nodes of a cluster. */
  readonly config?: string;
  /** The port of the native protocol, and the one between replicas. Default: free ports. */
  readonly ports?: { readonly tcp: number; readonly replicas: number };
  /** A folder for its data, which may contain that of an earlier server. Default: a temporary one. */
  readonly dataDir?: string;
}

/** Starts a server on a free port, and waits until it responds. */
export async function startClickHouse({
  users = {},
  config = '',
  ports = { tcp: freePort(), replicas: freePort() },
  dataDir,
}: ClickHouseOptions = {}): Promise<ClickHouseServer> {
  const folder = temporaryFolder();
  const port = freePort();
  const path = join(folder.path, 'config.xml');
  const data = dataDir ?? join(folder.path, 'data');
  mkdirSync(data, { recursive: true });
  await Bun.write(path, serverConfig({ folder: folder.path, data }, { http: port, ...ports }, config));
  await Bun.write(join(folder.path, 'users.xml'), usersConfig(users));
  const origin = `http://127.0.0.1:${port}`;
  let child: Bun.Subprocess | undefined;

  async function start(): Promise<void> {
    child = Bun.spawn([PROGRAM, `--config-file=${path}`], {
      cwd: folder.path,
      env: { TZ: 'UTC' },
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'ignore',
    });
    for (const deadline = Date.now() + 60_000; ; await Bun.sleep(20)) {
      const isUp = await fetch(origin, { signal: AbortSignal.timeout(1_000) }).then(
        ({ ok }) => ok,
        () => false,
      );
      if (isUp) return;
      if (child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`clickhouse-server did not start:\n${await Bun.file(join(folder.path, 'log')).text()}`);
      }
    }
  }

  async function sql(statement: string): Promise<string> {
    const response = await fetch(origin, { method: 'POST', body: statement });
    const text = await response.text();
    if (!response.ok) throw new Error(text);
    return text;
  }

  async function kill(signal: NodeJS.Signals): Promise<void> {
    child?.kill(signal);
    if (signal !== 'SIGSTOP' && signal !== 'SIGCONT') await child?.exited;
  }

  await start();
  return {
    port,
    get pid() {
      return child?.pid ?? Number.NaN;
    },
    url(database = 'rawlog', user = 'default') {
      const url = new URL(`clickhouse://127.0.0.1:${port}/${database}`);
      if (user !== 'default') {
        url.username = user;
        url.password = encodeURIComponent(CLICKHOUSE_PASSWORD);
      }
      return url;
    },
    sql,
    async rows<Row>(query: string) {
      const text = await sql(`${query} FORMAT JSONEachRow`);
      return text.split('\n').flatMap((line): Row[] => (line === '' ? [] : [JSON.parse(line)]));
    },
    kill,
    start,
    async [Symbol.asyncDispose]() {
      await kill('SIGKILL');
      folder[Symbol.dispose]();
    },
  };
}

/** Returns the configuration of a server that listens on the loopback interface only. */
function serverConfig(
  { folder, data }: { folder: string; data: string },
  ports: { http: number; tcp: number; replicas: number },
  more: string,
): string {
  return `<yandex>
  <logger><level>warning</level><log>${folder}/log</log><errorlog>${folder}/errors</errorlog></logger>
  <listen_host>127.0.0.1</listen_host>
  <http_port>${ports.http}</http_port>
  <tcp_port>${ports.tcp}</tcp_port>
  <interserver_http_port>${ports.replicas}</interserver_http_port>
  <interserver_http_host>127.0.0.1</interserver_http_host>
  <path>${data}/</path>
  <tmp_path>${data}/tmp/</tmp_path>
  <user_files_path>${data}/user_files/</user_files_path>
  <users_config>${folder}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <mark_cache_size>16777216</mark_cache_size>
  <max_concurrent_queries>100</max_concurrent_queries>
  ${more}
</yandex>
`;
}

function usersConfig(users: Readonly<Record<string, Readonly<Record<string, string>>>>): string {
  const quota = '<quota>default</quota><networks><ip>127.0.0.1</ip></networks>';
  const profiles = Object.entries(users).map(([user, settings]) => {
    const elements = Object.entries(settings).map(([name, value]) => `<${name}>${value}</${name}>`);
    return `<${user}>${elements.join('')}</${user}>`;
  });
  const accounts = Object.keys(users).map(
    (user) => `<${user}><password>${CLICKHOUSE_PASSWORD}</password><profile>${user}</profile>${quota}</${user}>`,
  );
  return `<yandex>
  <profiles><default/>${profiles.join('')}</profiles>
  <users><default><password/><profile>default</profile>${quota}</default>${accounts.join('')}</users>
  <quotas><default/></quotas>
</yandex>
`;
}
