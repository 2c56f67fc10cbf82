import { Elysia } from 'elysia';
import type { Logger } from 'pino';
import { type ErrorCode, Failure, type Quota } from '../errors.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { RateLimit } from '../ingest/rate-limit.ts';
import type { Rejections } from '../ingest/rejections.ts';
import { failedRequest } from './failed-request.ts';
import type { Metrics } from './metrics.ts';
import { commonHeaders } from './request-start.ts';
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

/** Hints that clients of the service that rawlog replaces know, where its routes fail for reasons within. */
const HINTS: Readonly<Record<string, string>> = {
  '/log_raw_metric': 'Check analytics service connection and retry.',
  '/log_raw_analytics': 'Ensure analytics DB is reachable.',
};

/** After these no further request is read: the rest of an over-long body is in the way, or the server ends. */
const CLOSES_CONNECTION: ReadonlySet<ErrorCode> = new Set(['payload_too_large', 'shutting_down']);

/** What the error handling works with. */
export interface ErrorHandlingParts {
  readonly log: Logger;
  /** All routes of the app, to tell 405 from 404. */
  readonly routes: () => readonly Route[];
  /** Names a request that never found its route. */
  readonly nextRequestId: () => string;
  /** The IP address that a request comes from; empty when it is gone. */
  readonly addressOf: (request: Request) => string;
  /** Limits failed authentication by address. */
  readonly failedLogins: RateLimit;
  readonly ledger: Ledger;
  readonly rejections: Rejections;
  readonly metrics: Metrics;
}

interface Route {
  readonly method: string;
  readonly path: string;
}

/** What the body of every error answer holds. */
export interface ErrorBody {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string;
  readonly request_id: string;
  /** For clients of the older service: a list of faults, `{message, hint}`, or the message. */
  readonly detail: unknown;
}

/**
 * The only place that turns an error into an answer. Whatever was thrown becomes a {@link Failure}
 * of the closed table, its cause is logged once under the request's id, and only the table's text is
 * sent. What could not be recorded goes into the ledger here, by its code, and among the rejections.
 */
export function errorHandling(parts: ErrorHandlingParts) {
  const { log, routes, nextRequestId, addressOf, failedLogins, ledger, rejections, metrics } = parts;

  /** The same failure, or that there were too many of its kind from this address. */
  function limited(failure: Failure, address: string): Failure {
    try {
      failedLogins.take(address, 1);
      return failure;
    } catch (tooMany) {
      return tooMany as Failure; // the only thing that take throws
    }
  }

  // Named one by one, and without `server`: Elysia reads a hook's parameters to find out what a context
  // must have, and would give every request its cookies, its query and a getter.
  return new Elysia({ name: 'errors' })
    .decorate({ requestId: '', startedAt: 0 })
    .onError({ as: 'global' }, ({ error, code, path, request, set, startedAt, requestId }) => {
      let failure = failureOf(error, code);
      if (failure.code === 'unauthorized') failure = limited(failure, addressOf(request));
      const headers: Record<string, string> = {};
      if (failure.code === 'not_found') {
        const allowed = methodsAt(path, routes());
        if (allowed.length > 0) {
          failure = new Failure('method_not_allowed');
          headers['allow'] = allowed.join(', ');
        }
      }
      const status = STATUS_BY_CODE[failure.code];
      const failed = failedRequest(request);
      if (failed) {
        const { items, sender, requestId } = failed;
        ledger.reject(failure.code, items);
        const { code, message, faults = [] } = failure;
        rejections.add({ code, route: path, items, userId: sender ?? null, requestId, message, faults });
      }
      const known = routes().find((route) => isAt(route.path, path));
      // empty where the request never found a route
      const began = (failed?.startedAt ?? startedAt) || performance.now();
      const id = (failed?.requestId ?? requestId) || nextRequestId();
      const observe = metrics.requests(request.method, known?.path ?? 'unmatched', status);
      observe((performance.now() - began) / 1000);
      if (status === 401) headers['www-authenticate'] = 'Bearer';
      if (failure.quota) Object.assign(headers, quotaHeaders(failure.quota, failure.retryAfter));
      if (CLOSES_CONNECTION.has(failure.code)) headers['connection'] = 'close';

      const entry = {
        request_id: id,
        method: request.method,
        path,
        status,
        code: failure.code,
        ...(failure.code === 'unauthorized' && { reason: failure.message }),
        ...(failure.faults && { faults: failure.faults }),
        ...(failure.cause !== undefined && { err: failure.cause }),
      };
      if (status >= 500) log.error(entry, 'request failed');
      // who is over a limit would otherwise fill the log
      else if (status === 429) log.debug(entry, 'request limited');
      else log.info(entry, 'request refused');

      set.status = status;
      Object.assign(set.headers, answerHeaders(failure, id), headers);
      return Response.json(bodyOf(failure, status, id, path), { status });
    });
}

/** The header fields of an error's answer, whatever the request was. */
export function answerHeaders(failure: Failure, requestId: string): Record<string, string> {
  const retryAfter = failure.retryAfter ?? RETRY_AFTER[failure.code];
  return {
    'content-type': 'application/json',
    'cache-control': 'no-store',
    ...commonHeaders(requestId),
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
  };
}

/** The body of an error's answer. */
export function bodyOf(failure: Failure, status: number, requestId: string, path: string): ErrorBody {
  const { code, message } = failure;
  const routeHint = code === 'internal' || code === 'storage_unavailable' ? HINTS[path] : undefined;
  const hint = routeHint ?? failure.hint;
  const detail = status >= 500 ? { message, hint } : (failure.faults ?? message);
  return { code, message, hint, request_id: requestId, detail };
}

/** Whether a path fits a route's pattern, in which a part that begins with a colon stands for any. */
function isAt(pattern: string, path: string): boolean {
  const parts = pattern.split('/');
  const segments = path.split('/');
  const fits = (part: string, segment = '') => (part.startsWith(':') ? segment !== '' : part === segment);
  return parts.length === segments.length && parts.every((part, i) => fits(part, segments[i]));
}

/** The methods that an address takes; Elysia itself answers a wrong one as if there were no such address. */
function methodsAt(path: string, routes: readonly Route[]): string[] {
  const here = routes.filter((route) => isAt(route.path, path));
  // GET routes answer HEAD as well
  const methods = here.flatMap(({ method }) => (method === 'GET' ? ['GET', 'HEAD'] : [method]));
  return [...new Set(methods)];
}

/** The fields of draft-ietf-httpapi-ratelimit-headers-10. */
function quotaHeaders({ name, amount, window, remaining }: Quota, seconds = 0): Record<string, string> {
  return {
    'ratelimit-policy': `"${name}";q=${amount};w=${window}`,
    ratelimit: `"${name}";r=${remaining};t=${seconds}`,
  };
}

/** Gives whatever was thrown its place in the closed table. What has none is `internal`. */
function failureOf(error: unknown, code: unknown): Failure {
  if (error instanceof Failure) return error;
  if (code === 'NOT_FOUND') return new Failure('not_found');
  return new Failure('internal', { cause: error });
}
