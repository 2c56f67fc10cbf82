import { Database } from 'bun:sqlite';
import { expect } from 'bun:test';
import type { Target } from './target.ts';
import { token } from './tokens.ts';

export const METRIC = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };
export const ANALYTICS = { type: 'tutorial_step', data: { step: 3, done: true }, data_index: 'step_3' };

/** Both recording routes, each with a body that it accepts. */
export const ROUTES = [
  ['/log_raw_metric', METRIC],
  ['/log_raw_analytics', ANALYTICS],
] as const;

/** An answer with its body parsed, where it is JSON. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers are probed field by field
  readonly body: any;
}

/** Sends a request and reads the answer. */
export async function send(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false;
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : undefined };
}

/** Posts a body as JSON, with a good token unless the headers say otherwise. A string is sent as it is. */
export async function post(
  target: Pick<Target, 'url'>,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const sent = typeof body === 'string' || body instanceof Buffer ? body : JSON.stringify(body);
  return send(target.url + path, {
    method: 'POST',
    body: sent,
    headers: { authorization: `Bearer ${await token()}`, 'content-type': 'application/json', ...headers },
  });
}

/** Checks that an answer is an error in the one shape that all have. */
export function expectError(answer: Answer, status: number, code: string): void {
  expect({ status: answer.status, code: answer.body?.code, text: answer.text }).toEqual({
    status,
    code,
    text: answer.text,
  });
  expect(Object.keys(answer.body).sort()).toEqual(['code', 'detail', 'hint', 'message', 'request_id']);
  expect(answer.headers.get('x-request-id')).toBe(answer.body.request_id);
  expect(answer.body.message).toBeString();
  expect(answer.body.hint).toBeString();
  if (status >= 500) expect(answer.body.detail).toEqual({ message: answer.body.message, hint: answer.body.hint });
  else if (status !== 422) expect(answer.body.detail).toBe(answer.body.message);
}

/** Checks the rejection by a limit, with the header fields that tell when to retry. */
export function expectLimited(answer: Answer, name: string): void {
  expectError(answer, 429, 'rate_limited');
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(answer.headers.get('ratelimit-policy')).toMatch(new RegExp(`^"${name}";q=\\d+;w=\\d+$`));
  expect(answer.headers.get('ratelimit')).toMatch(new RegExp(`^"${name}";r=\\d+;t=\\d+$`));
}

/** A row as the database holds it. */
export type Row = Record<string, unknown>;

/** Reads rows straight from the database file, in the order of their commits. */
export function rows(target: Pick<Target, 'databasePath'>, table: 'metrics' | 'analytics', id?: string): Row[] {
  const database = new Database(target.databasePath, { readonly: true });
  try {
    const where = id === undefined ? '' : 'WHERE id = ?';
    return database
      .query<Row, string[]>(`SELECT * FROM ${table} ${where} ORDER BY seq`)
      .all(...(id === undefined ? [] : [id]));
  } finally {
    database.close();
  }
}
