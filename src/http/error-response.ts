import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { ApiError, type ErrorCode, type Quota } from '../errors.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import type { RecentRejection, Rejections } from '../ingest/rejections.ts';
import { ClientDisconnectedError } from '../query/caller.ts';
import { canonicalPath } from './aliases.ts';
import type { Metrics } from './metrics.ts';
import { commonHeaders } from './request-start.ts';
import { targetOf } from './request-target.ts';
import { STATUS_BY_CODE } from './status.ts';

/** After how many seconds a retry makes sense. */
const RETRY_AFTER: Partial<Record<ErrorCode, number>> = {
  keys_unavailable: 5,
  storage_unavailable: 1,
  storage_full: 30,
  overloaded: 1,
  queries_overloaded: 1,
  shutting_down: 5,
};

/** Hints that clients of the original service know, for errors inside the server. */
const HINTS: Readonly<Record<string, string>> = {
  '/log_raw_metric': 'Check analytics service connection and retry.',
  '/log_raw_analytics': 'Ensure analytics DB is reachable.',
};

/**
 * Close the connection after these. Not after `payload_too_large`: a connection that is closed while a body arrives is
 * reset, and the client never reads the response.
 */
const CLOSES_CONNECTION: ReadonlySet<ErrorCode> = new Set(['shutting_down']);

/** Errors of one code on one route share a log line for this long, in milliseconds, where the status is 503. */
const LOG_INTERVAL = 1_000;

/** The status of a response that nobody reads, as nginx counts it. */
const CLIENT_GONE = 499;

/** What the error response depends on. */
export interface ErrorResponseParts {
  readonly log: Logger;
  /** Returns the network of the client; empty when it has disconnected. */
  readonly addressOf: (request: Request) => string;
  /** Limits failed authentication by address. */
  readonly failedLogins: RateLimit;
  readonly ledger: Pick<Ledger, 'reject'>;
  readonly rejections: Pick<Rejections, 'add'>;
  readonly metrics: Pick<Metrics, 'requests'>;
}

/** A request that failed. */
export interface FailedRequest {
  readonly request: Request;
  /** The pattern of its route, never its path: paths carry user IDs. */
  readonly route: string;
  readonly requestId: string;
  /** On the monotonic clock, in milliseconds. */
  readonly startedAt: number;
  /** For requests that record: how many items they carry (1 where they could not be counted), and the caller, if known. */
  readonly recording?: { readonly items: number; readonly userId: string | undefined };
  /** The methods that the path accepts, for `method_not_allowed`. */
  readonly allowed?: readonly string[];
}

/** Turns a thrown error into a response. */
export type ErrorResponder = (error: unknown, failed: FailedRequest) => Response;

/** What every error response contains. */
interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly request_id: string;
  /** For clients of the original service: validation issues, `{message, hint}`, or the message. */
  readonly detail: unknown;
}

/** Errors of one code on one route while their log line is held back. */
interface Burst {
  /** Errors since the last log line. */
  rejections: number;
  latest: { apiError: ApiError; failed: FailedRequest };
  /** The rejection that all of them share. */
  kept: RecentRejection | undefined;
}

/**
 * Creates the only function that turns an error into a response: it counts the items in the ledger, keeps the
 * rejection, logs the cause under the request's ID, times the request, and sends text from the closed table.
 *
 * Errors with status 503 come in floods, when there is least time for them. The first of a code on a route is
 * logged at once, the others once per second with their number; `overloaded` ones, whose requests were not
 * read, also share one rejection without a user.
 */
export function createErrorResponder(parts: ErrorResponseParts): ErrorResponder {
  const { log, addressOf, failedLogins, ledger, rejections, metrics } = parts;
  const bursts = new Map<string, Burst>();

  /** Returns the same failure, or `rate_limited` when its address has failed to authenticate too often. */
  function limited(apiError: ApiError, request: Request): ApiError {
    try {
      failedLogins.take(addressOf(request), 1);
      return apiError;
    } catch (tooMany) {
      return tooMany as ApiError; // the only thing that take throws
    }
  }

  function keep(apiError: ApiError, { route, requestId }: FailedRequest, items: number, userId: string | undefined) {
    const { code, message, issues = [] } = apiError;
    return rejections.add({ code, route, items, userId: userId ?? null, requestId, message, issues });
  }

  function logEach(apiError: ApiError, failed: FailedRequest, status: number): void {
    const entry = entryOf(apiError, failed, status);
    if (status >= 500) log.error(entry, 'request failed');
    // a client over its limit would otherwise fill the log
    else if (status === 429) log.debug(entry, 'request limited');
    else log.info(entry, 'request rejected');
  }

  /** Logs the first error of a burst, and then once per interval what has come since. */
  function logBurst(apiError: ApiError, failed: FailedRequest, status: number): Burst {
    const key = `${apiError.code} ${failed.route}`;
    let burst = bursts.get(key);
    if (burst) {
      burst.rejections++;
      burst.latest = { apiError, failed };
      return burst;
    }
    log.error({ ...entryOf(apiError, failed, status), rejections: 1 }, 'request failed');
    burst = { rejections: 0, latest: { apiError, failed }, kept: undefined };
    bursts.set(key, burst);
    schedule(key, burst, status);
    return burst;
  }

  function schedule(key: string, burst: Burst, status: number): void {
    const timer = setTimeout(() => {
      burst.kept = undefined;
      if (burst.rejections === 0) {
        bursts.delete(key);
        return;
      }
      const { apiError, failed } = burst.latest;
      log.error({ ...entryOf(apiError, failed, status), rejections: burst.rejections }, 'requests failed');
      burst.rejections = 0;
      schedule(key, burst, status);
    }, LOG_INTERVAL);
    timer.unref(); // the process may end before
  }

  return (error, failed) => {
    const { request, route, requestId, startedAt, recording, allowed } = failed;
    if (error instanceof ClientDisconnectedError) {
      metrics.requests(request.method, route, CLIENT_GONE)((performance.now() - startedAt) / 1000);
      return new Response(null, { status: CLIENT_GONE });
    }
    let apiError = toApiError(error);
    // an expired token of the product is not a guess, and its client needs to know why it is rejected
    if (apiError.code === 'unauthorized' && !apiError.isSigned) apiError = limited(apiError, request);
    const { code } = apiError;
    const status = STATUS_BY_CODE[code];
    let burst: Burst | undefined;
    if (status === 503) burst = logBurst(apiError, failed, status);
    else logEach(apiError, failed, status);
    if (recording) {
      const { items, userId } = recording;
      ledger.reject(code, items);
      if (code !== 'overloaded' || !burst) keep(apiError, failed, items, userId);
      else if (burst.kept) burst.kept.items += items;
      else burst.kept = keep(apiError, failed, items, undefined);
    }
    metrics.requests(request.method, route, status)((performance.now() - startedAt) / 1000);

    const headers = headersOf(apiError, requestId);
    if (code === 'unauthorized') headers['www-authenticate'] = challengeTo(request);
    if (allowed) headers['allow'] = allowed.join(', ');
    return new Response(JSON.stringify(bodyOf(apiError, status, requestId, route)), { status, headers });
  };
}

