import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post } from '../harness/client.ts';
import { clockAt, isFaketimeMissing } from '../harness/clock.ts';
import { startJwksServer } from '../harness/jwks-server.ts';
import { COMMAND, runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/** The user ID of another user on the machine. */
const OTHER = 65_534;
const isRoot = process.getuid?.() === 0;

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

const newDataDir = () => join(folder.path, crypto.randomUUID());

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly summary: string;
  readonly remedy: string;
  readonly detail?: string;
}

/** Runs the doctor and returns its findings, without the reminder that every installation gets. */
async function findings(env: Record<string, string>, ...args: string[]) {
  const { exitCode, stdout, stderr } = await runCli(['doctor', '--json', ...args], { env: { PORT: '0', ...env } });
  expect(stderr).toBe('');
  const result = JSON.parse(stdout) as { problems: number; findings: Finding[] };
  expect(exitCode).toBe(result.problems > 0 ? 1 : 0);
  return result.findings.filter(({ check }) => check !== 'erasure-key');
}

/** Creates a data folder by starting a server once. */
async function createDatabase(env: Record<string, string> = UNLIMITED): Promise<string> {
  const dataDir = newDataDir();
  const target = await startTarget(env, { dataDir });
  if (env['JWT_SECRET'] === SECRET) await post(target, '/log_raw_metric', METRIC);
  await target.stop();
  return dataDir;
}

test('finds no problem in a new installation, whether its server runs or not', async () => {
  const dataDir = newDataDir();
  const target = await startTarget({}, { dataDir });
  expect(await findings({ DATA_DIR: dataDir })).toEqual([]);
  await target.stop();
  expect(await findings({ DATA_DIR: dataDir })).toEqual([]);
  const { exitCode, stdout } = await runCli(['doctor'], { env: { DATA_DIR: dataDir, PORT: '0' } });
  expect({ exitCode, stdout }).toEqual({
    exitCode: 0,
    stdout: `reminder (erasure-key): Without the erasure key, restored and imported rows of erased users cannot be recognized.
  ${join(dataDir, 'erasure-key')}
  Keep a copy of the key away from this machine and from its backups.

No problems found.
`,
  });
});

test('explains that there is no database', async () => {
  const env = { DATA_DIR: newDataDir(), PORT: '0' };
  const { exitCode, stdout } = await runCli(['doctor'], { env });
  expect(exitCode).toBe(1);
  expect(stdout).toBe(`problem (database): There is no database.
  ${join(env.DATA_DIR, 'rawlog.db')}
  Start the server once to create one, or check DATA_DIR and DATABASE_URL.

Problems found: 1.
`);
});

describe('files', () => {
  test('finds a data folder and secrets that others can change or read', async () => {
    const dataDir = await createDatabase({});
    chmodSync(dataDir, 0o770);
    chmodSync(join(dataDir, 'jwt-secret'), 0o644);
    const found = await findings({ DATA_DIR: dataDir });
    expect(found.map(({ check, detail }) => [check, detail])).toEqual([
      ['permissions', dataDir],
      ['permissions', join(dataDir, 'jwt-secret')],
    ]);
  });

  test('finds a secret file that everybody can read', async () => {
    const file = join(folder.path, 'secret');
    writeFileSync(file, `${SECRET}\n`);
    chmodSync(file, 0o644);
    expect(await findings({ DATA_DIR: await createDatabase(), JWT_SECRET_FILE: file })).toMatchObject([
      { check: 'secret-files', summary: expect.stringContaining('JWT_SECRET_FILE'), detail: file },
    ]);
  });

  test.skipIf(!isRoot)('finds a folder of another user', async () => {
    chmodSync(folder.path, 0o711);
    const dataDir = await createDatabase();
    const asOther = ['setpriv', `--reuid=${OTHER}`, `--regid=${OTHER}`, '--clear-groups'];
    const parent = newDataDir();
    mkdirSync(parent, { mode: 0o755 });
    chownSync(parent, OTHER + 1, OTHER + 1);
    const child = Bun.spawn([...asOther, ...COMMAND, 'doctor', '--json'], {
      env: { DATA_DIR: parent, PORT: '0' },
      stdout: 'pipe',
      cwd: '/',
    });
    const { findings: found } = JSON.parse(await new Response(child.stdout).text());
    expect(found).toContainEqual(
      expect.objectContaining({ check: 'permissions', detail: `${parent} belongs to user ${OTHER + 1}` }),
    );
    expect(await findings({ DATA_DIR: dataDir })).toEqual([]);
  });

  test('finds a database of another program', async () => {
    const dataDir = newDataDir();
    mkdirSync(dataDir);
    writeFileSync(join(dataDir, 'rawlog.db'), 'not a database, but something else\n'.repeat(100));
    expect(await findings({ DATA_DIR: dataDir, JWT_SECRET: SECRET })).toMatchObject([
      { check: 'database', summary: 'The database cannot be opened.' },
    ]);
  });
});

