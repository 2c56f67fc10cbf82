import { describe, expect, test } from 'bun:test';
import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { version } from '../../package.json' with { type: 'json' };
import { METRIC, post, rows, send } from '../harness/client.ts';
import { COMMAND, runCli, SECRET, startTarget, TARGET, temporaryFolder } from '../harness/target.ts';
import { secondsFromNow } from '../harness/tokens.ts';

const COMMANDS = ['serve', 'token', 'config', 'version', 'help'];

describe('help and version', () => {
  test.each([['help'], ['--help'], ['-h']])('%s lists every command', async (arg) => {
    const { exitCode, stdout } = await runCli([arg]);
    expect(exitCode).toBe(0);
    for (const command of COMMANDS) expect(stdout).toContain(`  ${command} `);
  });
  test.each([['version'], ['--version'], ['-V']])('%s prints the version', async (arg) => {
    expect(await runCli([arg])).toMatchObject({ exitCode: 0, stdout: `${version}\n` });
  });
  test('help for a command lists its options and ends with examples', async () => {
    const { exitCode, stdout } = await runCli(['help', 'token']);
    expect(exitCode).toBe(0);
    for (const option of ['--sub', '--role', '--expires', '--jwt-secret-file']) expect(stdout).toContain(option);
    expect(stdout).toMatch(/\nExamples:\n {2}# .+\n {2}rawlog token .+\n/);
  });
});

describe('a usage error', () => {
  test.each([
    [['nonsense']],
    [['--nonsense']],
    [['serve', 'extra']],
    [['serve', '--port']],
    [['token']],
    [['token', '--sub', '']],
    [['token', '--sub', 'x'.repeat(256)]],
    [['token', '--sub', 'a', '--expires', 'soon']],
    [['token', '--sub', 'a', '--expires', '0s']],
    [['token', '--sub', 'a', '--expires', '-1h']],
    [['token', '--sub', 'a', '--link', 'log.example.com']],
    [['token', '--sub', 'a', '--link', 'ftp://log.example.com']],
    [['token', '--sub', 'a', '--link', '--port', '0']],
    [['help', 'nonsense']],
  ])('exits with status 2 and a message: %p', async (args) => {
    using folder = temporaryFolder();
    const { exitCode, stderr, stdout } = await runCli(args, { env: { DATA_DIR: folder.path, PORT: '0' } });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).not.toBe('');
    expect(stderr).not.toContain('    at ');
  });
  test('names an unknown command', async () => {
    for (const args of [['nonsense'], ['help', 'nonsense']]) {
      expect((await runCli(args)).stderr).toContain('Unknown command "nonsense"');
    }
  });
});

describe('configuration', () => {
  test('reports all errors together, under the flag or variable that was set', async () => {
    const env = {
      PORT: '70000',
      JWT_SECRET: 'short',
      MAX_BODY_BYTES: '1e6',
      DATABASE_URL: 'postgres://x',
      JWT_ALGORITHMS: 'HS256,none',
    };
    for (const command of ['serve', 'config', 'token']) {
      const args = [
        command,
        '--log-level',
        'loud',
        '--max-clock-skew',
        '5',
        ...(command === 'token' ? ['--sub', 'a'] : []),
      ];
      const { exitCode, stderr } = await runCli(args, { env });
      expect(exitCode).toBe(2);
      for (const name of [...Object.keys(env), '--log-level', '--max-clock-skew'])
        expect(stderr).toContain(`  ${name} should`);
      expect(stderr).toContain('7 errors');
    }
  });

  test.each([
    [
      { JWT_PUBLIC_KEY: '/nowhere.pem', JWT_ALGORITHMS: 'RS256' },
      'JWT_PUBLIC_KEY is neither a PEM-encoded key nor the path of a readable file',
    ],
    [{ JWT_ALGORITHMS: 'RS256' }, 'requires JWT_PUBLIC_KEY or JWT_JWKS_URL'],
    [{ JWT_JWKS_URL: 'http://127.0.0.1/keys' }, 'JWT_JWKS_URL requires RS256, ES256 or EdDSA'],
    [{ JWT_JWKS_URL: 'http://127.0.0.1/keys', JWT_ALGORITHMS: 'HS256,RS256' }, 'HS256, which requires JWT_SECRET'],
    [{ JWT_JWKS_URL: 'ftp://127.0.0.1/keys', JWT_ALGORITHMS: 'RS256' }, 'JWT_JWKS_URL should be an http or https URL'],
    [{ DATABASE_URL: 'file::memory:' }, 'DATABASE_URL should be file:PATH'],
    [{ DATABASE_URL: 'file:%zz' }, 'DATABASE_URL should be file:PATH'],
    [{ JWT_SECRET: '-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAO' }, 'JWT_SECRET contains a PEM'],
  ])('is rejected for %p', async (env, message) => {
    const { exitCode, stderr } = await runCli(['config'], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining(message) });
  });

  test('is printed with the origin of each setting and without secrets', async () => {
    const { exitCode, stdout } = await runCli(['config', '--port', '4000'], {
      env: { JWT_SECRET: SECRET, PORT: '5000', HOST: '' },
    });
    expect(exitCode).toBe(0);
    expect(stdout).toContain('PORT=4000  # flag\n');
    expect(stdout).toContain('HOST=127.0.0.1  # default\n');
    expect(stdout).toContain('JWT_SECRET=********  # environment\n');
    expect(stdout).not.toContain(SECRET);
  });
});

