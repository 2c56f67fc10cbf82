import { afterEach, describe, expect, test } from 'bun:test';
import { expectError, expectLimited, METRIC, post } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { secondsFromNow, token } from '../harness/tokens.ts';

let target: Target;
afterEach(() => target.stop());

const FORGED = token({}, 'another-secret-of-32-bytes-or-so');

/** Records with a forged token, and with an X-Forwarded-For header if one is given. */
async function fail(forwarded?: string) {
  const headers = { authorization: `Bearer ${await FORGED}`, ...(forwarded && { 'x-forwarded-for': forwarded }) };
  return post(target, '/log_raw_metric', METRIC, headers);
}

describe('failed authentication', () => {
  test('is limited per address without blocking valid tokens', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '10/h' });
    for (let i = 0; i < 10; i++) expectError(await fail(), 401, 'unauthorized');
    expectLimited(await fail(), 'failed-authentication');
    expectLimited(await post(target, '/log_raw_metric', METRIC, { authorization: '' }), 'failed-authentication');
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    // failures before the limit are logged, rejections by the limit are not
    expect(target.logLines().filter(({ status }) => status === 401)).toHaveLength(10);
    expect(target.logLines().filter(({ status }) => status === 429)).toHaveLength(0);
  });

  test('does not count tokens with a valid signature, and reports why they are rejected', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '2/h', JWT_MAX_AGE: '1h', JWT_ISSUER: 'me' });
    const rejected: [Record<string, unknown>, string][] = [
      [{ exp: secondsFromNow(-1) }, 'Token has expired'],
      [{ exp: secondsFromNow(7200) }, 'Invalid token: "exp" is too far in the future'],
      [{ exp: undefined }, 'Invalid token: "exp" is missing'],
      [{ exp: 1e300 }, 'Invalid token: "exp" is not a date'],
      [{ aud: 'other' }, 'Invalid token: "aud" is not accepted'],
      [{ iss: 'other' }, 'Invalid token: "iss" is not accepted'],
      [{ nbf: secondsFromNow(600) }, 'Invalid token: "nbf" is not accepted'],
      [{ sub: undefined }, 'User ID not found in token'],
      [{ sub: 'x'.repeat(256) }, 'Invalid token: "sub" is longer than 255 characters or has control characters'],
    ];
    const expectSpecific401 = async () => {
      for (const [claims, message] of rejected) {
        const authorization = `Bearer ${await token({ iss: 'me', ...claims })}`;
        const response = await post(target, '/log_raw_metric', METRIC, { authorization });
        expectError(response, 401, 'unauthorized');
        expect(response.body.message).toBe(message);
        expect(response.headers.get('www-authenticate')).toBe('Bearer error="invalid_token"');
      }
    };
    await expectSpecific401();
    for (let i = 0; i < 2; i++) expectError(await fail(), 401, 'unauthorized');
    expectLimited(await fail(), 'failed-authentication');
    await expectSpecific401();
  });

  test('counts a forged token regardless of its claims', async () => {
    target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '1/h' });
    const authorization = `Bearer ${await token({ exp: 1 }, 'another-secret-of-32-bytes-or-so')}`;
    expectError(await post(target, '/log_raw_metric', METRIC, { authorization }), 401, 'unauthorized');
    expectLimited(await post(target, '/log_raw_metric', METRIC, { authorization }), 'failed-authentication');
  });
});

describe('trusted proxies', () => {
  const start = async (TRUSTED_PROXIES: string, HOST = '127.0.0.1') => {
    target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '1/h', TRUSTED_PROXIES, HOST });
  };
  const expectNew = async (forwarded: string) => expectError(await fail(forwarded), 401, 'unauthorized');
  const expectKnown = async (forwarded: string) => expectLimited(await fail(forwarded), 'failed-authentication');

  test('the last address that is not a proxy is the client', async () => {
    await start('127.0.0.0/8, 10.0.0.0/8');
    await expectNew('192.0.2.1');
    await expectKnown('192.0.2.1');
    await expectNew('192.0.2.2');
    // addresses before it may have been sent by the client
    await expectKnown('203.0.113.9, 192.0.2.1');
    await expectKnown('10.0.0.1, garbage, 192.0.2.1, 10.9.9.9 ,\t10.1.1.1');
    // in every notation
    await expectKnown('192.0.2.1:4711');
    await expectKnown('::ffff:192.0.2.1');
    await expectKnown('[::ffff:c000:201]:443');
    // an IPv6 client is its /64
    await expectNew('2001:db8:1:2::1');
    await expectKnown('[2001:db8:1:2:ffff::2]:80');
    await expectNew('2001:db8:1:3::1');
    // only proxies: the first one counts
    await expectNew('10.0.0.1, 10.0.0.2');
    await expectKnown('10.0.0.1');
    // not an address: the proxy that sent it counts
    await expectNew('192.0.2.1, unknown');
    await expectKnown('_hidden');
    await expectKnown('');
  });

  test('several X-Forwarded-For fields form one list', async () => {
    await start('127.0.0.1');
    const headers = new Headers({ authorization: `Bearer ${await FORGED}`, 'x-forwarded-for': '192.0.2.9' });
    headers.append('x-forwarded-for', '192.0.2.1');
    const { status } = await fetch(`${target.url}/log_raw_metric`, { method: 'POST', headers });
    expect(status).toBe(401);
    await expectKnown('192.0.2.1');
    await expectNew('192.0.2.9');
  });

  test('an untrusted peer is the client, and its X-Forwarded-For is ignored', async () => {
    await start('10.0.0.0/8');
    await expectNew('192.0.2.1');
    await expectKnown('192.0.2.2');
  });

  test('a proxy that connects over IPv6 also matches by its IPv4 address', async () => {
    await start('127.0.0.1', '::');
    target = { ...target, url: `http://127.0.0.1:${new URL(target.url).port}` };
    await expectNew('192.0.2.1');
    await expectNew('192.0.2.2');
    await expectKnown('192.0.2.1');
  });
});

test('ignores X-Forwarded-For without trusted proxies', async () => {
  target = await startTarget({ JWT_SECRET: SECRET, AUTH_FAILURE_LIMIT: '1/h' });
  expectError(await fail('192.0.2.1'), 401, 'unauthorized');
  expectLimited(await fail('192.0.2.2'), 'failed-authentication');
});
