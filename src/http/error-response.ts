import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { ApiError, type ErrorCode, type Quota } from '../errors.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import type { RecentRejection, Rejections } from '../ingest/rejections.ts';
import { ClientDisconnectedError } from '../query/caller.ts';
import { canonicalPath } from './aliases.ts';
import type { RequestHead } from './header-fields.ts';
import type { Metrics } from './metrics.ts';
import { type PlainResponse, toResponse } from './plain-response.ts';
import { commonHeaders } from './request-start.ts';
import { targetOf } from './request-target.ts';
import { STATUS_BY_CODE } from './status.ts';

/** Default Retry-After by error code, in seconds. */
const RETRY_AFTER_SECONDS: Partial<Record<ErrorCode, number>> = {
  keys_unavailable: 5,
  storage_unavailable: 1,
  storage_full: 30,
  overloaded: 1,
  queries_overloaded: 1,
  shutting_down: 5,
};

/** Hints of the original service for internal errors, by route. */
const ROUTE_HINTS: Readonly<Record<string, string>> = {
  '/log_raw_metric': 'Check analytics service connection and retry.',
  '/log_raw_analytics': 'Ensure analytics DB is reachable.',
};

/**
 * Error codes whose response closes the connection. `payload_too_large` is not among them: closing a connection while
 * a body is arriving resets it, and the client never reads the response.
 */
const CLOSES_CONNECTION: ReadonlySet<ErrorCode> = new Set(['shutting_down']);

/** Codes of rejections that follow one another at any rate, before a body is read. A burst of them shares a rejection. */
const SHARES_REJECTION: ReadonlySet<ErrorCode> = new Set(['overloaded', 'storage_full']);

/** Interval at which errors with status 503 are logged, per code and route, in milliseconds. */
const LOG_INTERVAL_MS = 1_000;

/** Status for requests whose client has disconnected, as in nginx. */
const CLIENT_CLOSED_REQUEST = 499;

/** Dependencies of the error responder. */
export interface ErrorResponseParts {
  readonly log: Logger;
  /** Returns the client's network; empty if the client has disconnected. */
  readonly addressOf: (request: RequestHead) => string;
  /** Limits failed authentication per address. */
  readonly failedAuthentications: RateLimit;
  readonly ledger: Pick<Ledger, 'reject'>;
  readonly rejections: Pick<Rejections, 'add'>;
  readonly metrics: Pick<Metrics, 'requests' | 'tokenRejected'>;
}

/** A request that failed. */
export interface FailedRequest {
  readonly request: RequestHead;
  /** The route's pattern, never the path, because paths contain user IDs. */
  readonly route: string;
  readonly requestId: string;
  /** On the monotonic clock, in milliseconds. */
  readonly startedAt: number;
  /** For recording requests: the number of items (1 if they could not be counted) and the caller, if known. */
  readonly recording?: { readonly items: number; readonly userId: string | undefined };
  /** The methods that the route supports, for `method_not_allowed`. */
  readonly allowed?: readonly string[];
}

/** Turns a thrown error into a response. */
export type ErrorResponder = (error: unknown, failed: FailedRequest) => PlainResponse;

/** The body of an error response. */
interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly request_id: string;
  /** For clients of the original service: the validation issues, `{message, hint}` or the message. */
  readonly detail: unknown;
}

/** Errors with the same code and route within a {@link LOG_INTERVAL_MS}. */
interface Burst {
  /** Errors since the last log line. */
  unlogged: number;
  latest: { apiError: ApiError; failed: FailedRequest };
  /** The rejection that all errors of the burst share. */
  rejection: RecentRejection | undefined;
}

/**
 * Creates the function that turns every error into a response. It counts the items in the ledger, stores the rejection,
 * logs the cause with the request ID, observes the request's duration, and responds with the error code's fixed text.
 *
 * Errors with status 503 come in bursts, when the server is busiest. The first error per code and route is logged
 * immediately; later ones are aggregated once per second. `overloaded` and `storage_full` errors, whose requests were
 * not read, also share a rejection without a user.
 */
