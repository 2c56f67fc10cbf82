import { afterAll, afterEach, beforeAll, describe, expect, test } from 'bun:test';
import { expectError, METRIC, post } from '../harness/client.ts';
import { createIssuerKey, startJwksServer } from '../harness/jwks-server.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let issuer: ReturnType<typeof startJwksServer> | undefined;
let target: Target | undefined;
afterEach(async () => {
  await target?.stop();
  await issuer?.stop();
  target = issuer = undefined;
});

async function start(keys: object[], env: Record<string, string> = {}) {
  issuer = startJwksServer();
  issuer.state.keys = keys;
  target = await startTarget({ JWT_JWKS_URL: issuer.url, JWT_ALGORITHMS: 'ES256', ...env });
  return { issuer, target };
}

function record(at: Target, tokenText: string) {
  return post(at, '/log_raw_metric', METRIC, { authorization: `Bearer ${tokenText}` });
}

describe('keys from a JWKS URL', () => {
  test('verifies tokens of the issuer with keys that are fetched once', async () => {
    const key = await createIssuerKey('k1');
    const { issuer, target } = await start([key.jwk]);
    for (let i = 0; i < 5; i++) expect((await record(target, await key.sign())).status).toBe(200);
    expect((await record(target, await key.sign({}, {}))).status).toBe(200); // a single key needs no ID
    expect(issuer.state.requests).toBe(1);
  });

  test('accepts a new key at once, and the previous key until it is withdrawn', async () => {
    const [old, next] = [await createIssuerKey('k1'), await createIssuerKey('k2')];
    const { issuer, target } = await start([old.jwk]);
    expect((await record(target, await old.sign())).status).toBe(200);
    issuer.state.keys = [next.jwk, old.jwk];
    expect((await record(target, await next.sign())).status).toBe(200);
    expect((await record(target, await old.sign())).status).toBe(200);
    expect(issuer.state.requests).toBe(2);
  });

  test('rejects a withdrawn key after the next fetch', async () => {
    const [old, next] = [await createIssuerKey('k1'), await createIssuerKey('k2')];
    const { issuer, target } = await start([old.jwk]);
    expect((await record(target, await old.sign())).status).toBe(200);
    issuer.state.keys = [next.jwk];
    expect((await record(target, await next.sign())).status).toBe(200);
    expectError(await record(target, await old.sign()), 401, 'unauthorized');
  });

  test('fetches the keys once for any number of unknown key IDs', async () => {
    const key = await createIssuerKey('k1');
    const { issuer, target } = await start([key.jwk]);
    expect((await record(target, await key.sign())).status).toBe(200);
    const forged = await Promise.all(Array.from({ length: 50 }, (_, i) => key.sign({}, { kid: `unknown-${i}` })));
    for (const response of await Promise.all(forged.map((forgedToken) => record(target, forgedToken)))) {
      expectError(response, 401, 'unauthorized');
    }
    expect(issuer.state.requests).toBe(2);
  });

  test('does not log the URL, which may contain a secret', async () => {
    const key = await createIssuerKey('k1');
    issuer = startJwksServer();
    const url = issuer.url.replace('//', '//user:hidden@').replace('jwks', 'hidden-path');
    issuer.state.response = () => new Response('down', { status: 500 });
    target = await startTarget({ JWT_JWKS_URL: `${url}?key=hidden`, JWT_ALGORITHMS: 'ES256' });
    const { logLines } = target;
    const failures = () => logLines().filter(({ msg }) => msg === 'the JWKS URL could not be fetched').length;
    await target.logged(() => failures() === 1);
    await issuer.stop();
    issuer = undefined;
    // once the backoff is over, the connection is refused
    while (failures() < 2) expectError(await record(target, await key.sign()), 503, 'keys_unavailable');
    expect(target.output().stderr).not.toContain('hidden');
  });

  test('returns 503 for a new key during an outage of the issuer, and accepts it soon after', async () => {
    const [old, next] = [await createIssuerKey('k1'), await createIssuerKey('k2')];
    const { issuer, target } = await start([old.jwk]);
    expect((await record(target, await old.sign())).status).toBe(200);
    issuer.state.response = () => new Response('down', { status: 503 });
    const response = await record(target, await next.sign());
    expectError(response, 503, 'keys_unavailable');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    issuer.state.response = undefined;
    issuer.state.keys = [old.jwk, next.jwk];
    let { status } = await record(target, await next.sign());
    for (const deadline = Date.now() + 10_000; status !== 200 && Date.now() < deadline; ) {
      ({ status } = await record(target, await next.sign()));
      expect([200, 503]).toContain(status);
    }
    expect(status).toBe(200);
  });

  test('accepts known keys during an outage of the issuer', async () => {
    const key = await createIssuerKey('k1');
    const { issuer, target } = await start([key.jwk]);
    expect((await record(target, await key.sign())).status).toBe(200);
    issuer.state.response = () => new Response('down', { status: 500 });
    expectError(await record(target, await key.sign({}, { kid: 'k9' })), 503, 'keys_unavailable');
    expect((await record(target, await key.sign())).status).toBe(200);
  });

  test('returns 503 with Retry-After instead of 401 until the keys are fetched', async () => {
    const key = await createIssuerKey('k1');
    const { port, stop } = startJwksServer();
    await stop();
    target = await startTarget({ JWT_JWKS_URL: `http://127.0.0.1:${port}/jwks.json`, JWT_ALGORITHMS: 'ES256' });
    const rejected = await record(target, await key.sign());
    expectError(rejected, 503, 'keys_unavailable');
    expect(Number(rejected.headers.get('retry-after'))).toBeGreaterThan(0);
    issuer = startJwksServer(port);
    issuer.state.keys = [key.jwk];
    let status = 0;
    for (const deadline = Date.now() + 10_000; status !== 200 && Date.now() < deadline; ) {
      ({ status } = await record(target, await key.sign()));
    }
    expect(status).toBe(200);
  });

  test.each([
    ['text', () => new Response('<html>')],
    ['no key set', () => Response.json({ hello: 1 })],
    ['a malformed key set', () => Response.json({ keys: [1, null] })],
    ['too much data', () => new Response(`{"keys":[]}${' '.repeat(2 * 1024 ** 2)}`)],
  ])('returns 503 when the URL returns %s', async (_name, response) => {
    const key = await createIssuerKey('k1');
    issuer = startJwksServer();
    issuer.state.response = response;
    target = await startTarget({ JWT_JWKS_URL: issuer.url, JWT_ALGORITHMS: 'ES256' });
    expectError(await record(target, await key.sign()), 503, 'keys_unavailable');
  });

  test('does not accept a shared secret from a key set', async () => {
    const k = Buffer.from(SECRET).toString('base64url');
    const { target } = await start([{ kty: 'oct', k, alg: 'HS256', kid: 'k1' }, (await createIssuerKey('k2')).jwk]);
    expectError(await record(target, await token()), 401, 'unauthorized');
  });

  test('accepts valid keys next to a malformed key', async () => {
    const broken = { kty: 'EC', crv: 'P-256', x: 'AAAA', y: 'AAAA', kid: 'bad', alg: 'ES256', use: 'sig' };
    const key = await createIssuerKey('k1');
    const { target } = await start([broken, key.jwk]);
    expectError(await record(target, await key.sign({}, { kid: 'bad' })), 401, 'unauthorized');
    expect((await record(target, await key.sign())).status).toBe(200);
  });

  test('accepts a shared secret and a key set, each for its algorithm', async () => {
    const key = await createIssuerKey('k1');
    const { target } = await start([key.jwk], { JWT_SECRET: SECRET, JWT_ALGORITHMS: 'HS256,ES256' });
    expect((await record(target, await token())).status).toBe(200);
    expect((await record(target, await key.sign())).status).toBe(200);
    expectError(await record(target, await token({}, 'x'.repeat(32))), 401, 'unauthorized');
  });
});

