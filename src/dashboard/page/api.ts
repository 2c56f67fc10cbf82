// the types of responses are all that the page takes from the server
import type {
  Activity,
  Counts,
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

import { learnClock } from './clock.ts';

/** The status: what operators alone may see is missing for everyone else. */
export type Status = UserStatus & Partial<OperatorStatus>;

/** A record, of either kind. Numbers in `data` are kept as they are written. */
export type LogRecord = Pick<StoredMetric, keyof StoredMetric & keyof StoredEvent> &
  Partial<StoredMetric & StoredEvent>;

interface RecordPage {
  readonly records: readonly LogRecord[];
  readonly next_cursor: (MetricPage | EventPage)['next_cursor'];
}

/** What the query routes return, by their paths. */
export interface Answers {
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

export type Path = keyof Answers;

/** The parameters of a question; what is undefined is left out. */
export type Query = Readonly<Record<string, string | number | Date | readonly string[] | undefined>>;

/** Why there is no answer. */
export class Failed extends Error {
  override readonly name = 'Failed';
  /** The HTTP status; 0: the server did not answer at all. */
  readonly status: number;
  readonly hint: string;
  readonly requestId: string | undefined;
  /** After how many seconds to ask again; undefined: it would be in vain. */
  readonly retryAfter: number | undefined;

  constructor(status: number, message: string, hint: string, rest: { requestId?: string; retryAfter?: number } = {}) {
    super(message);
    this.status = status;
    this.hint = hint;
    this.requestId = rest.requestId;
    this.retryAfter = rest.retryAfter;
  }
}

/** A question is given up after this time, in milliseconds: the server itself gives up after ten seconds. */
const PATIENCE = 30_000;

let pending = 0;

/** How many questions are not answered yet. */
export function pendingQuestions(): number {
  return pending;
}

/** The address of a question. */
export function questionAddress(path: string, parameters: Query): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    for (const one of [value].flat()) query.append(name, one instanceof Date ? one.toISOString() : String(one));
  }
  return query.size > 0 ? `${path}?${query}` : path;
}

/**
 * Asks the server.
 *
 * @param address a path with its query
 * @returns the answer, once its status says that it is one; its body is still to be read
 * @throws {Failed} when there is none
 */
export async function request(address: string, token: string, signal: AbortSignal): Promise<Response> {
  return send(address, { headers: { authorization: `Bearer ${token}` }, signal });
}

async function send(address: string, init: RequestInit): Promise<Response> {
  const sentAt = Date.now();
  const response = await fetch(address, { ...init, cache: 'no-store' }).catch((error: unknown) => {
    throw failedOf(error);
  });
  learnClock(response.headers, sentAt);
  if (response.ok) return response;
  throw await failureOf(response);
}

/**
 * Exchanges the code of a sign-in link for a token.
 *
 * @throws {Failed} when the server does not accept it
 */
export async function exchangeCode(code: string): Promise<string> {
  const response = await send('/api/session', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code }),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const { token } = (await response.json()) as Session; // the server's own type
  return token;
}

/** Why there is no answer, of whatever asking or reading it has thrown. */
export function failedOf(error: unknown): Failed {
  if (error instanceof Failed) return error;
  if (error instanceof SyntaxError) return new Failed(200, 'The answer could not be read', UNFIT);
  if (error instanceof DOMException && error.name === 'TimeoutError') {
    return new Failed(0, 'The server took too long to answer', 'Choose a shorter range.', { retryAfter: 5 });
  }
  const hint = 'It may be stopped, or the network may be down.';
  return new Failed(0, 'The server cannot be reached', hint, { retryAfter: 1 });
}

const UNFIT = 'Something between this page and the server may be broken.';

async function failureOf(response: Response): Promise<Failed> {
  const body = (await response.json().catch(() => ({}))) as Record<string, unknown>;
  const text = (name: string, otherwise: string) => (typeof body[name] === 'string' ? body[name] : otherwise);
  const [fault] = Array.isArray(body['detail']) ? (body['detail'] as { msg?: unknown }[]) : [];
  const message = text('message', `The answer has the status ${response.status}`);
  const waits = response.status === 429 || response.status >= 500;
  const retryAfter = Number(response.headers.get('retry-after')) || 5;
  return new Failed(
    response.status,
    typeof fault?.msg === 'string' ? `${message.replace(/\.$/, '')}: ${fault.msg}` : message,
    text('hint', UNFIT),
    { requestId: text('request_id', ''), ...(waits && { retryAfter }) },
  );
}

/** Asks the server, and reads the answer. */
export async function ask<Asked extends Path>(
  path: Asked,
  parameters: Query,
  token: string,
  signal: AbortSignal,
): Promise<Answers[Asked]> {
  const patient = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);
  pending++;
  try {
    const response = await request(questionAddress(path, parameters), token, patient);
    // the reading routes answer by the types that are named here: they are the server's own
    return parseExact(await response.text()) as Answers[Asked];
  } catch (error) {
    throw failedOf(error);
  } finally {
    pending--;
  }
}

/**
 * Parses JSON. Numbers whose digits a double would change are kept as they are written, where the browser can:
 * only the data of an event has such.
 */
export function parseExact(text: string): unknown {
  if (typeof JSON.rawJSON !== 'function') return JSON.parse(text);
  return JSON.parse(text, (_key, value: unknown, { source }) =>
    typeof value === 'number' && source !== undefined && source !== String(value) ? JSON.rawJSON(source) : value,
  );
}