export function createErrorResponder(parts: ErrorResponseParts): ErrorResponder {
  const { log, addressOf, failedAuthentications, ledger, rejections, metrics } = parts;
  const bursts = new Map<string, Burst>();

  /** Returns the same error, or `rate_limited` if the client's address has failed to authenticate too often. */
  function limitFailedAuthentication(apiError: ApiError, request: RequestHead): ApiError {
    try {
      failedAuthentications.take(addressOf(request), 1);
      return apiError;
    } catch (rateLimited) {
      return rateLimited as ApiError; // take throws nothing else
    }
  }

  function addRejection(
    apiError: ApiError,
    { route, requestId }: FailedRequest,
    items: number,
    userId: string | undefined,
  ) {
    const { code, message, issues = [] } = apiError;
    return rejections.add({ code, route, items, userId: userId ?? null, requestId, message, issues });
  }

  function logEach(apiError: ApiError, failed: FailedRequest, status: number): void {
    const entry = logEntryOf(apiError, failed, status);
    if (status >= 500) log.error(entry, 'request failed');
    // at debug level, so that a client over its limit cannot fill the log
    else if (status === 429) log.debug(entry, 'request rate-limited');
    else log.info(entry, 'request rejected');
  }

  /** Logs the first error of a burst at once and the later ones once per interval. */
  function logBurst(apiError: ApiError, failed: FailedRequest, status: number): Burst {
    const key = `${apiError.code} ${failed.route}`;
    let burst = bursts.get(key);
    if (burst) {
      burst.unlogged++;
      burst.latest = { apiError, failed };
      return burst;
    }
    log.error({ ...logEntryOf(apiError, failed, status), rejections: 1 }, 'request failed');
    burst = { unlogged: 0, latest: { apiError, failed }, rejection: undefined };
    bursts.set(key, burst);
    schedule(key, burst, status);
    return burst;
  }

  function schedule(key: string, burst: Burst, status: number): void {
    const timer = setTimeout(() => {
      burst.rejection = undefined;
      if (burst.unlogged === 0) {
        bursts.delete(key);
        return;
      }
      const { apiError, failed } = burst.latest;
      log.error({ ...logEntryOf(apiError, failed, status), rejections: burst.unlogged }, 'requests failed');
      burst.unlogged = 0;
      schedule(key, burst, status);
    }, LOG_INTERVAL_MS);
    timer.unref(); // must not delay process exit
  }

  return (error, failed) => {
    const { request, route, requestId, startedAt, recording, allowed } = failed;
    if (error instanceof ClientDisconnectedError) {
      metrics.requests(request.method, route, CLIENT_CLOSED_REQUEST)((performance.now() - startedAt) / 1000);
      return { status: CLIENT_CLOSED_REQUEST, headers: {}, body: null };
    }
    let apiError = ensureApiError(error);
    const tokenRejection = apiError.code === 'keys_unavailable' ? 'keys_unavailable' : apiError.tokenRejection;
    if (tokenRejection) metrics.tokenRejected(tokenRejection);
    // a token with a valid signature, such as an expired one, is not a guess, and its client needs the reason
    if (apiError.code === 'unauthorized' && !apiError.isSigned) {
      apiError = limitFailedAuthentication(apiError, request);
    }
    const { code } = apiError;
    const status = STATUS_BY_CODE[code];
    let burst: Burst | undefined;
    if (status === 503) burst = logBurst(apiError, failed, status);
    else logEach(apiError, failed, status);
    if (recording) {
      const { items, userId } = recording;
      ledger.reject(code, items);
      if (!SHARES_REJECTION.has(code) || !burst) addRejection(apiError, failed, items, userId);
      else if (burst.rejection) burst.rejection.items += items;
      else burst.rejection = addRejection(apiError, failed, items, undefined);
    }
    metrics.requests(request.method, route, status)((performance.now() - startedAt) / 1000);

    const headers = headersOf(apiError, requestId);
    if (code === 'unauthorized') headers['www-authenticate'] = challengeTo(request);
    if (allowed) headers['allow'] = allowed.join(', ');
    return { status, headers, body: JSON.stringify(bodyOf(apiError, status, requestId, route)) };
  };
}

/**
 * Creates the error hook, for all routes except those that catch their own errors.
 *
 * @param routes returns all routes of the app, to distinguish 405 from 404
 * @param nextRequestId returns an ID for a request that matched no route
 */
