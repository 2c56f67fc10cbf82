import { afterAll, beforeAll, expect, test } from 'bun:test';
import { rawRequest } from '../harness/raw-http.ts';
import { startTarget, type Target } from '../harness/target.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(async () => {
  await target?.stop();
});

/** Requests a file of the page without decompressing it. */
async function get(path: string, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(target.url + path, { headers, decompress: false });
}

/** Returns the paths that the page's HTML refers to. */
async function referencedFiles(): Promise<string[]> {
  const html = await (await get('/')).text();
  return [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address = '']) => address);
}

test('serves the page and its files without a token, with correct content types', async () => {
  const page = await get('/');
  expect(page.status).toBe(200);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const files = await referencedFiles();
  const types = await Promise.all(files.map(async (file) => (await get(file)).headers.get('content-type')));
  expect(types.toSorted()).toEqual(['image/svg+xml', 'text/css; charset=utf-8', 'text/javascript; charset=utf-8']);
});

test('loads nothing from other origins and contains no inline code', async () => {
  const html = await (await get('/')).text();
  for (const file of await referencedFiles()) expect(file).toStartWith('/assets/');
  expect(html).not.toMatch(/<script[^>]*>[^<]/);
  expect(html).not.toMatch(/<style|style=|\son\w+=|javascript:/i);
  for (const path of ['/', ...(await referencedFiles())]) {
    const { headers } = await get(path);
    const policy = headers.get('content-security-policy') ?? '';
    expect(policy.split('; ')).toContain("default-src 'none'");
    expect(policy.split('; ')).toContain("script-src 'self'");
    expect(policy.split('; ')).toContain("style-src 'self'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:|data:/);
    expect(headers.get('x-content-type-options')).toBe('nosniff');
    expect(headers.get('referrer-policy')).toBe('no-referrer');
  }
});

test('serves less than 150 KB in total, compressed', async () => {
  const sizes = await Promise.all(
    ['/', ...(await referencedFiles())].map(async (path) => {
      const response = await get(path, { 'accept-encoding': 'gzip, deflate, br' });
      expect(response.headers.get('content-encoding')).toBe('gzip');
      return (await response.arrayBuffer()).byteLength;
    }),
  );
  expect(Math.max(...sizes)).toBeGreaterThan(10_000);
  expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(150_000);
});

test('compresses the page only for clients that accept gzip', async () => {
  for (const path of ['/', ...(await referencedFiles())]) {
    const plain = await get(path, { 'accept-encoding': 'identity' });
    expect(plain.headers.get('content-encoding')).toBeNull();
    const text = await plain.text();
    for (const accepted of ['gzip', 'br;q=1.0, gzip;q=0.8', '*', 'GZIP']) {
      const packed = await get(path, { 'accept-encoding': accepted });
      expect(packed.headers.get('content-encoding')).toBe('gzip');
      expect(packed.headers.get('vary')).toContain('accept-encoding');
      expect(Buffer.from(Bun.gunzipSync(await packed.arrayBuffer())).toString()).toBe(text);
    }
    for (const unsupported of ['gzip;q=0', 'gzip; q=0.000', 'br', 'xgzip']) {
      expect((await get(path, { 'accept-encoding': unsupported })).headers.get('content-encoding')).toBeNull();
    }
  }
});

test('returns 304 for an unchanged page and lets browsers cache its assets', async () => {
  const page = await get('/');
  expect(page.headers.get('cache-control')).toBe('no-cache');
  const again = await get('/', { 'if-none-match': page.headers.get('etag') ?? '' });
  expect([again.status, await again.text()]).toEqual([304, '']);
  for (const file of await referencedFiles()) {
    expect((await get(file)).headers.get('cache-control')).toBe('public, max-age=31536000, immutable');
  }
});

test('supports HEAD and reports the allowed methods', async () => {
  const head = await fetch(`${target.url}/`, { method: 'HEAD' });
  expect(head.status).toBe(200);
  const wrong = await fetch(`${target.url}/`, { method: 'POST' });
  expect([wrong.status, wrong.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  const missing = await fetch(`${target.url}/assets/none.js`);
  expect(missing.status).toBe(404);
  const raw = await rawRequest(target.url, [
    'GET /?view=metric&name=x HTTP/1.1',
    'Host: a',
    'Connection: close',
    '',
    '',
  ]);
  expect(raw).toStartWith('HTTP/1.1 200');
});
