import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { createRemoteKeys, type RemoteKeys } from '../../src/auth/jwks.ts';
import { createLog } from '../../src/log.ts';
import { createIssuerKey, startJwksServer } from '../harness/jwks-server.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/*
 * The refresh of remote keys over minutes and hours, with a real server and a clock that the test sets.
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

/** Resolves once the issuer has received a number of requests, to wait for a background fetch. */
async function requests(count: number): Promise<void> {
  while (issuer.state.requests < count) await new Promise(setImmediate);
}

describe('keys', () => {
  test('are refreshed in the background once they are 5 minutes old', async () => {
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
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

  test('are rejected after the next refresh once the issuer has withdrawn them', async () => {
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
    await find('k1');
    issuer.state.keys = [(await createIssuerKey('k2')).jwk];
    clock += 6 * MINUTE;
    await find('k1'); // served stale during the refresh
    await requests(2);
    await keys.warmUp(); // joins the fetch in progress, or starts another
    expect(find('k1')).rejects.toThrow('no applicable key');
  });

  test('are accepted during an outage of up to 24 hours', async () => {
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
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

describe('unknown key IDs', () => {
  test('cause one fetch per 30 seconds', async () => {
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
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

  test('are accepted after 30 seconds if the issuer has rotated its keys', async () => {
    const next = await createIssuerKey('k2');
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
    await find('k1');
    await expect(find('x')).rejects.toThrow();
    issuer.state.keys.push(next.jwk);
    await expect(find('k2')).rejects.toThrow();
    clock += 31_000;
    await find('k2');
  });
});

test('a byte order mark before the key set is ignored', async () => {
  const { jwk } = await createIssuerKey('k1');
  issuer.state.response = () => new Response(`\ufeff${JSON.stringify({ keys: [jwk] })}`);
  await find('k1');
});

describe('a failing issuer', () => {
  test.each([301, 302, 303, 307, 308])('is not followed when it redirects with %d', async (status) => {
    const other = startJwksServer();
    other.state.keys = [(await createIssuerKey('k1')).jwk];
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
  ])('is rejected when it sends more than 1 MB, %s', async (_name, respond) => {
    const { jwk } = await createIssuerKey('k1');
    const setOf = (bytes: number) => JSON.stringify({ keys: [jwk] }).padEnd(bytes);
    issuer.state.response = () => respond(setOf(1024 ** 2 + 1));
    await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    issuer.state.response = () => respond(setOf(1024 ** 2));
    clock += 1_001;
    await find('k1');
  });

  test('is retried for an unknown key ID after a second, not for every token', async () => {
    const next = await createIssuerKey('k2');
    issuer.state.keys = [(await createIssuerKey('k1')).jwk];
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
    // a known key requires no fetch
    await find('k1');
    expect(issuer.state.requests).toBe(4);
  });

  test('that never completes its response times out after 5 seconds', async () => {
    issuer.state.response = () =>
      new Response(new ReadableStream({ start: (c) => c.enqueue(Buffer.from('{"keys":[')) }));
    const before = performance.now();
    await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
    expect(performance.now() - before).toBeLessThan(15_000);
  });
});

test('concurrent lookups share the first fetch', async () => {
  issuer.state.keys = [(await createIssuerKey('k1')).jwk];
  await Promise.all(Array.from({ length: 100 }, () => find('k1')));
  expect(issuer.state.requests).toBe(1);
});

test('an issuer that is down at first is retried after a second, not for every token', async () => {
  issuer.state.response = down;
  for (let i = 0; i < 10; i++) await expect(find('k1')).rejects.toMatchObject({ code: 'keys_unavailable' });
  expect(issuer.state.requests).toBe(1);
  issuer.state.response = undefined;
  issuer.state.keys = [(await createIssuerKey('k1')).jwk];
  clock += 1_001;
  await find('k1');
});
