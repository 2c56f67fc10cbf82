import { afterAll, beforeAll, expect } from 'bun:test';
import { type HttpResponse, post, send } from './client.ts';
import { startTarget, type Target } from './target.ts';
import { token } from './tokens.ts';

/** Query parameters. A list repeats its parameter. */
export type Query = Record<string, string | readonly string[]>;

/** A server with the rows of {@link seed}. */
export interface SeededServer {
  readonly target: Target;
  /** Returns the URL of a path with query parameters. */
  urlOf(path: string, query?: Query): string;
  /** Sends a GET request as a user. */
  get(user: string, path: string, query?: Query): Promise<HttpResponse>;
  /** Sends a GET request as an admin. */
  getAsAdmin(path: string, query?: Query): Promise<HttpResponse>;
  /** Posts a body as a user. */
  record(user: string, path: string, body: unknown, headers?: Record<string, string>): Promise<HttpResponse>;
}

/** Returns the Authorization header of a token with these claims. */
export async function bearer(claims: Record<string, unknown>): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await token(claims)}` };
}

/** Returns a metric `load`. */
export function load(value: number, timestamp: string, page = '/') {
  return { metric_name: 'load', metric_value: value, data_string: page, timestamp };
}

/** Returns an event of the type `tutorial`. */
export function step(data_index: string, timestamp: string) {
  return { type: 'tutorial', data: { at: timestamp, n: 1 }, data_index, timestamp };
}

/** Starts a server with seeded rows before the tests of the calling file, and stops it after them. */
export function setUpSeededServer(): SeededServer {
  let target: Target;
  beforeAll(async () => {
    target = await startTarget();
    await seed(record);
  });
  afterAll(() => target.stop());

  const urlOf = (path: string, query: Query = {}) => {
    const pairs = Object.entries(query).flatMap(([name, value]) =>
      [value].flat().map((item): [string, string] => [name, String(item)]),
    );
    return `${target.url}${path}?${new URLSearchParams(pairs)}`;
  };
  const record: SeededServer['record'] = async (user, path, body, headers = {}) =>
    post(target, path, body, { ...(await bearer({ sub: user })), ...headers });
  return {
    get target() {
      return target;
    },
    urlOf,
    get: async (user, path, query) => send(urlOf(path, query), { headers: await bearer({ sub: user }) }),
    getAsAdmin: async (path, query) =>
      send(urlOf(path, query), { headers: await bearer({ sub: 'root', role: 'admin' }) }),
    record,
  };
}

/** Records rows of two users, around the night in which Berlin switches to daylight saving time. */
async function seed(record: SeededServer['record']): Promise<void> {
  const stored = [
    await record('anna', '/log_batch', {
      metrics: [
        load(1, '2026-03-28T23:30:00+01:00'),
        load(2, '2026-03-29T01:30:00+01:00'),
        load(4, '2026-03-29T03:30:00+02:00', '/a'),
        load(8, '2026-03-29T23:59:59.999999+02:00'),
        load(16, '2026-03-31T00:00:00+02:00', '/a'),
        { metric_name: 'other', metric_value: -0.5, data_string: 'x', timestamp: '2026-03-01T00:00:00.5Z' },
      ],
      analytics: [
        step('one', '2026-03-01T10:00:00Z'),
        step('two', '2026-03-01T10:00:30Z'),
        step('one', '2026-03-01T12:00:00Z'),
        step('three', '2026-03-02T10:00:00Z'),
        { type: 'click', data: { x: 1.0 }, data_index: '', timestamp: '2026-03-05T00:00:00Z' },
      ],
    }),
    await record('berta', '/log_batch', {
      metrics: [load(100, '2026-03-29T12:00:00+02:00', '/b')],
      analytics: [step('one', '2026-03-01T11:00:00Z'), step('two', '2026-03-01T11:01:30Z')],
    }),
  ];
  expect(stored.map(({ status }) => status)).toEqual([200, 200]);
}
