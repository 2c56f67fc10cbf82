import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { METRIC, post, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';

const LISTED = ['https://app.example', 'http://localhost:5173', 'capacitor://localhost'];

let target: Target;
beforeAll(async () => {
  target = await startTarget({ JWT_SECRET: SECRET, CORS_ORIGINS: [...LISTED, 'https://*.preview.example'].join(', ') });
});
afterAll(() => target.stop());

/** Sends a preflight request like a browser. */
const sendPreflight = (
  origin: string,
  names = 'authorization,content-type',
  method = 'POST',
  path = '/log_raw_metric',
) =>
  send(target.url + path, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': names },
  });

describe('page origins', () => {
  test.each([...LISTED, 'https://a.preview.example', 'https://b.c.preview.example'])(
    'allows %p to send requests and read errors',
    async (origin) => {
      const preflight = await sendPreflight(origin);
      expect(preflight.status).toBe(204);
      expect(preflight.headers.get('access-control-allow-origin')).toBe(origin);
      expect(preflight.headers.get('vary')?.toLowerCase()).toContain('origin');
      expect(preflight.headers.get('access-control-allow-credentials')).toBeNull();
      for (const response of [
        await post(target, '/log_raw_metric', METRIC, { origin }),
        await post(target, '/log_raw_metric', {}, { origin }),
        await post(target, '/log_raw_metric', METRIC, { origin, authorization: '' }),
        await send(`${target.url}/none`, { headers: { origin } }),
      ]) {
        expect(response.headers.get('access-control-allow-origin')).toBe(origin);
        expect(response.headers.get('access-control-allow-credentials')).toBeNull();
        const exposed = response.headers.get('access-control-expose-headers')?.split(', ');
        for (const name of [
          'X-Request-Id',
          'Idempotent-Replayed',
          'Date',
          'Retry-After',
          'RateLimit',
          'RateLimit-Policy',
          'WWW-Authenticate',
          'Content-Disposition',
          'X-Ingest-Lag-Rows',
          'X-Ingest-Lag-Seconds',
        ]) {
          expect(exposed).toContain(name);
        }
      }
    },
  );

  test.each([
    'https://evil.example',
    'https://app.example.evil.example',
    'http://app.example',
    'https://preview.example',
    'https://evilpreview.example',
    'https://a.preview.example:8443',
    'https://a.preview.example.evil.example',
    'http://a.preview.example',
    'capacitor://evil',
    'null',
    'constructor',
    '',
  ])('does not allow %p', async (origin) => {
    const preflight = await sendPreflight(origin, 'traceparent');
    expect(preflight.headers.get('access-control-allow-origin')).toBeNull();
    expect(preflight.headers.get('access-control-allow-headers')).not.toContain('traceparent');
    const response = await post(target, '/log_raw_metric', METRIC, { origin });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('requested header fields', () => {
  const KNOWN = 'Authorization, Content-Type, Content-Encoding, Idempotency-Key, X-Act-As-User-Id';
  const allowed = async (names: string) =>
    (await sendPreflight('https://app.example', names)).headers.get('access-control-allow-headers');

  // tracing libraries add header fields to every request
  test('allows requested fields in addition to the default ones', async () => {
    expect(await allowed('authorization,baggage,content-type,traceparent')).toBe(`${KNOWN}, baggage, traceparent`);
    expect(await allowed('x-a , X-B,\tsentry-trace,,')).toBe(`${KNOWN}, x-a, X-B, sentry-trace`);
  });

  test.each([
    ['an invalid name', 'traceparent, x y'],
    ['a field with a value', 'traceparent, x: y'],
    ['a quoted string', 'traceparent, "x"'],
    ['a name with a slash', 'a/*'],
    ['more than 1 KB', `traceparent, ${'x'.repeat(1024)}`],
  ])('does not allow %s', async (_name, names) => {
    expect(await allowed(names)).toBe(KNOWN);
  });

  test('allows requested fields on every route', async () => {
    for (const [method, path] of [
      ['GET', '/api/metrics'],
      ['DELETE', '/api/users/x'],
      ['POST', '/log_batch'],
    ] as const) {
      const preflight = await sendPreflight('https://app.example', 'traceparent', method, path);
      expect(preflight.headers.get('access-control-allow-headers')).toContain('traceparent');
      expect(preflight.headers.get('access-control-allow-methods')).toContain(method);
    }
  });
});

test('allows no origin without CORS_ORIGINS', async () => {
  const closed = await startTarget({ JWT_SECRET: SECRET });
  const preflight = await send(`${closed.url}/log_raw_metric`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
  });
  expect(preflight.status).toBe(405);
  expect(preflight.headers.get('access-control-allow-origin')).toBeNull();
  await closed.stop();
});
