import { Elysia } from 'elysia';
import { bundlePage } from '../../dashboard/bundle.ts' with { type: 'macro' };
import { codingWeight, GZIP, matchesEntityTag } from '../header-fields.ts';

/**
 * The dashboard's content security policy. The page loads only its own files and connects only to this server. Scripts
 * cannot turn text into markup (trusted types), and other pages cannot embed it in a frame.
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

/** Creates the routes of the dashboard: `/` and its files. */
export function dashboardRoutes() {
  const app = new Elysia({ name: 'dashboard' });
  for (const { path, gzip } of bundlePage()) {
    const respond = createFileResponder(path, Buffer.from(gzip, 'base64'));
    app.get(path, ({ request }) => respond(request.headers), { detail: { hide: true } });
  }
  return app;
}

/** Creates the responder for a file. It responds with gzip if the request headers accept it. */
function createFileResponder(path: string, gzip: Buffer<ArrayBuffer>): (requestHeaders: Headers) => Response {
  const etag = `"${Bun.hash(gzip).toString(36)}"`;
  const headers = {
    'content-type': TYPES[path.split('.').at(-1) ?? ''] ?? 'text/html; charset=utf-8',
    // all file names except the page's own include a content hash
    'cache-control': path === '/' ? 'no-cache' : 'public, max-age=31536000, immutable',
    etag,
    vary: 'accept-encoding',
    'content-security-policy': CONTENT_SECURITY_POLICY,
    'cross-origin-opener-policy': 'same-origin',
    'referrer-policy': 'no-referrer',
    'x-content-type-options': 'nosniff',
  };
  return (requestHeaders) => {
    if (matchesEntityTag(requestHeaders.get('if-none-match'), etag))
      return new Response(null, { status: 304, headers });
    if (codingWeight(requestHeaders.get('accept-encoding'), GZIP) > 0)
      return new Response(gzip, { headers: { ...headers, 'content-encoding': 'gzip' } });
    return new Response(Bun.gunzipSync(gzip), { headers });
  };
}