export function errorHandling(respond: ErrorResponder, routes: () => readonly Route[], nextRequestId: () => string) {
  // Parameters are destructured because Elysia inspects a hook's source to determine which context properties it uses.
  // Otherwise, Elysia would parse cookies and the query of every request and add a getter.
  return new Elysia({ name: 'errors' })
    .decorate({ requestId: '', startedAt: 0 })
    .onError({ as: 'global' }, ({ error, code, request, set, startedAt, requestId }) => {
      const { path } = targetOf(request);
      const matching = routes().filter((route) => matchesPattern(path, route.path));
      const isUnmatched = code === 'NOT_FOUND';
      // Elysia responds to an unsupported method as to an unknown path
      const allowed = isUnmatched && matching.length > 0 ? methodsOf(matching) : undefined;
      const unmatchedCode = allowed ? 'method_not_allowed' : 'not_found';
      const response = respond(isUnmatched ? new ApiError(unmatchedCode) : error, {
        request,
        route: matching[0] ? canonicalPath(matching[0].path) : 'unmatched',
        // empty if the request matched no route
        requestId: requestId || nextRequestId(),
        startedAt: startedAt || performance.now(),
        ...(allowed && { allowed }),
      });
      set.status = response.status;
      // earlier hooks set these headers for a successful response
      for (const name of Object.keys(response.headers)) delete set.headers[name];
      return toResponse(response);
    });
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** Returns whether a path matches a route's pattern, in which `:name` matches any non-empty segment. */
function matchesPattern(path: string, pattern: string): boolean {
  const parts = pattern.split('/');
  const segments = path.split('/');
  const matches = (part: string, segment = '') => (part.startsWith(':') ? segment !== '' : part === segment);
  return parts.length === segments.length && parts.every((part, i) => matches(part, segments[i]));
}

/** Returns the methods that routes support. GET routes also support HEAD. */
function methodsOf(routes: readonly Route[]): string[] {
  return [...new Set(routes.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))];
}

/** Returns a thrown value as an API error; anything else becomes `internal`. */
function ensureApiError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError('internal', { cause: error });
}

function logEntryOf(apiError: ApiError, { request, route, requestId }: FailedRequest, status: number) {
  return {
    request_id: requestId,
    method: request.method,
    route,
    status,
    code: apiError.code,
    ...(apiError.code === 'unauthorized' && { reason: apiError.message }),
    ...(apiError.issues && { issues: apiError.issues }),
    // the reason says all there is about a token; a stack trace per bad token would only fill the log
    ...(apiError.cause !== undefined && apiError.code !== 'unauthorized' && { err: apiError.cause }),
  };
}

function headersOf(apiError: ApiError, requestId: string): Record<string, string> {
  const { code, quota } = apiError;
  const retryAfter = apiError.retryAfter ?? RETRY_AFTER_SECONDS[code];
  return {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...commonHeaders(requestId),
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(quota && quotaHeaders(quota, retryAfter)),
    ...(CLOSES_CONNECTION.has(code) && { connection: 'close' }),
  };
}

/** Returns the authentication challenge, without an error if the request has no credentials (RFC 6750, section 3.1). */
function challengeTo({ headers }: RequestHead): string {
  return headers.get('authorization')?.trim() ? 'Bearer error="invalid_token"' : 'Bearer';
}

/** Returns the header fields of draft-ietf-httpapi-ratelimit-headers-10. */
function quotaHeaders({ name, amount, window, remaining }: Quota, seconds = 0): Record<string, string> {
  return {
    'ratelimit-policy': `"${name}";q=${amount};w=${window}`,
    ratelimit: `"${name}";r=${remaining};t=${seconds}`,
  };
}

function bodyOf(apiError: ApiError, status: number, requestId: string, route: string): ErrorBody {
  const { code, message } = apiError;
  const routeHint = code === 'internal' || code === 'storage_unavailable' ? ROUTE_HINTS[route] : undefined;
  const hint = routeHint ?? apiError.hint;
  const detail = status >= 500 ? { message, hint } : (apiError.issues ?? message);
  return { code, message, hint, request_id: requestId, detail };
}
