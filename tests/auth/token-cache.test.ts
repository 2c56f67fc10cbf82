import { beforeEach, describe, expect, test } from 'bun:test';
import { type CachedVerifier, cacheVerified } from '../../src/auth/token-cache.ts';
import { createVerifier } from '../../src/auth/verifier.ts';
import { SECRET } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The real verifier with counted calls and a clock that the test sets.
 */
let clock: number;
let verifications: number;
let verify: CachedVerifier;
beforeEach(async () => {
  clock = Date.now();
  verifications = 0;
  const options = {
    algorithms: ['HS256'],
    audiences: undefined,
    leewaySeconds: 5,
    maxAgeSeconds: undefined,
    issuer: undefined,
    roleClaim: 'role',
    adminRoles: ['admin'],
    viewerRoles: [],
    publicKey: undefined,
  } as const;
  const verifyUncached = await createVerifier({
    ...options,
    secrets: [SECRET],
    operatorSecrets: [],
    remoteKeys: undefined,
    now: () => clock,
  });
  verify = cacheVerified(
    (text) => {
      verifications++;
      return verifyUncached(text);
    },
    () => clock,
  );
});

const inSeconds = (seconds: number) => Math.floor(clock / 1000) + seconds;

describe('a verified token', () => {
  test('is returned from the cache without a promise, with the principal of that token', async () => {
    const exp = inSeconds(60);
    const [anna, berta] = await Promise.all([token({ sub: 'anna', exp }), token({ sub: 'berta', role: 'admin', exp })]);
    const expiresAt = exp * 1000;
    expect(await verify(anna)).toEqual({ userId: 'anna', role: 'user', expiresAt });
    expect(await verify(berta)).toEqual({ userId: 'berta', role: 'admin', expiresAt });
    expect(verify(anna)).toEqual({ userId: 'anna', role: 'user', expiresAt });
    expect(verify(berta)).toEqual({ userId: 'berta', role: 'admin', expiresAt });
    expect(verifications).toBe(2);
  });

  test('is rejected once its exp is reached, even if it is cached', async () => {
    const text = await token({ exp: inSeconds(30) });
    await verify(text);
    clock = inSeconds(30) * 1000 - 1;
    expect(verify(text)).not.toBeInstanceOf(Promise);
    clock++;
    expect(verify(text)).rejects.toThrow('Token has expired');
  });

  test('is rejected before its nbf if the clock steps back', async () => {
    const text = await token({ nbf: inSeconds(-10) });
    await verify(text);
    clock -= 60_000;
    expect(verify(text)).rejects.toThrow('"nbf"');
  });

  test('is accepted within the leeway of its nbf and not earlier, even if it is cached', async () => {
    const text = await token({ nbf: inSeconds(6), exp: inSeconds(600) });
    await expect(Promise.resolve(verify(text))).rejects.toThrow('"nbf"');
    clock += 1_000;
    await verify(text);
    expect(verify(text)).not.toBeInstanceOf(Promise);
    clock -= 1_000;
    await expect(Promise.resolve(verify(text))).rejects.toThrow('"nbf"');
    // the leeway applies only to nbf
    clock = inSeconds(600) * 1000;
    await expect(Promise.resolve(verify(text))).rejects.toThrow('Token has expired');
  });

  test('is verified again after a minute, so that a withdrawn key takes effect', async () => {
    const text = await token();
    await verify(text);
    clock += 59_000;
    await verify(text);
    expect(verifications).toBe(1);
    clock += 2_000;
    await verify(text);
    expect(verifications).toBe(2);
  });

  test('is evicted when keys change, even if its verification is in progress', async () => {
    const text = await token();
    await verify(text);
    verify.clear();
    const inProgress = verify(text);
    verify.clear();
    await inProgress;
    await verify(text);
    expect(verifications).toBe(3);
  });
});

describe('the memory of the cache', () => {
  test('contains a token only until its exp, or for a minute', async () => {
    await verify(await token({ sub: 'anna', exp: inSeconds(30) }));
    await verify(await token({ sub: 'berta', exp: inSeconds(600) }));
    expect(verify.size()).toBe(2);
    clock = inSeconds(30) * 1000;
    while (verify.size() > 1) await new Promise(setImmediate);
    clock += 60_000;
    while (verify.size() > 0) await new Promise(setImmediate);
  });

  test('is bounded in bytes: long tokens evict the least recently used ones', async () => {
    // as long as the verifier accepts
    const long = (sub: string) => token({ sub, exp: inSeconds(50), filler: 'x'.repeat(11_000) });
    const first = await long('first');
    await verify(first);
    for (let i = 0; i < 1_200; i++) await verify(await long(String(i)));
    expect(verify.size() * first.length).toBeWithin(15 * 1024 ** 2, 16 * 1024 ** 2);
    expect(verify.find(first)).toBeUndefined();
  }, 60_000);
});

test('a forged token is never cached', async () => {
  const forged = await token({}, 'x'.repeat(32));
  for (let i = 0; i < 3; i++) await expect(Promise.resolve(verify(forged))).rejects.toThrow('signature');
  expect(verifications).toBe(3);
});
