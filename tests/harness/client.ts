import { Database } from 'bun:sqlite';
import { expect } from 'bun:test';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

export const METRIC = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };
export const ANALYTICS = { type: 'tutorial_step', data: { step: 3, done: true }, data_index: 'step_3' };

/** Both single-record routes, each with a valid body. */
export const ROUTES = [
  ['/log_raw_metric', METRIC],
  ['/log_raw_analytics', ANALYTICS],
] as const;

/** An HTTP response whose body is parsed if it is JSON. */
export interface HttpResponse {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: responses are probed field by field
  readonly body: any;
}

/** Sends a request and reads the response. */
export async function send(url: string, init: BunFetchRequestInit = {}): Promise<HttpResponse> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
}

/** Posts a body as JSON, with a valid token unless the headers override it. Strings and buffers are sent as is. */
export async function post(
  target: Pick<Target, 'url'>,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<HttpResponse> {
  const sent = typeof body === 'string' || body instanceof Buffer ? body : JSON.stringify(body);
  return send(target.url + path, {
    method: 'POST',
    body: sent,
    headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json', ...headers },
  });
}

/** Checks that a response is an error in the common error format. */
export function expectError(response: HttpResponse, status: number, code: string): void {
  expect({ status: response.status, code: response.body?.code, text: response.text }).toEqual({
    status,
    code,
    text: response.text,
  });
  expect(Object.keys(response.body).sort()).toEqual(['code', 'detail', 'hint', 'message', 'request_id']);
  expect(response.headers.get('x-request-id')).toBe(response.body.request_id);
  expect(response.body.message).toBeString();
  expect(response.body.hint).toBeString();
  if (status >= 500) expect(response.body.detail).toEqual({ message: response.body.message, hint: response.body.hint });
  else if (status !== 422) expect(response.body.detail).toBe(response.body.message);
}

/** Checks a rejection by a rate limit, including the header fields for retrying. */
export function expectLimited(response: HttpResponse, name: string): void {
  expectError(response, 429, 'rate_limited');
  expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(response.headers.get('ratelimit-policy')).toMatch(new RegExp(`^"${name}";q=\\d+;w=\\d+$`));
  expect(response.headers.get('ratelimit')).toMatch(new RegExp(`^"${name}";r=\\d+;t=\\d+$`));
}

/** A row of the database. */
export type Row = Record<string, unknown>;

/** The views of the tables with rows: whole IDs and times since 1970, without blank rows. */
export const VIEWS = { metrics: 'metric_records', analytics: 'event_records' } as const;

/** Reads rows straight from the database file, in commit order, except for blank ones. */
export function rows(target: Pick<Target, 'databasePath'>, table: 'metrics' | 'analytics', id?: string): Row[] {
  const database = new Database(target.databasePath, { readonly: true });
  try {
    const where = id === undefined ? '' : 'WHERE id = ?';
    return database
      .query<Row, string[]>(`SELECT * FROM ${VIEWS[table]} ${where} ORDER BY seq`)
      .all(...(id === undefined ? [] : [id]));
  } finally {
    database.close();
  }
}
