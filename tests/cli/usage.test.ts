import { describe, expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { COMMAND, runCli, SECRET, temporaryFolder } from '../harness/target.ts';

/*
 * Invalid options and arguments: exit status 2, with all errors reported together.
 */

const env = { JWT_SECRET: SECRET };

describe('usage errors exit with status 2 and name the option', () => {
  test.each([
    [['export', '--format', 'xml'], '--format should be one of ndjson, csv, parquet'],
    [['export', '--format', ''], '--format should not be empty'],
    [['export', '--format', 'csv'], 'add --what metrics or --what analytics'],
    [['export', '--what', 'all things'], '--what should be one of all, metrics, analytics'],
    [['export', '--what', 'constructor'], '--what should be one of'],
    [['export', '--what', ''], '--what should not be empty'],
    [['export', '--user-id', ''], '--user-id should not be empty'],
    [['export', '--user-id', 'a\nb'], '--user-id should have 1 to 255 characters'],
    [['export', '--from', 'yesterday'], '--from should be an RFC 3339 time'],
    [['export', '--to', ''], '--to should not be empty'],
    [['export', '--from', '2026-02-01T00:00:00Z', '--to', '2026-01-01T00:00:00Z'], '--from should be before --to'],
    [['export', '--from', '2026-02-01T00:00:00Z', '--to', '2026-02-01T00:00:00Z'], '--from should be before --to'],
    [['export', '--what', 'metrics', '--format', 'csv', '--formulas', 'bogus'], '--formulas should be one of'],
    [['export', '--formulas', 'escape'], '--formulas requires --format csv'],
    [['export', '--what', 'metrics', '--what', 'analytics'], '--what was given more than once'],
    [['export', '--data-dir', 'a', '--data-dir', 'b'], '--data-dir was given more than once'],
    [['export', ''], 'The argument should not be empty'],
    [['export', 'a', 'b'], 'too many arguments'],
    [['import'], 'missing required argument'],
    [['import', ''], 'The argument should not be empty'],
    [['erase'], 'missing required argument'],
    [['erase', ''], 'The argument should not be empty'],
    [['erase', 'a\u0000b'.replace('\u0000', '\t')], 'The user ID should have 1 to 255 characters'],
    [['token'], '--sub is required'],
    [['token', '--sub', 'a', '--sub', 'b'], '--sub was given more than once'],
    [['token', '--sub', 'a', '--role', ''], '--role should not be empty'],
    [['token', '--sub', 'a', '--role', 'owner'], '--role should be one of admin, viewer'],
    [['token', '--sub', 'a', '--role', 'Admin'], '--role should be one of admin, viewer'],
    [['token', '--sub', 'a', '--role', 'authenticated'], '--role should be one of admin, viewer'],
    [['token', '--sub', 'a', '--expires', '91d'], '--expires should be at most 90d'],
    [['token', '--sub', 'a', '--expires', '7776001s'], '--expires should be at most 90d'],
    [['token', '--sub', 'a', '--expires', '36500d', '--link'], '--expires should be at most 90d'],
    [['token', '--sub', 'a', '--link', ''], '--link should not be empty'],
    [['token', '--sub', 'a', '--expires', '0s'], '--expires should be above 0'],
  ])('%j', async (args, words) => {
    using folder = temporaryFolder();
    const result = await runCli(args, { env: { ...env, DATA_DIR: folder.path } });
    expect(result).toEqual({ exitCode: 2, stdout: '', stderr: expect.stringContaining(words) });
  });
});

describe('an argument that is not valid UTF-8', () => {
  const OTHER = 'a\ufffd';
  const record = JSON.stringify({
    id: '01a2051d-f34e-7000-963e-4dd273eea3b1',
    user_id: OTHER,
    timestamp: '2026-01-01T00:00:00Z',
    received_at: '2026-01-01T00:00:00Z',
    metric_name: 'm',
    metric_value: 1,
  });
  /** Runs a command with one more argument, passed as a printf format. */
  const runWith = async (format: string, args: readonly string[], dataDir: string) => {
    const script = 'last=$(printf "$0"); exec "$@" "$last"';
    const child = Bun.spawn(['sh', '-c', script, format, ...COMMAND, ...args], {
      env: { ...env, DATA_DIR: dataDir },
      cwd: dataDir,
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    return { exitCode: await child.exited, stdout, stderr };
  };

  test('is rejected with status 2 before anything is written', async () => {
    using folder = temporaryFolder();
    const records = join(folder.path, 'records');
    await Bun.write(records, record);
    expect((await runCli(['import', records], { env: { ...env, DATA_DIR: folder.path } })).exitCode).toBe(0);
    const before = readdirSync(folder.path);
    const rejected: [string[], string][] = [
      [['erase'], 'The argument is not valid UTF-8'],
      [['export'], 'The argument is not valid UTF-8'],
      [['export', '--user-id'], '--user-id is not valid UTF-8'],
      [['token', '--sub'], '--sub is not valid UTF-8'],
    ];
    for (const [args, words] of rejected) {
      const result = await runWith('a\\377', args, folder.path);
      expect({ args, ...result }).toEqual({ args, exitCode: 2, stdout: '', stderr: expect.stringContaining(words) });
    }
    expect(readdirSync(folder.path)).toEqual(before);
    // only Linux exposes the bytes of the command line, which distinguish U+FFFD from replaced bytes
    if (process.platform !== 'linux') return;
    const { exitCode, stdout } = await runWith('a\\357\\277\\275', ['erase'], folder.path);
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: expect.stringContaining('Erased 1 metric') });
  });
});

test('reports all errors in options and settings together', async () => {
  using folder = temporaryFolder();
  const times = ['--from', 'now', '--to', 'then'];
  const { exitCode, stderr } = await runCli(
    ['export', '--what', 'x', '--format', 'y', '--user-id', '', '--formulas', 'z', ...times, '--port', 'none'],
    { env: { ...env, DATA_DIR: folder.path, LOG_LEVEL: 'loud' } },
  );
  expect(exitCode).toBe(2);
  for (const name of ['--what', '--format', '--user-id', '--formulas', '--from', '--to', '--port', 'LOG_LEVEL']) {
    expect(stderr).toMatch(new RegExp(`^${name} should`, 'm'));
  }
});

test.each([
  ['statsu', 'Unknown command "statsu". Did you mean status?'],
  ['tokne', 'Unknown command "tokne". Did you mean token?'],
  ['unrelated', 'Unknown command "unrelated".\n'],
])('an unknown command is met with the one that it resembles: %s', async (name, words) => {
  const { exitCode, stderr } = await runCli([name], { env });
  expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(words) });
});

