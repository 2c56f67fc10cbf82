import { cors } from '@elysiajs/cors';
import { Elysia } from 'elysia';
import type { Origins } from '../formats/origins.ts';
import { isToken, listMembers } from './header-fields.ts';

/** How long a browser may keep the answer to its preflight, in seconds. */
const PREFLIGHT_LASTS = 600;

/** The header fields that the routes read. */
const KNOWN_HEADERS = ['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'X-Act-As-User-Id'];

/** The most characters of header names that a preflight may ask for. */
const MAX_REQUESTED_HEADERS = 1024;

/**
 * Lets pages of the listed origins call the routes, and no others, with any header fields: tracing libraries add
 * their own. Tokens travel in a header that the page sets itself, so no credentials of the browser are allowed along.
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
        // as a function: the plugin's own comparison of texts knows names of Object.prototype as well
        origin: isAllowed,
        methods: ['GET', 'POST', 'DELETE'],
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
        maxAge: PREFLIGHT_LASTS,
      }),
    );
}

/** Returns the further header names that a preflight asks for; none if there are too many, or one is not a name. */
function requestedHeaders(headers: Headers): string[] {
  const field = headers.get('access-control-request-headers') ?? '';
  const names = field.length > MAX_REQUESTED_HEADERS ? [] : listMembers(field);
  if (!names.every(isToken)) return [];
  const known = new Set(KNOWN_HEADERS.map((name) => name.toLowerCase()));
  return names.filter((name) => !known.has(name.toLowerCase()));
}
