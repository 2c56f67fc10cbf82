import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { decodeJwt, decodeProtectedHeader, exportSPKI, generateKeyPair, SignJWT } from 'jose';
import { expectError, METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { secondsFromNow } from '../harness/tokens.ts';

/*
 * Operator tokens: those that `rawlog token` signs with rawlog's own secret, beside the tokens of the product.
 */

const folder = temporaryFolder();
const dataDir = join(folder.path, 'data');
let settings: Record<string, string>;
let target: Target;

beforeAll(async () => {
  const { publicKey } = await generateKeyPair('RS256', { extractable: true });
  settings = {
    JWT_PUBLIC_KEY: await exportSPKI(publicKey),
    JWT_ALGORITHMS: 'RS256',
    JWT_ISSUER: 'https://id.example.com',
    JWT_AUDIENCE: 'web',
    JWT_ROLE_CLAIM: 'app_metadata.role',
    JWT_ADMIN_ROLES: 'owner',
    JWT_MAX_AGE: '2h',
  };
  target = await startTarget(settings, { dataDir });
});
afterAll(async () => {
  await target?.stop();
  folder[Symbol.dispose]();
});

async function printToken(
  args: readonly string[] = [],
  env: Record<string, string> = { ...settings, DATA_DIR: dataDir },
): Promise<string> {
  const { stdout, stderr, exitCode } = await runCli(['token', '--sub', 'op', ...args], { env });
  expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 });
  return stdout.trim();
}

const as = (token: string) => ({ authorization: `Bearer ${token}` });
const status = async (token: string, where = target) =>
  (await send(`${where.url}/api/status`, { headers: as(token) })).body as Record<string, unknown>;

/** Signs a token like an operator token, except for some of its header and claims. */
async function signed(
  secret: string,
  header: Record<string, unknown> = {},
  claims: Record<string, unknown> = {},
): Promise<string> {
  return new SignJWT({ sub: 'op', aud: 'rawlog', role: 'admin', exp: secondsFromNow(600), ...claims })
    .setProtectedHeader({ alg: 'HS256', kid: 'rawlog-operator', ...header })
    .sign(new TextEncoder().encode(secret));
}
const ownSecret = () => readFileSync(join(dataDir, 'operator-secret'), 'utf8').trim();

describe('with the public key of a product', () => {
  test('an admin token reads everything and records for others', async () => {
    const token = await printToken(['--role', 'admin']);
    expect(decodeProtectedHeader(token)).toEqual({ alg: 'HS256', typ: 'JWT', kid: 'rawlog-operator' });
    expect(decodeJwt(token)).toMatchObject({ sub: 'op', aud: 'rawlog', role: 'admin' });
    expect(await status(token)).toHaveProperty('ledger');
    const headers = { ...as(token), 'x-act-as-user-id': 'someone' };
    expect((await post(target, '/log_raw_metric', METRIC, headers)).status).toBe(200);
  });

  test('a viewer token reads everything and records nothing, though no viewer role is configured', async () => {
    const token = await printToken(['--role', 'viewer']);
    expect(await status(token)).toHaveProperty('ledger');
    expectError(await post(target, '/log_raw_metric', METRIC, as(token)), 403, 'forbidden');
  });

  test('a token without a role gives access to its own rows', async () => {
    const token = await printToken();
    expect(decodeJwt(token)).not.toHaveProperty('role');
    expect((await post(target, '/log_raw_metric', METRIC, as(token))).status).toBe(200);
    expect(await status(token)).not.toHaveProperty('ledger');
  });

  test('a sign-in link is exchanged for an operator token', async () => {
    const link = await printToken(['--role', 'viewer', '--link', target.url]);
    const code = link.split('#code=')[1];
    const exchanged = await post(target, '/api/session', { code }, { authorization: '' });
    const { token } = exchanged.body as { token: string };
    expect(decodeJwt(token)).toMatchObject({ aud: 'rawlog', role: 'viewer' });
    expect(await status(token)).toHaveProperty('ledger');
  });

  test('the secret is readable only by its owner', () => {
    expect(statSync(join(dataDir, 'operator-secret')).mode & 0o777).toBe(0o600);
  });

  test.each([
    ['a list of audiences', {}, { aud: ['rawlog'] }],
    ['another audience', {}, { aud: 'web', iss: 'https://id.example.com' }],
    ['no key ID', { kid: undefined }, {}],
    ['another key ID', { kid: 'operator' }, {}],
    ['a lifetime above JWT_MAX_AGE', {}, { exp: secondsFromNow(3 * 3600) }],
    ['no expiry', {}, { exp: undefined }],
    ['an expiry in the past', {}, { exp: secondsFromNow(-1) }],
    ['the use of a sign-in code', {}, { use: 'link' }],
  ])('rejects a token with %s', async (_, header, claims) => {
    const response = await post(target, '/log_raw_metric', METRIC, as(await signed(ownSecret(), header, claims)));
    expectError(response, 401, 'unauthorized');
  });

  test('accepts no role but admin and viewer', async () => {
    for (const role of ['owner', 'Admin', ['admin'], { admin: true }]) {
      expect(await status(await signed(ownSecret(), {}, { role }))).not.toHaveProperty('ledger');
    }
    const nested = await signed(ownSecret(), {}, { role: undefined, app_metadata: { role: 'owner' } });
    expect(await status(nested)).not.toHaveProperty('ledger');
  });
});

test('the shared secret of the product signs no operator tokens', async () => {
  const env = { JWT_SECRET: `${SECRET},${'f'.repeat(40)}`, JWT_AUDIENCE: 'none', INSECURE_DEV: 'on' };
  const server = await startTarget(env);
  try {
    expectError(await post(server, '/log_raw_metric', METRIC, as(await signed(SECRET))), 401, 'unauthorized');
    // neither claim alone makes a token of the product an operator token
    for (const token of [signed(SECRET, { kid: undefined }), signed(SECRET, {}, { aud: 'authenticated' })]) {
      expect((await post(server, '/log_raw_metric', METRIC, as(await token))).status).toBe(200);
    }
    // tokens signed before and after a rotation
    for (const secret of env.JWT_SECRET.split(',')) {
      const token = await printToken(['--role', 'admin'], { JWT_SECRET: secret, INSECURE_DEV: 'on' });
      expect(await status(token, server)).toHaveProperty('ledger');
    }
  } finally {
    await server.stop();
  }
});

test('OPERATOR_TOKENS=off accepts only the product’s tokens, and signs with its secret', async () => {
  using other = temporaryFolder();
  const env = { JWT_SECRET: SECRET, DATA_DIR: join(other.path, 'data'), OPERATOR_TOKENS: 'off' };
  const server = await startTarget(env, { dataDir: env.DATA_DIR });
  try {
    const { stdout } = await runCli(['token', '--sub', 'op', '--role', 'admin'], { env });
    expect(decodeJwt(stdout.trim())).toMatchObject({ aud: 'authenticated', role: 'admin' });
    expect(await status(stdout.trim(), server)).toHaveProperty('ledger');
    expectError(await post(server, '/log_raw_metric', METRIC, as(await signed(SECRET))), 401, 'unauthorized');
  } finally {
    await server.stop();
  }
});
