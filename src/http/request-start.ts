import { randomBytes } from 'node:crypto';
import { Elysia } from 'elysia';
import { ApiError } from '../errors.ts';
import { targetOf } from './request-target.ts';

/** Creates a generator of request IDs: a random prefix per process and a counter. */
export function createRequestIds(): () => string {
  const start = randomBytes(6).toString('hex');
  let count = 0;
  return () => `${start}-${(++count).toString(36)}`;
}

/**
 * Assigns a request ID and a start time to each request that matched a route, and sets the common response headers.
 *
 * This is a transform hook because a request hook would make Elysia parse the URL of every request, which takes longer
 * than this hook.
 */
export function requestStart(nextRequestId: () => string) {
  return new Elysia({ name: 'request-start' })
    .decorate({ requestId: '', startedAt: 0 })
    .onTransform({ as: 'global' }, (context) => {
      if (isMisrouted(context.request, context.path)) throw new ApiError('not_found');
      context.startedAt = performance.now();
      context.requestId = nextRequestId();
      Object.assign(context.set.headers, commonHeaders(context.requestId));
      // responses to other methods are not cached anyway
      if (context.request.method === 'GET') context.set.headers['cache-control'] = 'no-store';
    });
}

/**
 * Returns whether Elysia's router has matched only the end of the path. It handles requests that Bun's router has not
 * matched, and always skips a host. If the URL has none, it skips the start of the path instead.
 */
function isMisrouted(request: Request, path: string): boolean {
  return request.url.startsWith('/') && !('params' in request) && path !== targetOf(request).path;
}

/** Returns the headers that all responses share. */
export function commonHeaders(requestId: string) {
  return {
    'x-request-id': requestId, // logged as `request_id`
    'x-content-type-options': 'nosniff', // prevents content sniffing in browsers
  };
}

/** Returns {@link commonHeaders} of a JSON response as one literal, which is faster to create than by spreading. */
export function jsonHeaders(requestId: string) {
  return { 'x-request-id': requestId, 'x-content-type-options': 'nosniff', 'content-type': 'application/json' };
}
