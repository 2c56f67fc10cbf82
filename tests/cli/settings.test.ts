import { describe, expect, test } from 'bun:test';
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCli, SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

describe('a secret in a flag', () => {
  test.each([['--jwt-secret'], ['--metrics-token'], ['--jwt-jwks-url']])(
    'is rejected without printing it: %s',
    async (flag) => {
      using folder = temporaryFolder();
      const value = 'https://id.example/a-value-nobody-should-see';
      for (const args of [[flag, value], [`${flag}=${value}`], [flag]]) {
        const { exitCode, stdout, stderr } = await runCli(['serve', ...args], { cwd: folder.path, env: { PORT: '0' } });
        expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
        expect(stderr).toContain(`${flag} would expose a secret in the process list; set `);
        expect(stderr).not.toContain('nobody');
      }
      expect(readdirSync(folder.path)).toEqual([]);
    },
  );

  test('is not printed if the flag is misspelled', async () => {
    const value = 'a-value-nobody-should-see\nin-two-lines';
    for (const [args, words] of [
      [['serve', `--jwt-secert=${value}`], "unknown option '--jwt-secert'"],
      [['serve', '--jwt-secert', value], "unknown option '--jwt-secert'"],
      [['serve', `-s=${value}`], "unknown option '-s'"],
      [['serve', `JWT_SECRET=${value}`], 'too many arguments'],
      [[`JWT_SECRET=${value}`], 'Unknown command "JWT_SECRET"'],
    ] as const) {
      const { exitCode, stderr } = await runCli(args);
      expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(words) });
      expect(stderr).not.toMatch(/nobody|two-lines/);
    }
  });
});

describe('invalid settings', () => {
  test('are reported together before anything is created', async () => {
    using folder = temporaryFolder();
    const env = {
      DATA_DIR: 'd\r',
      HOST: 'no-such-host.invalid',
      PORT: "'3000'",
      METRICS_TOKEN: 'a-token-for-scrapes\n',
      JWT_SECRET: 'super-secret-jwt-token-with-at-least-32-characters-long',
      CORS_ORIGINS: 'https://App.example',
    };
    for (const command of ['serve', 'config']) {
      const { exitCode, stdout, stderr } = await runCli([command], { cwd: folder.path, env });
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr.trim().split('\n').sort()).toEqual([
        '  CORS_ORIGINS should be a list of origins as browsers send them, such as https://app.example',
        '  DATA_DIR ends with a carriage return',
        '  HOST is a host name that does not resolve',
        expect.stringContaining('  JWT_SECRET is a published sample'),
        '  METRICS_TOKEN ends with a line feed',
        "  PORT is enclosed in quotes (')",
        'The configuration has 6 errors:',
      ]);
    }
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test('include paths that are circular symbolic links', async () => {
    using folder = temporaryFolder();
    for (const [from, to] of [
      ['a', 'b'],
      ['b', 'a'],
    ] as const) {
      symlinkSync(to, join(folder.path, from));
    }
    const circular = join(folder.path, 'a');
    for (const command of ['serve', 'config', 'status', 'verify']) {
      const env = { PORT: '0', DATA_DIR: circular, DATABASE_URL: `file:${circular}/x.db`, LOG_LEVEL: 'info' };
      const { exitCode, stdout, stderr } = await runCli([command, '--log-level', 'warn'], { env });
      expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
      expect(stderr).toContain(`  DATA_DIR should be another path: ${circular} is a circular symbolic link.\n`);
      expect(stderr).toContain('  DATABASE_URL should be another path: ');
    }
    const { exitCode, stderr } = await runCli(['serve', '--data-dir', circular], { env: { PORT: '0' } });
    expect({ exitCode, stderr }).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('  --data-dir should') });
  });

  test.each(['*', 'no-such-host.invalid', '127.1'])('include the HOST %p', async (host) => {
    using folder = temporaryFolder();
    const { exitCode, stderr } = await runCli(['serve', '--host', host], { cwd: folder.path, env: { PORT: '0' } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringMatching(/^ {2}--host /m) });
    expect(readdirSync(folder.path)).toEqual([]);
  });
});

test('HOST accepts a name that resolves', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET, HOST: 'localhost' });
  expect((await fetch(`http://localhost:${new URL(target.url).port}/healthz`)).status).toBe(200);
  await target.stop();
});

test('INSECURE_DEV=on accepts a published sample and logs a warning', async () => {
  const JWT_SECRET = 'your-super-secret-jwt-token-with-at-least-32-characters-long';
  const target = await startTarget({ JWT_SECRET, INSECURE_DEV: 'on' });
  await target.logged(({ level, msg }) => level === 'warn' && String(msg).startsWith('INSECURE_DEV is on'));
  await target.stop();
});

test('config prints the origin of each setting and no secrets', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'secret');
  writeFileSync(file, `${SECRET}\n`);
  const { exitCode, stdout, stderr } = await runCli(['config', '--jwt-secret-file', file, '--host', '::1'], {
    env: {
      JWT_SECRET: 'a-secret-that-the-flag-overrides-ok',
      JWT_JWKS_URL: 'https://user:hidden@id.example/hidden?key=hidden',
      JWT_ALGORITHMS: 'ES256,HS256',
      METRICS_TOKEN: 'hidden-token-for-scrapes',
    },
  });
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const lines = stdout.trim().split('\n');
  expect(lines).toContain('JWT_SECRET=********  # file');
  expect(lines).toContain('HOST=::1  # flag');
  expect(lines).toContain('JWT_ALGORITHMS=ES256,HS256  # environment');
  expect(lines).toContain('JWT_AUDIENCE=authenticated  # default');
  expect(lines).toContain('JWT_JWKS_URL=https://id.example/********  # environment');
  expect(lines).toContain('METRICS_TOKEN=********  # environment');
  expect(stdout).not.toMatch(/hidden|secret-/);
});

describe('a secret file', () => {
  test.each([
    ['that is missing', 'none', 'ENOENT'],
    ['that is a folder', '.', 'not a regular file'],
    ['that is a FIFO without a writer', 'fifo', 'not a regular file'],
    ['that is too large', 'huge', 'larger than'],
  ])('%s is rejected', async (_name, path, words) => {
    using folder = temporaryFolder();
    Bun.spawnSync(['mkfifo', join(folder.path, 'fifo')]);
    writeFileSync(join(folder.path, 'huge'), Buffer.alloc(100_000, 'x'));
    const { exitCode, stderr } = await runCli(['config'], { env: { JWT_SECRET_FILE: join(folder.path, path) } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(words) });
    expect(stderr).not.toContain(folder.path);
  });

  test('that cannot be read does not prevent the validation of other settings', async () => {
    const env = { JWT_SECRET_FILE: '/none', METRICS_TOKEN_FILE: '/none', PORT: 'x' };
    expect((await runCli(['serve'], { env })).stderr).toContain('3 errors');
  });
});

test('the command line of the process and its crash report contain no secrets', async () => {
  using folder = temporaryFolder();
  const file = join(folder.path, 'token');
  writeFileSync(file, 'hidden-token-of-a-file');
  mkdirSync(join(folder.path, 'data'));
  const env = { JWT_SECRET: SECRET, METRICS_TOKEN_FILE: file };
  const target = await startTarget(env, { dataDir: join(folder.path, 'data') });
  expect(readFileSync(`/proc/${target.process.pid}/cmdline`, 'utf8')).not.toMatch(/hidden|a-secret/);
  await target.stop('SIGSEGV');
  const { stdout, stderr } = target.output();
  expect(stderr).toContain('serve');
  expect(stdout + stderr).not.toMatch(/hidden-token|a-secret/);
});