describe.skipIf(isFaketimeMissing)('the clock', () => {
  test('is compared with the newest row', async () => {
    const dataDir = newDataDir();
    const ahead = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 19).replace('T', ' ');
    const target = await startTarget({ ...UNLIMITED, ...clockAt(ahead) }, { dataDir });
    const { stdout } = await runCli(['token', '--sub', 'ada', '--expires', '30d'], { env: UNLIMITED });
    const headers = { authorization: `Bearer ${stdout.trim()}` };
    expect((await post(target, '/log_raw_metric', METRIC, headers)).status).toBe(200);
    await target.stop();
    expect(await findings({ DATA_DIR: dataDir })).toMatchObject([
      { check: 'clock', summary: expect.stringContaining('was received 3 days from now') },
    ]);
    expect(await findings({ DATA_DIR: dataDir, MAX_CLOCK_SKEW: '4d' })).toEqual([]);
  });
});

describe('keys', () => {
  /** Creates a certificate that is valid for some days from a time. */
  const certificate = (days: number, from?: string) => {
    const path = join(folder.path, `${crypto.randomUUID()}.pem`);
    const files = ['-keyout', '/dev/null', '-out', path];
    const { exitCode } = Bun.spawnSync(
      ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=issuer', '-days', `${days}`, ...files],
      { env: { ...Bun.env, ...(from && clockAt(from)) }, stderr: 'ignore' },
    );
    expect(exitCode).toBe(0);
    return path;
  };

  test.skipIf(isFaketimeMissing)('finds expired certificates and reminds of those that expire soon', async () => {
    const env = { DATA_DIR: await createDatabase(), JWT_ALGORITHMS: 'RS256' };
    expect(await findings({ ...env, JWT_PUBLIC_KEY: certificate(10, '2020-01-01 00:00:00') })).toMatchObject([
      { check: 'keys', level: 'problem', summary: 'The certificate in JWT_PUBLIC_KEY has expired.' },
    ]);
    expect(await findings({ ...env, JWT_PUBLIC_KEY: certificate(10) })).toMatchObject([
      { check: 'keys', level: 'reminder', summary: 'The certificate in JWT_PUBLIC_KEY expires in 10 days.' },
    ]);
    expect(await findings({ ...env, JWT_PUBLIC_KEY: certificate(100) })).toEqual([]);
  });

  test('finds sample secrets and short generated ones', async () => {
    const dataDir = await createDatabase();
    const sample = 'your-super-secret-jwt-token-with-at-least-32-characters-long';
    expect(await findings({ DATA_DIR: dataDir, JWT_SECRET: sample, INSECURE_DEV: 'on' })).toMatchObject([
      { check: 'keys', summary: expect.stringContaining('JWT_SECRET is a published sample') },
    ]);
    expect(await findings({ DATA_DIR: dataDir, JWT_SECRET: SECRET, INSECURE_DEV: 'on' })).toMatchObject([
      { check: 'keys', summary: expect.stringContaining('INSECURE_DEV is on') },
    ]);
    writeFileSync(join(dataDir, 'jwt-secret'), 'short\n', { mode: 0o600 });
    expect(await findings({ DATA_DIR: dataDir })).toMatchObject([
      { check: 'keys', summary: expect.stringContaining('too short') },
    ]);
    expect(readFileSync(join(dataDir, 'jwt-secret'), 'utf8')).toBe('short\n');
  });

  test('fetches the key set', async () => {
    const jwks = startJwksServer();
    const env = { DATA_DIR: await createDatabase(), JWT_ALGORITHMS: 'RS256', JWT_JWKS_URL: jwks.url };
    expect(await findings(env)).toEqual([]);
    jwks.state.response = () => new Response('gone', { status: 410 });
    expect(await findings(env)).toMatchObject([
      { check: 'jwks', summary: expect.stringContaining('(status 410)'), detail: new URL(jwks.url).host },
    ]);
    jwks.state.response = () => new Response('{}');
    expect(await findings(env)).toMatchObject([{ check: 'jwks' }]);
    await jwks.stop();
    expect(await findings(env)).toMatchObject([{ check: 'jwks', summary: expect.stringContaining('(ECONNREFUSED)') }]);
  });
});

