import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

const SETTINGS = {
  JWT_SECRET: `${SECRET},another-secret-of-32-bytes-or-so`,
  JWT_AUDIENCE: 'web, ios',
  JWT_MAX_AGE: '1h',
  JWT_ROLE_CLAIM: 'app_metadata.role',
  JWT_VIEWER_ROLES: 'analyst',
};
let target: Target;
beforeAll(async () => {
  target = await startTarget({ ...SETTINGS, AUTH_FAILURE_LIMIT: 'off' });
});
afterAll(() => target.stop());

/** Records with a token that has these claims. */
async function record(claims: Record<string, unknown>, secret?: string) {
  const authorization = `Bearer ${await token({ aud: 'web', ...claims }, secret)}`;
  return post(target, '/log_raw_metric', METRIC, { authorization });
}
const statusOf = async (claims: Record<string, unknown>) => (await record(claims)).status;

test('accepts each of the audiences', async () => {
  expect(await statusOf({ aud: 'web' })).toBe(200);
  expect(await statusOf({ aud: 'ios' })).toBe(200);
  expect(await statusOf({ aud: ['other', 'ios'] })).toBe(200);
  for (const aud of ['web, ios', 'web,ios', 'authenticated', 'none', '', ['we', 'b'], {}, 1]) {
    expect(await statusOf({ aud })).toBe(401);
  }
});

test('verifies tokens with each of the secrets', async () => {
  expect((await record({}, 'another-secret-of-32-bytes-or-so')).status).toBe(200);
  expect((await record({}, SETTINGS.JWT_SECRET)).status).toBe(401);
  expect((await record({}, 'a-third-secret-of-32-bytes-or-so')).body.message).toBe(
    'Invalid token: signature verification failed',
  );
  const { stdout } = await runCli(['token', '--sub', 'me', '--expires', '30m'], { env: SETTINGS });
  const authorization = `Bearer ${stdout.trim()}`;
  expect((await post(target, '/log_raw_metric', METRIC, { authorization })).status).toBe(200);
});

test('tolerates clock skew for nbf but not for exp', async () => {
  expect(await statusOf({ nbf: secondsFromNow(3) })).toBe(200);
  expect(await statusOf({ nbf: secondsFromNow(30) })).toBe(401);
  expect(await statusOf({ exp: secondsFromNow(-1) })).toBe(401);
  // the same token again, now from the cache
  const authorization = `Bearer ${await token({ aud: 'web', nbf: secondsFromNow(4) })}`;
  for (let i = 0; i < 3; i++) {
    expect((await post(target, '/log_raw_metric', METRIC, { authorization })).status).toBe(200);
  }
});

test('rejects an exp beyond JWT_MAX_AGE', async () => {
  expect(await statusOf({ exp: secondsFromNow(3600) })).toBe(200);
  const response = await record({ exp: secondsFromNow(3700) });
  expect([response.status, response.body.message]).toEqual([401, 'Invalid token: "exp" is too far in the future']);
});

describe('role', () => {
  /** Returns the role of a token, inferred from its permissions. */
  async function roleOf(claims: Record<string, unknown>, at = target): Promise<string> {
    const headers = { authorization: `Bearer ${await token({ aud: 'web', role: undefined, ...claims })}` };
    const acts = await post(at, '/log_raw_metric', METRIC, { ...headers, 'x-act-as-user-id': 'other' });
    if (acts.status === 200) return 'admin';
    const { status, body } = await send(`${at.url}/api/status`, { headers });
    expect(status).toBe(200);
    return 'ledger' in body ? 'viewer' : 'user';
  }

  test('is read from a path of own properties', async () => {
    expect(await roleOf({ app_metadata: { role: 'admin' } })).toBe('admin');
    expect(await roleOf({ app_metadata: { role: 'analyst' } })).toBe('viewer');
    expect(await roleOf({ 'app_metadata.role': 'admin', app_metadata: { role: 'none' } })).toBe('admin');
    expect(await roleOf({ 'app_metadata.role': 'none', app_metadata: { role: 'admin' } })).toBe('user');
    for (const claims of [
      { role: 'admin' },
      { app_metadata: { role: ['admin'] } },
      { app_metadata: { role: { role: 'admin' } } },
      { app_metadata: { Role: 'admin' } },
      { app_metadata: [{ role: 'admin' }] },
      { app_metadata: 'admin' },
      { app_metadata: null },
      { app_metadata: { role: 'Admin' } },
      { app_metadata: { role: 'admin ' } },
      { user_metadata: { role: 'admin' } },
      { __proto__: { app_metadata: { role: 'admin' } } },
    ]) {
      expect({ claims, role: await roleOf(claims) }).toEqual({ claims, role: 'user' });
    }
  });

  test('is read from a claim with dots in its name, which minted tokens contain', async () => {
    const env = { JWT_SECRET: SECRET, JWT_ROLE_CLAIM: 'https://app.example/role', JWT_AUDIENCE: 'web' };
    const other = await startTarget(env);
    try {
      expect(await roleOf({ 'https://app.example/role': 'admin' }, other)).toBe('admin');
      expect(await roleOf({ role: 'admin' }, other)).toBe('user');
      const { stdout } = await runCli(['token', '--sub', 'me', '--role', 'admin'], { env });
      const headers = { authorization: `Bearer ${stdout.trim()}`, 'x-act-as-user-id': 'other' };
      expect((await post(other, '/log_raw_metric', METRIC, headers)).status).toBe(200);
    } finally {
      await other.stop();
    }
  });
});