describe('a key set with many keys', () => {
  const key = (kid: string, alg: 'RS256' | 'ES256' | 'EdDSA') => createIssuerKey(kid, alg);
  let shared: Target;
  let publisher: ReturnType<typeof startJwksServer>;
  let same: Awaited<ReturnType<typeof createIssuerKey>>[];
  let unnamed: Awaited<ReturnType<typeof createIssuerKey>>[];
  let edwards: Awaited<ReturnType<typeof createIssuerKey>>[];
  let encrypting: Awaited<ReturnType<typeof createIssuerKey>>;
  beforeAll(async () => {
    same = [await key('k', 'ES256'), ...(await Promise.all(Array.from({ length: 5 }, () => key('k', 'RS256'))))];
    unnamed = await Promise.all([key('', 'ES256'), key('', 'ES256')]);
    edwards = await Promise.all([key('a', 'EdDSA'), key('b', 'EdDSA'), key('c', 'EdDSA')]);
    encrypting = await key('e', 'ES256');
    publisher = startJwksServer();
    publisher.state.keys = [
      ...same.map(({ jwk }) => jwk),
      ...unnamed.map(({ jwk: { kid, ...jwk } }) => jwk),
      ...edwards.map(({ jwk }, i) => ({ ...jwk, alg: ['Ed25519', 'EdDSA', undefined][i] })),
      { ...encrypting.jwk, use: 'enc' },
    ];
    shared = await startTarget({ JWT_JWKS_URL: publisher.url, JWT_ALGORITHMS: 'RS256,ES256,Ed25519' });
  });
  afterAll(async () => {
    await shared.stop();
    await publisher.stop();
  });

  test('verifies with the signing key among four with the same ID', async () => {
    for (const signer of same.slice(0, 5)) expect((await record(shared, await signer.sign())).status).toBe(200);
    expectError(await record(shared, await (same[5] as (typeof same)[0]).sign()), 401, 'unauthorized');
    const forged = await record(shared, await (await key('k', 'RS256')).sign());
    expect([forged.status, forged.body.message]).toEqual([401, 'Invalid token: signature verification failed']);
    const expired = await record(shared, await (same[4] as (typeof same)[0]).sign({ exp: 1 }));
    expect([expired.status, expired.body.message]).toEqual([401, 'Token has expired']);
    expect(publisher.state.requests).toBe(1);
  });

  test('tries all keys without IDs, for tokens with and without one', async () => {
    for (const signer of unnamed) {
      expect((await record(shared, await signer.sign({}, {}))).status).toBe(200);
      expect((await record(shared, await signer.sign({}, { kid: 'any' }))).status).toBe(200);
    }
    expectError(await record(shared, await (await key('', 'ES256')).sign({}, {})), 401, 'unauthorized');
  });

  test('treats Ed25519 and EdDSA as the same algorithm in settings, keys and tokens', async () => {
    for (const signer of edwards) {
      for (const alg of ['Ed25519', 'EdDSA']) {
        expect((await record(shared, await signer.sign({}, { kid: signer.jwk.kid, alg }))).status).toBe(200);
      }
    }
  });

  test('ignores an encryption key', async () => {
    expectError(await record(shared, await encrypting.sign()), 401, 'unauthorized');
  });
});
