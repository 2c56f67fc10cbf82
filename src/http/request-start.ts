import { randomBytes } from 'node:crypto';
import { Elysia } from 'elysia';
import { ApiError } from '../errors.ts';
import { targetOf } from './request-target.ts';

/** The response header that names a request; the log names it `request_id`. */
const REQUEST_ID_HEADER = 'x-request-id';

/** Makes names of requests: a part drawn at the start of the process, and a counter. */
export function createRequestIds(): () => string {
  const start = randomBytes(6).toString('hex');
  let count = 0;
  return () => `${start}-${(++count).toString(36)}`;
}

/**
 * What happens first to a request that has found its route: it gets its name, its clock is started, and
 * the header fields of every answer are set. As a transform hook, since one on every request would make
 * Elysia take the URL apart each time, which costs more than all of this.
 */
export function requestStart(nextRequestId: () => string) {
  return new Elysia({ name: 'request-start' })
    .decorate({ requestId: '', startedAt: 0 })
    .onTransform({ as: 'global' }, (context) => {
      if (isMisrouted(context.request, context.path)) throw new ApiError('not_found');
      context.startedAt = performance.now();
      context.requestId = nextRequestId();
      Object.assign(context.set.headers, commonHeaders(context.requestId));
      // answers to other methods are kept by nobody
      if (context.request.method === 'GET') context.set.headers['cache-control'] = 'no-store';
    });
}

/**
 * Returns whether Elysia's own router, which sees what Bun's has not matched, has taken the end of a path for the
 * whole: it looks behind the place where a URL's host would be, also where there is none.
 */
function isMisrouted(request: Request, path: string): boolean {
  return request.url.startsWith('/') && !('params' in request) && path !== targetOf(request).path;
}

/** The header fields of every answer. */
export function commonHeaders(requestId: string) {
  return {
    [REQUEST_ID_HEADER]: requestId,
    'x-content-type-options': 'nosniff', // browsers must not guess at types
  };
}
