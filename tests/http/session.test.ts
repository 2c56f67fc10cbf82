import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { decodeJwt } from 'jose';
import { expectError, expectLimited, type HttpResponse, METRIC, post, rows, send } from '../harness/client.ts';
import { clockAt, isFaketimeMissing } from '../harness/clock.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

const folder = temporaryFolder();
let target: Target;
beforeAll(async () => {
  target = await startTarget(UNLIMITED, { dataDir: `${folder.path}/data` });
});
afterAll(async () => {
  await target?.stop();
  folder[Symbol.dispose]();
});

/** Returns the code of a sign-in link from the command line. */
async function codeOf(...args: string[]): Promise<string> {
  const { stdout, stderr } = await runCli(['token', '--sub', 'ada', ...args, '--link'], {
    env: { JWT_SECRET: SECRET },
  });
  expect(stderr).toBe('');
  const [address, code = ''] = stdout.trim().split('#code=');
  expect(address).toBe('http://127.0.0.1:3000/');
  return code;
}

/** Exchanges a code like the page, without an Authorization header. */
function exchange(code: unknown, where = target): Promise<HttpResponse> {
  const headers = { 'content-type': 'application/json' };
  return send(`${where.url}/api/session`, { method: 'POST', headers, body: JSON.stringify({ code }) });
}

/** Returns a code with custom claims. */
function forged(claims: Record<string, unknown>, secret = SECRET): Promise<string> {
  const iat = secondsFromNow(0);
  const good = {
    use: 'link',
    sub: 'ada',
    role: 'admin',
    jti: crypto.randomUUID(),
    aud: 'rawlog-link',
    session_seconds: 60,
  };
  return token({ ...good, iat, exp: iat + 600, ...claims }, secret);
}

test('exchanges a code for a token with the user, role and lifetime of the link', async () => {
  const code = await codeOf('--role', 'admin', '--expires', '2h');
  const claims = decodeJwt(code);
  expect(claims).toMatchObject({ use: 'link', sub: 'ada', jti: expect.stringMatching(/^[0-9a-f-]{36}$/) });
  expect(Number(claims.exp) - Number(claims.iat)).toBe(600);
  const { status, body, headers } = await exchange(code);
  expect(status).toBe(200);
  expect(headers.get('cache-control')).toBe('no-store');
  expect(body).toEqual({ token: expect.any(String), user_id: 'ada', expires_at: expect.any(String) });
  const session = decodeJwt(body.token);
  expect(session).toMatchObject({ sub: 'ada', role: 'admin', aud: 'rawlog' });
  expect(session['use']).toBeUndefined();
  expect(Number(session.exp) * 1000).toBe(Date.parse(body.expires_at));
  expect(Math.abs(Number(session.exp) - secondsFromNow(7200))).toBeLessThan(60);
  const read = await send(`${target.url}/api/status`, { headers: { authorization: `Bearer ${body.token}` } });
  expect(read.body.ledger).toBeDefined();
});

test('accepts a code once, even for concurrent exchanges', async () => {
  for (const code of [await codeOf(), await codeOf()]) {
    const responses = await Promise.all(Array.from({ length: 20 }, () => exchange(code)));
    expect(responses.map(({ status }) => status).toSorted()).toEqual([200, ...Array(19).fill(401)]);
    const late = await exchange(code);
    expectError(late, 401, 'unauthorized');
    expect(late.body.message).toBe('This sign-in link was already used');
  }
});

test('after a kill and a restart, rejects a used code and accepts an unused one', async () => {
  const [used, unused] = [await codeOf(), await codeOf()];
  expect((await exchange(used)).status).toBe(200);
  await target.stop('SIGKILL');
  target = await startTarget(UNLIMITED, { dataDir: `${folder.path}/data` });
  expectError(await exchange(used), 401, 'unauthorized');
  expect((await exchange(unused)).status).toBe(200);
  const database = new Database(target.databasePath, { readonly: true });
  const jtis = database.query<{ jti: string }, []>('SELECT jti FROM used_codes').all();
  database.close();
  for (const code of [used, unused]) expect(jtis).toContainEqual({ jti: String(decodeJwt(code).jti) });
});

test('rejects a code as a bearer token on every route and for any audience', async () => {
  const anyone = await startTarget({ ...UNLIMITED, JWT_AUDIENCE: 'none' });
  try {
    const code = await codeOf('--role', 'admin');
    const headers = { authorization: `Bearer ${code}` };
    for (const where of [target, anyone]) {
      for (const path of [
        '/api/status',
        '/api/metrics',
        '/api/export/metrics',
        '/api/records/metrics/tail',
        '/metrics',
      ]) {
        expectError(await send(where.url + path, { headers }), 401, 'unauthorized');
      }
      expectError(await post(where, '/log_raw_metric', METRIC, headers), 401, 'unauthorized');
      expectError(await send(`${where.url}/api/users/ada`, { method: 'DELETE', headers }), 401, 'unauthorized');
      expect(rows(where, 'metrics')).toEqual([]);
    }
    // not even with the audience of a token
    for (const aud of ['authenticated', ['rawlog-link', 'authenticated']]) {
      const authorization = `Bearer ${await forged({ aud })}`;
      expectError(await send(`${target.url}/api/status`, { headers: { authorization } }), 401, 'unauthorized');
    }
    // none of these attempts used it up
    expect((await exchange(code)).status).toBe(200);
  } finally {
    await anyone.stop();
  }
});