describe('--json prints one JSON value', () => {
  const json = async (...args: string[]) => {
    using folder = temporaryFolder();
    const { exitCode, stdout, stderr } = await runCli([...args, '--json'], { env: { ...env, DATA_DIR: folder.path } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).not.toContain(SECRET);
    return JSON.parse(stdout);
  };

  test('version', async () => {
    expect(await json('version')).toMatchObject({ version: expect.any(String), platform: process.platform });
  });

  test('config, with secrets masked', async () => {
    const config = await json('config');
    expect(config.PORT).toEqual({ value: '3000', origin: 'default' });
    expect(config.JWT_SECRET).toEqual({ value: '********', origin: 'environment' });
    expect(config.METRICS_TOKEN).toEqual({ value: null, origin: null });
  });

  test('token, with its expiry', async () => {
    const { token, expires_at, ...rest } = await json('token', '--sub', 'ada', '--expires', '15m');
    expect(rest).toEqual({ sub: 'ada', role: 'user' });
    const { exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url').toString());
    expect(Date.parse(expires_at)).toBe(exp * 1000);
  });
});

test('help, errors and messages contain no colors, with and without NO_COLOR', async () => {
  for (const colors of [{}, { NO_COLOR: '1' }, { FORCE_COLOR: '1' }]) {
    for (const args of [['help'], ['help', 'token'], ['nonsense'], ['token', '--role', 'x'], ['version']]) {
      const { stdout, stderr } = await runCli(args, { env: { ...env, ...colors } });
      expect(stdout + stderr).not.toContain('\u001b');
    }
  }
});