describe('token', () => {
  test('limits the default lifetime to JWT_MAX_AGE', async () => {
    const env = { JWT_SECRET: SECRET, JWT_MAX_AGE: '10m' };
    const { stdout } = await runCli(['token', '--sub', 'ada'], { env });
    expect(Math.abs(Number(decodeJwt(stdout.trim()).exp) - secondsFromNow(600))).toBeLessThan(60);
    expect((await runCli(['token', '--sub', 'ada', '--expires', '1h'], { env })).exitCode).toBe(2);
  });

  test('prints a token that a server with the same settings accepts', async () => {
    const target = await startTarget({ JWT_SECRET: SECRET, JWT_ISSUER: 'me', JWT_AUDIENCE: 'app' });
    try {
      const { exitCode, stdout } = await runCli(['token', '--sub', 'carl', '--expires', '2h'], {
        env: { JWT_SECRET: SECRET, JWT_ISSUER: 'me', JWT_AUDIENCE: 'app' },
      });
      expect(exitCode).toBe(0);
      const claims = decodeJwt(stdout.trim());
      expect(claims).toMatchObject({ sub: 'carl', aud: 'rawlog' });
      expect(Math.abs(Number(claims.exp) - secondsFromNow(7200))).toBeLessThan(60);
      const response = await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${stdout.trim()}` });
      expect(response.status).toBe(200);
    } finally {
      await target.stop();
    }
  });

  test('with --role admin prints a token that may act for other users', async () => {
    const target = await startTarget({ JWT_SECRET: SECRET });
    try {
      const { stdout } = await runCli(['token', '--sub', 'a', '--role', 'admin'], { env: { JWT_SECRET: SECRET } });
      const headers = { authorization: `Bearer ${stdout.trim()}`, 'x-act-as-user-id': 'b' };
      expect((await post(target, '/log_raw_metric', METRIC, headers)).status).toBe(200);
      expect(rows(target, 'metrics')[0]?.['user_id']).toBe('b');
    } finally {
      await target.stop();
    }
  });

  test('with operator tokens off, maps --role to the values of JWT_ADMIN_ROLES and JWT_VIEWER_ROLES', async () => {
    const env = {
      JWT_SECRET: SECRET,
      JWT_ADMIN_ROLES: 'owner,root',
      JWT_VIEWER_ROLES: 'analyst',
      OPERATOR_TOKENS: 'off',
    };
    const target = await startTarget(env);
    try {
      for (const [role, claim, status] of [
        ['admin', 'owner', 200],
        ['viewer', 'analyst', 403],
      ] as const) {
        const { stdout } = await runCli(['token', '--sub', 'a', '--role', role], { env });
        expect(decodeJwt(stdout.trim())['role']).toBe(claim);
        const headers = { authorization: `Bearer ${stdout.trim()}` };
        expect((await send(`${target.url}/api/status`, { headers })).body.ledger).toBeDefined();
        expect((await post(target, '/log_raw_metric', METRIC, headers)).status).toBe(status);
      }
    } finally {
      await target.stop();
    }
    const { exitCode, stderr } = await runCli(['token', '--sub', 'a', '--role', 'viewer'], {
      env: { JWT_SECRET: SECRET, OPERATOR_TOKENS: 'off' },
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 2, stderr: expect.stringContaining('JWT_VIEWER_ROLES') });
  });

  test('accepts --expires 90d', async () => {
    const env = { JWT_SECRET: SECRET };
    const { stdout } = await runCli(['token', '--sub', 'a', '--expires', '90d'], { env });
    const { exp, iat } = decodeJwt(stdout.trim());
    expect(Number(exp) - Number(iat)).toBe(90 * 86_400);
  });

  test('with --link prints the URL of the server with a code in its fragment', async () => {
    const linkOf = async (...args: string[]) => {
      const { stdout } = await runCli(['token', '--sub', 'a', ...args], { env: { JWT_SECRET: SECRET } });
      const [address, code = ''] = stdout.trim().split('#code=');
      expect(decodeJwt(code)).toMatchObject({ sub: 'a', use: 'link' });
      return address;
    };
    expect(await linkOf('--link')).toBe('http://127.0.0.1:3000/');
    expect(await linkOf('--link', '--host', '0.0.0.0', '--port', '8080')).toBe('http://127.0.0.1:8080/');
    expect(await linkOf('--link', '--host', '::1')).toBe('http://[::1]:3000/');
    expect(await linkOf('--link', 'https://log.example.com')).toBe('https://log.example.com/');
  });

  test('fails if the server accepts neither HS256 nor operator tokens', async () => {
    const keys = { JWT_SECRET: SECRET, JWT_JWKS_URL: 'http://127.0.0.1:1/keys', JWT_ALGORITHMS: 'RS256' };
    const env = { ...keys, OPERATOR_TOKENS: 'off' };
    expect((await runCli(['token', '--sub', 'a'], { env })).exitCode).toBe(2);
  });

  test('reports a newly generated secret', async () => {
    using folder = temporaryFolder();
    const env = { DATA_DIR: folder.path };
    expect((await runCli(['token', '--sub', 'a'], { env })).stderr).toContain('Generated a new signing secret');
    expect((await runCli(['token', '--sub', 'a'], { env })).stderr).toBe('');
  });

  test('fails if only public keys are configured and operator tokens are off', async () => {
    const env = { JWT_JWKS_URL: 'http://127.0.0.1:1/keys', JWT_ALGORITHMS: 'RS256', OPERATOR_TOKENS: 'off' };
    const { exitCode, stderr } = await runCli(['token', '--sub', 'a'], { env });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('does not accept HS256');
  });
});

describe('serve without configuration', () => {
  test('creates its folder and a secret, and prints a curl command that stores a metric', async () => {
    using folder = temporaryFolder();
    const dataDir = join(folder.path, 'deep/data');
    const target = await startTarget({}, { dataDir });
    await target.printed('/dashboard');
    const { stdout } = target.output();
    expect(stdout).toContain(target.url);
    expect(stdout).toContain(`${target.url}/swagger`);
    expect(statSync(dataDir).mode & 0o777).toBe(0o700);
    expect(statSync(join(dataDir, 'jwt-secret')).mode & 0o777).toBe(0o600);
    expect(statSync(target.databasePath).mode & 0o777).toBe(0o600);
    expect(stdout).toMatch(new RegExp(`^${target.url}/#code=[\\w-]+\\.[\\w-]+\\.[\\w-]+$`, 'm'));
    const curl = stdout.split('\n').find((line) => line.startsWith('curl ')) ?? '';
    const { stdout: id, exitCode } = Bun.spawnSync(['sh', '-c', curl]);
    expect(exitCode).toBe(0);
    expect(rows(target, 'metrics').map((row) => `"${row['id']}"`)).toEqual([id.toString()]);
    // "rawlog token" signs with the same secret, which is kept across restarts
    const { stdout: other } = await runCli(['token', '--sub', 'x'], { env: { DATA_DIR: dataDir } });
    await target.stop();
    const again = await startTarget({}, { dataDir });
    expect((await post(again, '/log_raw_metric', METRIC, { authorization: `Bearer ${other.trim()}` })).status).toBe(
      200,
    );
    await again.printed('curl ');
    await again.stop();
  });

  test('prints no token and generates no secret if one is configured', async () => {
    const target = await startTarget({ JWT_SECRET: SECRET });
    await target.printed('/swagger');
    expect(() => statSync(join(target.dataDir, 'jwt-secret'))).toThrow();
    await target.stop();
    expect(target.output().stdout).not.toContain('curl');
  });

  test('makes a secret private that others could read, and rejects one that is too short or published', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'jwt-secret');
    writeFileSync(path, 'x'.repeat(40));
    chmodSync(path, 0o644);
    await (await startTarget({}, { dataDir: folder.path })).stop();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toBe('x'.repeat(40));
    // the target of a link is not changed
    const linked = join(folder.path, 'linked');
    mkdirSync(linked);
    symlinkSync(path, join(linked, 'jwt-secret'));
    chmodSync(path, 0o644);
    await (await startTarget({}, { dataDir: linked })).stop();
    expect(statSync(path).mode & 0o777).toBe(0o644);
    writeFileSync(path, 'short');
    const { exitCode, stderr } = await runCli(['serve'], { env: { DATA_DIR: folder.path, PORT: '0' } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('fewer than 32 bytes') });
    writeFileSync(path, 'your-super-secret-jwt-token-with-at-least-32-characters-long\n');
    const sample = await runCli(['token', '--sub', 'a'], { env: { DATA_DIR: folder.path } });
    expect(sample).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('a published sample') });
  });

  // when running from source, bunfig.toml disables this only in the repository's folder
  test.skipIf(TARGET !== 'binary')('ignores a .env file in the working folder', async () => {
    using folder = temporaryFolder();
    const cwd = join(folder.path, 'elsewhere');
    mkdirSync(cwd);
    writeFileSync(join(cwd, '.env'), 'LOG_LEVEL=loud\nJWT_SECRET=short\n');
    const { exitCode, stdout } = await runCli(['config'], { cwd });
    expect(exitCode).toBe(0);
    expect(stdout).toContain('LOG_LEVEL=info');
  });
});

