// types only: the page must not bundle server code
import type {
  Activity,
  Counts,
  DemoSession,
  EventPage,
  Funnel,
  MetricPage,
  OperatorStatus,
  Rejections,
  Retention,
  Series,
  Session,
  StoredEvent,
  StoredMetric,
  UserStatus,
  ZoneOffsets,
} from '../../responses.ts';

export type { BoardBody, BoardChart, ChartRange } from '../../board-bodies.ts';
export type {
  Annotation,
  Annotations,
  Board,
  Boards,
  CreatedLink,
  DrawnChart,
  SharedBoard,
  SharedLinks,
  Unit,
  Units,
} from '../../board-responses.ts';

import { syncClock } from './clock.ts';
import { demoToken } from './session.ts';

/** The status. Fields that only admins and viewers may see are missing for other users. */
export type Status = UserStatus & Partial<OperatorStatus>;

/** A metric or an event. Numbers in `data` keep their original digits. */
export type LogRecord = Pick<StoredMetric, keyof StoredMetric & keyof StoredEvent> &
  Partial<StoredMetric & StoredEvent>;

interface RecordPage {
  readonly records: readonly LogRecord[];
  readonly next_cursor: (MetricPage | EventPage)['next_cursor'];
}

/** Response types of the query routes, by path. */
export interface Responses {
  '/api/status': Status;
  '/api/activity': Activity;
  '/api/rejections': Rejections;
  '/api/metrics/series': Series;
  '/api/analytics/counts': Counts;
  '/api/analytics/funnel': Funnel;
  '/api/analytics/retention': Retention;
  '/api/zone': ZoneOffsets;
  '/api/records/metrics': RecordPage;
  '/api/records/analytics': RecordPage;
}

export type Path = keyof Responses;

/** Parameters of a query. Undefined ones are omitted. */
export type QueryParameters = Readonly<Record<string, string | number | Date | readonly string[] | undefined>>;

/** A request that failed: the server was unreachable, or it returned an error or an unreadable response. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  /** The HTTP status; 0: no response. */
  readonly status: number;
  readonly hint: string;
  readonly requestId: string | undefined;
  /** Delay before a retry; undefined: do not retry. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    status: number,
    message: string,
    hint: string,
    options: { requestId?: string; retryAfterSeconds?: number } = {},
  ) {
    super(message);
    this.status = status;
    this.hint = hint;
    this.requestId = options.requestId;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

/** Timeout of a request, in milliseconds. Longer than the default QUERY_TIMEOUT of ten seconds. */
const TIMEOUT_MS = 30_000;

let pending = 0;

/** Returns the number of queries waiting for a response. */
export function pendingQueries(): number {
  return pending;
}

/** Returns the path of a query with its query string. */
export function queryUrl(path: string, parameters: QueryParameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    for (const item of [value].flat()) query.append(name, item instanceof Date ? item.toISOString() : String(item));
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

/**
 * Sends an authenticated GET request.
 *
 * @param url a path with its query string
 * @returns the response, whose body has not been read yet
 * @throws {RequestError} when the server is unreachable or returns an error
 */
export async function request(url: string, token: string, signal: AbortSignal): Promise<Response> {
  return send(url, { headers: { authorization: `Bearer ${token}` }, signal });
}

/** Sends a request. Throws a {@link RequestError} when the server is unreachable or returns an error. */
export async function send(url: string, init: RequestInit): Promise<Response> {
  const sentAt = Date.now();
  // the routes of the demo have a prefix
  const isOfDemo = new Headers(init.headers).get('authorization') === `Bearer ${demoToken()}`;
  const path = isOfDemo ? `/demo${url}` : url;
  const response = await fetch(path, { ...init, cache: 'no-store' }).catch((error: unknown) => {
    throw toRequestError(error);
  });
  syncClock(response.headers, sentAt);
  if (response.ok) return response;
  throw await errorFromResponse(response);
}

/**
 * Exchanges the code of a sign-in link for a token.
 *
 * @throws {RequestError} when the server rejects the code
 */
export async function exchangeCode(code: string): Promise<string> {
  const response = await send('/api/session', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code }),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const { token } = (await response.json()) as Session; // the server's own type
  return token;
}

/**
 * Starts or stops the demo, which takes a few seconds.
 *
 * @param token an admin's
 * @returns the demo's token; undefined if it was stopped
 * @throws {RequestError} when the server rejects it
 */
export async function controlDemo(method: 'POST' | 'DELETE', token: string): Promise<string | undefined> {
  const response = await send('/api/demo', { method, headers: { authorization: `Bearer ${token}` } });
  const body = (await response.json()) as Partial<DemoSession>; // the server's own type
  return body.token;
}

/** Converts an error thrown by a request, or while its body was read, to a {@link RequestError}. */
export function toRequestError(error: unknown): RequestError {
  if (error instanceof RequestError) return error;
  if (error instanceof SyntaxError) return new RequestError(200, 'The response could not be read', PROXY_HINT);
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new RequestError(0, 'The request timed out', 'Try a shorter range.', { retryAfterSeconds: 5 });
  }
  const hint = 'The server may be stopped, or the network may be down.';
  return new RequestError(0, 'Cannot reach the server', hint, { retryAfterSeconds: 1 });
}

/** Hint for responses that rawlog never sends. */
const PROXY_HINT = 'A proxy between this page and the server may be misconfigured.';

async function errorFromResponse(response: Response): Promise<RequestError> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = (name: string, fallback: string) => (typeof body[name] === 'string' ? body[name] : fallback);
  const [issue] = Array.isArray(body['detail']) ? (body['detail'] as { msg?: unknown }[]) : [];
  const message = text('message', `The server responded with status ${response.status}`).replace(/\.$/, '');
  const isTransient = response.status === 429 || response.status >= 500;
  const retryAfterSeconds = Number(response.headers.get('retry-after')) || 5;
  return new RequestError(
    response.status,
    typeof issue?.msg === 'string' ? `${message}: ${issue.msg}` : message,
    text('hint', PROXY_HINT),
    { requestId: text('request_id', ''), ...(isTransient && { retryAfterSeconds }) },
  );
}

/** Fetches and parses the response to a query. */
export async function fetchJson<Route extends Path>(
  path: Route,
  parameters: QueryParameters,
  token: string,
  signal: AbortSignal,
): Promise<Responses[Route]> {
  const withTimeout = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  pending++;
  try {
    const response = await request(queryUrl(path, parameters), token, withTimeout);
    // safe: the server uses the same types
    return parseExact(await response.text()) as Responses[Route];
  } catch (error) {
    throw toRequestError(error);
  } finally {
    pending--;
  }
}

/**
 * Parses JSON. Numbers that a double cannot represent keep their original digits where the browser supports it. Only
 * the data of events contains such numbers.
 */
export function parseExact(text: string): unknown {
  if (typeof JSON.rawJSON !== 'function') return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown, { source }) =>
    typeof value === 'number' && source !== undefined && source !== String(value) ? JSON.rawJSON(source) : value,
  );
}
