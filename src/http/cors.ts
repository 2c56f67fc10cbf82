import { cors } from '@elysiajs/cors';

/** How long a browser may keep the answer to its preflight, in seconds. */
const PREFLIGHT_LASTS = 600;

/**
 * Lets pages of the listed origins call the routes, and no others. Tokens travel in a header that the
 * page sets itself, so no credentials of the browser are allowed along.
 */
export function corsFor(origins: readonly string[]) {
  const allowed = new Set(origins);
  return cors({
    // as a function: the plugin's own comparison of texts knows names of Object.prototype as well
    origin: (request) => allowed.has(request.headers.get('origin') ?? ''),
    methods: ['GET', 'POST', 'DELETE'],
    allowedHeaders: ['Authorization', 'Content-Type', 'Content-Encoding', 'Idempotency-Key', 'X-Act-As-User-Id'],
    exposeHeaders: [
      'X-Request-Id',
      'Idempotent-Replayed',
      'Retry-After',
      'RateLimit',
      'RateLimit-Policy',
      'X-Ingest-Lag-Rows',
      'X-Ingest-Lag-Seconds',
    ],
    credentials: false,
    maxAge: PREFLIGHT_LASTS,
  });
}