describe('other processes', () => {
  let target: Target;
  let env: Record<string, string>;
  beforeAll(async () => {
    target = await startTarget({ ...UNLIMITED, LOG_LEVEL: 'info' }, { dataDir: newDataDir() });
    env = { DATA_DIR: target.dataDir, JWT_SECRET: SECRET };
  });
  afterAll(() => target.stop());
  const processOf = ({ process: { pid } }: Target) => new RegExp(`process ${pid} \\(.*serve\\)`);

  test('a port in use names the settings and the process', async () => {
    const { port } = new URL(target.url);
    const other = { DATA_DIR: await createDatabase(), PORT: port };
    const { exitCode, stderr } = await runCli(['serve'], { env: other });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(processOf(target));
    expect(stderr).toContain(`PORT ${port} on HOST 127.0.0.1 is in use by process`);
    expect(await findings(other)).toMatchObject([
      { check: 'address', detail: expect.stringMatching(processOf(target)) },
    ]);
    expect(await findings({ ...other, PORT: '0', HOST: '192.0.2.1' })).toEqual([]);
    expect(await findings({ ...other, PORT: '38999', HOST: '192.0.2.1' })).toMatchObject([
      {
        check: 'address',
        detail:
          'HOST 192.0.2.1 is not an address of this machine. Set HOST (--host) to one of its addresses, or to 0.0.0.0 for all of them.',
      },
    ]);
  });

  test('a database in use names the settings and the process', async () => {
    const { exitCode, stderr } = await runCli(['serve'], { env: { ...env, PORT: '0' } });
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(processOf(target));
    expect(stderr).toContain('or set DATA_DIR or DATABASE_URL to a different path.');
  });

  test('a server whose socket cannot be used is a problem', async () => {
    chmodSync(join(target.dataDir, 'control'), 0o755);
    const found = await findings(env);
    chmodSync(join(target.dataDir, 'control'), 0o700);
    expect(found).toMatchObject([
      { check: 'control-socket', detail: expect.stringContaining('chmod 700') },
      { check: 'database-lock', detail: expect.stringMatching(processOf(target)) },
    ]);
    expect(await findings(env)).toEqual([]);
  });

  test('a server of another version is a problem', async () => {
    const dataDir = await createDatabase();
    mkdirSync(join(dataDir, 'control'), { recursive: true, mode: 0o700 });
    const status = { query_worker: { state: 'restarting' } };
    const metrics = 'rawlog_log_lines_dropped_total 3\nrawlog_connections 90\nrawlog_connections_max 100\n';
    const other = Bun.serve({
      unix: join(dataDir, 'control/rawlog.db.sock'),
      fetch: ({ method, url }) =>
        method === 'GET'
          ? Response.json({ version: '0.0.1', pid: process.pid })
          : new Response(`{}\n${JSON.stringify({ result: url.includes('/metrics') ? metrics : status })}\n`),
    });
    const found = await findings({ DATA_DIR: dataDir });
    await other.stop(true);
    expect(found.map(({ check }) => check)).toEqual(['version', 'server', 'log', 'file-limit']);
    expect(found[0]?.summary).toContain('The running server is version 0.0.1');
  });

  test('a low limit of open files is a problem', async () => {
    const dataDir = await createDatabase();
    const child = Bun.spawn(['sh', '-c', 'ulimit -n 200; exec "$@"', 'sh', ...COMMAND, 'doctor', '--json'], {
      env: { DATA_DIR: dataDir, PORT: '0' },
      stdout: 'pipe',
    });
    const { findings: found } = JSON.parse(await new Response(child.stdout).text());
    expect(found).toContainEqual(
      expect.objectContaining({ check: 'file-limit', summary: expect.stringContaining('only 200 files') }),
    );
  });
});

test('--public omits hosts, IDs, names and paths', async () => {
  const dataDir = await createDatabase({});
  chmodSync(dataDir, 0o777);
  chmodSync(join(dataDir, 'jwt-secret'), 0o666);
  const env = {
    ...{ DATA_DIR: dataDir, HOST: '192.0.2.1', PORT: '38998', JWT_ALGORITHMS: 'RS256' },
    JWT_JWKS_URL: 'https://issuer.example.invalid/keys?secret=hunter2',
  };
  for (const args of [['--public'], ['--public', '--json']]) {
    const { exitCode, stdout } = await runCli(['doctor', ...args], { env });
    expect(exitCode).toBe(1);
    expect(stdout).not.toContain(folder.path);
    expect(stdout).not.toMatch(/192\.0|38998|issuer|hunter2|process \d|user \d|rawlog\.db/);
  }
  const { stdout } = await runCli(['doctor'], { env });
  for (const text of [dataDir, '192.0.2.1', 'issuer.example.invalid']) expect(stdout).toContain(text);
  expect(stdout).not.toContain('hunter2');
});