/**
 * Registers the error hook, for every route but those that catch their own errors.
 *
 * @param routes all routes of the app, to tell 405 from 404
 * @param nextRequestId names a request that matched no route
 */
export function errorHandling(respond: ErrorResponder, routes: () => readonly Route[], nextRequestId: () => string) {
  // Parameters are named one by one: Elysia reads a hook's source to find out what a context must have, and
  // would give every request its cookies, its query and a getter.
  return new Elysia({ name: 'errors' })
    .decorate({ requestId: '', startedAt: 0 })
    .onError({ as: 'global' }, ({ error, code, request, set, startedAt, requestId }) => {
      const { path } = targetOf(request);
      const here = routes().filter((route) => isAt(route.path, path));
      const isUnmatched = code === 'NOT_FOUND';
      // Elysia answers a wrong method as if there were no such path
      const allowed = isUnmatched && here.length > 0 ? methodsOf(here) : undefined;
      const unmatched = allowed ? 'method_not_allowed' : 'not_found';
      const response = respond(isUnmatched ? new ApiError(unmatched) : error, {
        request,
        route: here[0] ? canonicalPath(here[0].path) : 'unmatched',
        // empty where the request never reached a route
        requestId: requestId || nextRequestId(),
        startedAt: startedAt || performance.now(),
        ...(allowed && { allowed }),
      });
      set.status = response.status;
      // what the hooks before set for a good response
      for (const name of response.headers.keys()) delete set.headers[name];
      return response;
    });
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** Returns whether a path fits a route's pattern, in which a segment that begins with a colon stands for any. */
function isAt(pattern: string, path: string): boolean {
  const parts = pattern.split('/');
  const segments = path.split('/');
  const fits = (part: string, segment = '') => (part.startsWith(':') ? segment !== '' : part === segment);
  return parts.length === segments.length && parts.every((part, i) => fits(part, segments[i]));
}

/** Returns the methods of routes; GET routes answer HEAD as well. */
function methodsOf(routes: readonly Route[]): string[] {
  return [...new Set(routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))];
}

/** Returns the place of a thrown value in the closed table; anything without one is `internal`. */
function toApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError('internal', { cause: error });
}

function entryOf(apiError: ApiError, { request, route, requestId }: FailedRequest, status: number) {
  return {
    request_id: requestId,
    method: request.method,
    route,
    status,
    code: apiError.code,
    ...(apiError.code === 'unauthorized' && { reason: apiError.message }),
    ...(apiError.issues && { issues: apiError.issues }),
    ...(apiError.cause !== undefined && { err: apiError.cause }),
  };
}

function headersOf(apiError: ApiError, requestId: string): Record<string, string> {
  const { code, quota } = apiError;
  const retryAfter = apiError.retryAfter ?? RETRY_AFTER[code];
  return {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...commonHeaders(requestId),
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(quota && quotaHeaders(quota, retryAfter)),
    ...(CLOSES_CONNECTION.has(code) && { connection: 'close' }),
  };
}

/** RFC 6750, section 3.1: a request without credentials is told no error. */
function challengeTo({ headers }: Request): string {
  return headers.get('authorization')?.trim() ? 'Bearer error="invalid_token"' : 'Bearer';
}

/** Returns the fields of draft-ietf-httpapi-ratelimit-headers-10. */
function quotaHeaders({ name, amount, window, remaining }: Quota, seconds = 0): Record<string, string> {
  return {
    'ratelimit-policy': `"${name}";q=${amount};w=${window}`,
    ratelimit: `"${name}";r=${remaining};t=${seconds}`,
  };
}

function bodyOf(apiError: ApiError, status: number, requestId: string, route: string): ErrorBody {
  const { code, message } = apiError;
  const routeHint = code === 'internal' || code === 'storage_unavailable' ? HINTS[route] : undefined;
  const hint = routeHint ?? apiError.hint;
  const detail = status >= 500 ? { message, hint } : (apiError.issues ?? message);
  return { code, message, hint, request_id: requestId, detail };
}
