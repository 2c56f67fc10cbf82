import { cors } from '@elysiajs/cors';
import { Elysia } from 'elysia';
import type { Origins } from '../formats/origins.ts';
import { isToken, listMembers } from './header-fields.ts';

/** How long a browser may cache a preflight response, in seconds. */
const PREFLIGHT_MAX_AGE_SECONDS = 600;

/** The request headers that the routes read. */
const KNOWN_HEADERS = ['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'X-Act-As-User-Id'];

/** Maximum length of `Access-Control-Request-Headers`, in characters. */
const MAX_REQUESTED_HEADERS = 1024;

/**
 * Allows only pages from the listed origins to call the routes. Any request header is allowed, because tracing
 * libraries add their own. Credentialed requests are not allowed: a page sends its token in a header that it sets
 * itself.
 */
export function corsFor(origins: Origins) {
  const isAllowed = (request: Request) => origins.contains(request.headers.get('origin') ?? '');
  return new Elysia({ name: 'cors' })
    .onRequest(({ request, set }) => {
      if (request.method !== 'OPTIONS' || !isAllowed(request)) return;
      const names = [...KNOWN_HEADERS, ...requestedHeaders(request.headers)];
      set.headers['access-control-allow-headers'] = names.join(', ');
    })
    .use(
      cors({
        // a function, because the plugin's own string comparison also matches property names of Object.prototype
        origin: isAllowed,
        methods: ['GET', 'POST', 'PUT', 'DELETE'],
        allowedHeaders: KNOWN_HEADERS,
        exposeHeaders: [
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
        ],
        credentials: false,
        maxAge: PREFLIGHT_MAX_AGE_SECONDS,
      }),
    );
}

/** Returns the additional header names in a preflight request; none if the list is too long or a name is invalid. */
function requestedHeaders(headers: Headers): string[] {
  const field = headers.get('access-control-request-headers') ?? '';
  const names = field.length > MAX_REQUESTED_HEADERS ? [] : listMembers(field);
  if (!names.every(isToken)) return [];
  const known = new Set(KNOWN_HEADERS.map((name) => name.toLowerCase()));
  return names.filter((name) => !known.has(name.toLowerCase()));
}
