import { Elysia } from 'elysia';
import { bundlePage } from '../../dashboard/bundle.ts' with { type: 'macro' };
import type { Origins } from '../../formats/origins.ts';
import { codingWeight, GZIP, matchesEntityTag } from '../header-fields.ts';

/**
 * The dashboard's content security policy, except for who may embed it in a frame. The page loads only its own files and
 * connects only to this server. Scripts cannot turn text into markup (trusted types).
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

/** All other file names include a content hash. */
const CACHING: Readonly<Record<string, string>> = { '/': 'no-cache', '/share': 'no-store', '/embed': 'no-store' };

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/** Paths of the page. `/share` and `/embed` show a shared board, whose link is in the fragment. */
const PAGE_PATHS = ['/', '/share', '/embed'];

/**
 * Creates the routes of the dashboard: the page and its files.
 *
 * @param embedOrigins the origins whose pages may embed `/embed`; nobody may embed the other paths
 */
export function dashboardRoutes(embedOrigins: Origins | undefined) {
  const app = new Elysia({ name: 'dashboard' });
  for (const { path, gzip } of bundlePage()) {
    const content = Buffer.from(gzip, 'base64');
    for (const route of path === '/' ? PAGE_PATHS : [path]) {
      const ancestors = route === '/embed' ? embedOrigins?.sources.join(' ') : undefined;
      const respond = createFileResponder(route, content, ancestors || "'none'");
      app.get(route, ({ request }) => respond(request.headers), { detail: { hide: true } });
    }
  }
  return app;
}

/** Creates the responder for a file. It responds with gzip if the request headers accept it. */
function createFileResponder(
  path: string,
  gzip: Buffer<ArrayBuffer>,
  ancestors: string,
): (requestHeaders: Headers) => Response {
  // the policy is part of the response that a browser caches
  const etag = `"${Bun.hash(gzip).toString(36)}-${Bun.hash(ancestors).toString(36)}"`;
  const headers = {
    'content-type': TYPES[path.split('.').at(-1) ?? ''] ?? 'text/html; charset=utf-8',
    'cache-control': CACHING[path] ?? 'public, max-age=31536000, immutable',
    etag,
    vary: 'accept-encoding',
    'content-security-policy': `${CONTENT_SECURITY_POLICY}; frame-ancestors ${ancestors}`,
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