test('rejects bearer tokens and invalid codes', async () => {
  const { body } = await exchange(await codeOf('--role', 'admin'));
  for (const code of [
    body.token,
    await token({ sub: 'ada', role: 'admin' }),
    await forged({ use: undefined }),
    await forged({ use: 'session' }),
    await forged({ aud: 'authenticated' }),
    await forged({ jti: undefined }),
    await forged({ jti: '' }),
    await forged({ jti: 7 }),
    await forged({ sub: undefined }),
    await forged({ sub: 'a\u0000b' }),
    await forged({ exp: undefined }),
    await forged({ exp: secondsFromNow(86_400) }),
    await forged({ session_seconds: 1e300 }),
    await forged({ session_seconds: undefined }),
    await forged({}, 'another-secret-of-tests-of-32-byt'),
    `${(await forged({})).split('.').slice(0, 2).join('.')}.`,
    'x',
  ]) {
    const rejected = await exchange(code);
    expectError(rejected, 401, 'unauthorized');
    expect(rejected.body.message).toBe('This sign-in link is not valid');
  }
  expect((await exchange(await forged({}))).status).toBe(200);
});

test('only codes whose signature does not verify count as failed authentications', async () => {
  const limited = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '2/h' });
  try {
    const used = await forged({});
    expect((await exchange(used, limited)).status).toBe(200);
    const signed: [code: string, message: string][] = [
      [used, 'This sign-in link was already used'],
      [await forged({ exp: secondsFromNow(-1) }), 'This sign-in link has expired'],
    ];
    for (const claims of [
      { aud: 'other' },
      { jti: 'x' },
      { use: 'other' },
      { sub: '' },
      { session_seconds: 0 },
      { exp: undefined },
    ]) {
      signed.push([await forged(claims), 'This sign-in link is not valid']);
    }
    signed.push([await forged({ exp: secondsFromNow(3600) }), 'This sign-in link is not valid']);
    const expectSpecific401 = async () => {
      for (const [code, message] of signed) {
        const rejected = await exchange(code, limited);
        expectError(rejected, 401, 'unauthorized');
        expect(rejected.body.message).toBe(message);
      }
    };
    await expectSpecific401();
    const forgery = await forged({ exp: secondsFromNow(-1) }, 'another-secret-of-32-bytes-or-so');
    for (const code of [forgery, 'malformed']) expectError(await exchange(code, limited), 401, 'unauthorized');
    expectLimited(await exchange(forgery, limited), 'failed-authentication');
    await expectSpecific401();
  } finally {
    await limited.stop();
  }
});

test('reports an expired code', async () => {
  const rejected = await exchange(await forged({ iat: secondsFromNow(-700), exp: secondsFromNow(-100) }));
  expectError(rejected, 401, 'unauthorized');
  expect(rejected.body.message).toBe('This sign-in link has expired');
});

test.skipIf(isFaketimeMissing)('accepts a code for ten minutes', async () => {
  const link = async (time: string) => {
    const args = ['token', '--sub', 'ada', '--link'];
    const { stdout } = await runCli(args, { env: { JWT_SECRET: SECRET, ...clockAt(time) } });
    return stdout.trim().split('#code=')[1];
  };
  const [late, early] = [await link('2026-03-01 10:00:00'), await link('2026-03-01 10:02:00')];
  const then = await startTarget({ ...UNLIMITED, ...clockAt('2026-03-01 10:10:30') });
  try {
    expect((await exchange(early, then)).status).toBe(200);
    expect((await exchange(late, then)).body.message).toBe('This sign-in link has expired');
  } finally {
    await then.stop();
  }
});

test('rejects malformed bodies', async () => {
  const url = `${target.url}/api/session`;
  const json = { 'content-type': 'application/json' };
  expectError(await send(url, { method: 'POST', headers: json, body: '{' }), 400, 'invalid_json');
  expectError(await send(url, { method: 'POST', headers: json, body: '{}' }), 422, 'validation_failed');
  expectError(await exchange(7), 422, 'validation_failed');
  expectError(await exchange('x'.repeat(20_000)), 413, 'payload_too_large');
  expectError(
    await send(url, { method: 'POST', headers: { 'content-type': 'text/plain' }, body: 'x' }),
    415,
    'unsupported_media_type',
  );
  expectError(await send(url), 405, 'method_not_allowed');
});

test('rejects sign-in links if HS256 is not accepted', async () => {
  const env = { JWT_JWKS_URL: 'http://127.0.0.1:1/keys', JWT_ALGORITHMS: 'RS256', JWT_SECRET: SECRET };
  const other = await startTarget(env);
  try {
    expectError(await exchange(await forged({}), other), 401, 'unauthorized');
  } finally {
    await other.stop();
  }
});
