import { Elysia } from 'elysia';
import { bundledPage } from '../../dashboard/bundle.ts' with { type: 'macro' };
import { codingWeight, GZIP, matchesEntityTag } from '../header-fields.ts';

/**
 * The page has nothing but its own files, and speaks to nobody but this server. Scripts cannot make markup of
 * text (trusted types), and no other page can show it in a frame.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/** The dashboard: `/`, and the files that it is made of. */
export function dashboard() {
  const app = new Elysia({ name: 'dashboard' });
  for (const { path, gzip } of bundledPage()) {
    const file = servedFile(path, Buffer.from(gzip, 'base64'));
    app.get(path, ({ request }) => file(request.headers), { detail: { hide: true } });
  }
  return app;
}

/** How a file is answered, by the header fields of who asks: compressed where that is understood. */
function servedFile(path: string, gzip: Buffer<ArrayBuffer>): (asked: Headers) => Response {
  const etag = `"${Bun.hash(gzip).toString(36)}"`;
  const headers = {
    'content-type': TYPES[path.split('.').at(-1) ?? ''] ?? 'text/html; charset=utf-8',
    // the names of all but the page itself change with what is in them
    'cache-control': path === '/' ? 'no-cache' : 'public, max-age=31536000, immutable',
    etag,
    vary: 'accept-encoding',
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
  return (asked) => {
    if (matchesEntityTag(asked.get('if-none-match'), etag)) return new Response(null, { status: 304, headers });
    if (codingWeight(asked.get('accept-encoding'), GZIP) > 0)
      return new Response(gzip, { headers: { ...headers, 'content-encoding': 'gzip' } });
    return new Response(Bun.gunzipSync(gzip), { headers });
  };
}