describe('serve under --watch', () => {
  test.skipIf(TARGET === 'binary').each(['SIGINT', 'SIGTERM'] as const)('stops after %s', async (signal) => {
    using folder = temporaryFolder();
    const child = Bun.spawn([process.execPath, '--watch', '--no-clear-screen', ...COMMAND.slice(1), 'serve'], {
      env: { PORT: '0', DATA_DIR: folder.path, JWT_SECRET: SECRET },
      stdout: 'pipe',
      stderr: 'ignore',
    });
    await child.stdout.getReader().read(); // wait for the startup message
    child.kill(signal);
    expect(await child.exited).toBe(0);
  });
});

describe('serve at startup', () => {
  test('reports a port in use and exits with status 1', async () => {
    const target = await startTarget({ JWT_SECRET: SECRET });
    const env = { JWT_SECRET: SECRET, PORT: new URL(target.url).port, DATA_DIR: join(target.dataDir, 'other') };
    const { exitCode, stderr } = await runCli(['serve'], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringMatching(/in use|EADDRINUSE/i) });
    expect((await send(`${target.url}/healthz`)).status).toBe(200);
    await target.stop();
  });

  test('reports a folder that cannot be created and exits with status 1', async () => {
    using folder = temporaryFolder();
    writeFileSync(join(folder.path, 'file'), '');
    const env = { JWT_SECRET: SECRET, PORT: '0', DATA_DIR: join(folder.path, 'file/data') };
    const { exitCode, stderr } = await runCli(['serve'], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('file/data') });
  });

  test('runs from an empty folder', async () => {
    using folder = temporaryFolder();
    const target = await startTarget({ DATA_DIR: 'data' }, { cwd: folder.path, dataDir: 'data' });
    expect(statSync(join(folder.path, 'data/rawlog.db')).isFile()).toBe(true);
    await target.stop();
  });
});
