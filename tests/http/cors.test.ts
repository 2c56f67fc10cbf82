import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { METRIC, post, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';

const LISTED = ['https://app.example', 'http://localhost:5173', 'capacitor://localhost'];

let target: Target;
beforeAll(async () => {
  target = await startTarget({ JWT_SECRET: SECRET, CORS_ORIGINS: [...LISTED, 'https://*.preview.example'].join(', ') });
});
afterAll(() => target.stop());

/** Asks as a browser does before a request. */
const preflight = (origin: string, names = 'authorization,content-type', method = 'POST', path = '/log_raw_metric') =>
  send(target.url + path, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': names },
  });

describe('pages', () => {
  test.each([...LISTED, 'https://a.preview.example', 'https://b.c.preview.example'])(
    'of %p may call, and read errors too',
    async (origin) => {
      const asked = await preflight(origin);
      expect(asked.status).toBe(204);
      expect(asked.headers.get('access-control-allow-origin')).toBe(origin);
      expect(asked.headers.get('vary')?.toLowerCase()).toContain('origin');
      expect(asked.headers.get('access-control-allow-credentials')).toBeNull();
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
  ])('of %p may not', async (origin) => {
    const asked = await preflight(origin, 'traceparent');
    expect(asked.headers.get('access-control-allow-origin')).toBeNull();
    expect(asked.headers.get('access-control-allow-headers')).not.toContain('traceparent');
    const response = await post(target, '/log_raw_metric', METRIC, { origin });
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });
});

describe('a preflight allows the header fields that it asks for', () => {
  const KNOWN = 'Authorization, Content-Type, Content-Encoding, Idempotency-Key, X-Act-As-User-Id';
  const allowed = async (names: string) =>
    (await preflight('https://app.example', names)).headers.get('access-control-allow-headers');

  test('beside those that it always allows, as tracing libraries add them', async () => {
    expect(await allowed('authorization,baggage,content-type,traceparent')).toBe(`${KNOWN}, baggage, traceparent`);
    expect(await allowed('x-a , X-B,\tsentry-trace,,')).toBe(`${KNOWN}, x-a, X-B, sentry-trace`);
  });

  test.each([
    ['what is no name', 'traceparent, x y'],
    ['a field with a value', 'traceparent, x: y'],
    ['a quoted string', 'traceparent, "x"'],
    ['a name with a slash', 'a/*'],
    ['more than 1 KB', `traceparent, ${'x'.repeat(1024)}`],
  ])('but not %s', async (_name, names) => {
    expect(await allowed(names)).toBe(KNOWN);
  });

  test('on every route', async () => {
    for (const [method, path] of [
      ['GET', '/api/metrics'],
      ['DELETE', '/api/users/x'],
      ['POST', '/log_batch'],
    ] as const) {
      const asked = await preflight('https://app.example', 'traceparent', method, path);
      expect(asked.headers.get('access-control-allow-headers')).toContain('traceparent');
      expect(asked.headers.get('access-control-allow-methods')).toContain(method);
    }
  });
});

test('without CORS_ORIGINS, no page may call', async () => {
  const closed = await startTarget({ JWT_SECRET: SECRET });
  const asked = await send(`${closed.url}/log_raw_metric`, {
    method: 'OPTIONS',
    headers: { origin: 'https://app.example', 'access-control-request-method': 'POST' },
  });
  expect(asked.status).toBe(405);
  expect(asked.headers.get('access-control-allow-origin')).toBeNull();
  await closed.stop();
});
