import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createRemoteKeys, type RemoteKeys } from '../../src/auth/jwks.ts';
import { createLog } from '../../src/log.ts';
import { issuerKey, startJwksServer } from '../harness/jwks-server.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/*
 * What takes minutes and hours: a real server, and a clock that the test sets.
 */
let clock: number;
let issuer: ReturnType<typeof startJwksServer>;
let keys: RemoteKeys;
beforeEach(() => {
  clock = Date.UTC(2026, 0, 1);
  issuer = startJwksServer();
  keys = createRemoteKeys(new URL(issuer.url), () => clock, createLog('silent'));
});
afterEach(() => issuer.stop());

const find = (kid: string) => keys.find({ alg: 'ES256', kid });
const down = () => new Response('down', { status: 500 });

/** Resolves once the issuer has had so many requests: a background fetch is seen, not waited for by time. */
async function requests(count: number): Promise<void> {
  while (issuer.state.requests < count) await new Promise(setImmediate);
}

describe('the age of keys', () => {
  test('young keys are not fetched again; older ones are, in the background', async () => {
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    clock += 4 * MINUTE;
    await find('k1');
    expect(issuer.state.requests).toBe(1);
    clock += 2 * MINUTE;
    await find('k1');
    await requests(2);
    await find('k1');
    expect(issuer.state.requests).toBe(2);
  });

  test('a withdrawn key is refused once it has been seen to be gone', async () => {
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    issuer.state.keys = [(await issuerKey('k2')).jwk];
    clock += 6 * MINUTE;
    await find('k1'); // stale, and being refreshed
    await requests(2);
    await keys.warmUp(); // joins the fetch under way, or makes one more
    expect(find('k1')).rejects.toThrow('no applicable key');
  });

  test('keys are served stale through an outage of hours, but not for ever', async () => {
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    issuer.state.response = down;
    for (let hour = 1; hour <= 23; hour++) {
      clock += HOUR;
      await find('k1');
    }
    clock += 2 * HOUR;
    expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    await requests(2);
    issuer.state.response = undefined;
    clock += MINUTE;
    await find('k1');
  });
});

describe('unknown key ids', () => {
  test('cause one fetch in 30 s', async () => {
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    for (let i = 0; i < 20; i++) expect(find(`x${i}`)).rejects.toThrow('no applicable key');
    await expect(find('y')).rejects.toThrow('no applicable key');
    expect(issuer.state.requests).toBe(2);
    clock += 29_000;
    await expect(find('z')).rejects.toThrow('no applicable key');
    expect(issuer.state.requests).toBe(2);
    clock += 2_000;
    await expect(find('z')).rejects.toThrow('no applicable key');
    expect(issuer.state.requests).toBe(3);
  });

  test('a rotation within that time is seen at its end', async () => {
    const next = await issuerKey('k2');
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    await expect(find('x')).rejects.toThrow();
    issuer.state.keys.push(next.jwk);
    await expect(find('k2')).rejects.toThrow();
    clock += 31_000;
    await find('k2');
  });
});

test('a byte order mark before the key set is dropped', async () => {
  const { jwk } = await issuerKey('k1');
  issuer.state.response = () => new Response(`\ufeff${JSON.stringify({ keys: [jwk] })}`);
  await find('k1');
});

describe('a failing issuer', () => {
  test.each([301, 302, 303, 307, 308])('that redirects (%d) is not followed', async (status) => {
    const other = startJwksServer();
    other.state.keys = [(await issuerKey('k1')).jwk];
    issuer.state.response = () => new Response(null, { status, headers: { location: other.url } });
    await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(other.state.requests).toBe(0);
    await other.stop();
  });

  test.each([
    ['plain', (body: string) => new Response(body)],
    [
      'compressed',
      (body: string) => new Response(Bun.gzipSync(Buffer.from(body)), { headers: { 'content-encoding': 'gzip' } }),
    ],
  ])('that sends more than 1 MB, %s, has no keys', async (_name, respond) => {
    const { jwk } = await issuerKey('k1');
    const setOf = (bytes: number) => JSON.stringify({ keys: [jwk] }).padEnd(bytes);
    issuer.state.response = () => respond(setOf(1024 ** 2 + 1));
    await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    issuer.state.response = () => respond(setOf(1024 ** 2));
    clock += 1_001;
    await find('k1');
  });

  test('is asked again for an unknown key ID after a second, though not for each token', async () => {
    const next = await issuerKey('k2');
    issuer.state.keys = [(await issuerKey('k1')).jwk];
    await find('k1');
    issuer.state.response = down;
    for (let i = 0; i < 20; i++) await expect(find(`x${i}`)).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(issuer.state.requests).toBe(2);
    clock += 1_001;
    await expect(find('k2')).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(issuer.state.requests).toBe(3);
    issuer.state.response = undefined;
    issuer.state.keys.push(next.jwk);
    clock += 1_001;
    await find('k2');
    // and a known key needed none of that
    await find('k1');
    expect(issuer.state.requests).toBe(4);
  });

  test('that never ends its answer is given up after 5 s', async () => {
    issuer.state.response = () =>
      new Response(new ReadableStream({ start: (c) => c.enqueue(Buffer.from('{"keys":[')) }));
    const before = performance.now();
    await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(performance.now() - before).toBeLessThan(15_000);
  });
});

test('many at once share one first fetch', async () => {
  issuer.state.keys = [(await issuerKey('k1')).jwk];
  await Promise.all(Array.from({ length: 100 }, () => find('k1')));
  expect(issuer.state.requests).toBe(1);
});

test('a server that is down at first is asked again after a second, not at every token', async () => {
  issuer.state.response = down;
  for (let i = 0; i < 10; i++) await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
  expect(issuer.state.requests).toBe(1);
  issuer.state.response = undefined;
  issuer.state.keys = [(await issuerKey('k1')).jwk];
  clock += 1_001;
  await find('k1');
});
