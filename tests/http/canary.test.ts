import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ANALYTICS, type HttpResponse, METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Plants markers wherever data could leak from, then provokes every error.
 */
const SECRET_MARKER = 'canary-secret-0123456789-abcdefghij';
const PATH_MARKER = 'canary-path';
const DATA_MARKER = 'canary-parameter';
/** Words from our SQL statements and from SQLite's messages. */
const SQL_MARKERS = ['INSERT', 'SELECT', 'metric_name,', 'SQLITE', 'SQLite', 'drizzle', 'database is locked'];

const folder = temporaryFolder();
let target: Target;
const responses: HttpResponse[] = [];
/** The response of `GET /api/rejections`. */
let rejections: HttpResponse;
const tokens: string[] = [];

async function provoke(path: string, body: unknown, claims: Record<string, unknown> = {}, secret = SECRET_MARKER) {
  const jwt = await token(claims, secret);
  tokens.push(jwt);
  responses.push(await post(target, path, body, { authorization: `Bearer ${jwt}` }));
}

beforeAll(async () => {
  const dataDir = join(folder.path, PATH_MARKER);
  mkdirSync(dataDir);
  chmodSync(dataDir, 0o700);
  target = await startTarget({ JWT_SECRET: SECRET_MARKER, LOG_LEVEL: 'debug' }, { dataDir });
  const metric = { metric_name: DATA_MARKER, metric_value: 1, data_string: DATA_MARKER };
  await provoke('/log_raw_metric', metric);
  await provoke('/log_raw_metric', metric, { exp: 1 });
  await provoke('/log_raw_metric', metric, { sub: `${DATA_MARKER}\n` });
  await provoke('/log_raw_metric', metric, { aud: 'other', email: DATA_MARKER });
  await provoke('/log_raw_metric', metric, { nbf: 9_999_999_999, email: DATA_MARKER });
  await provoke('/log_raw_metric', metric, {}, 'another-secret-of-more-than-32-bytes');
  await provoke('/log_raw_metric', { ...metric, metric_value: DATA_MARKER });
  await provoke('/log_raw_metric', { ...metric, metric_value: [DATA_MARKER], timestamp: DATA_MARKER });
  await provoke('/log_raw_metric', `{"${DATA_MARKER}`);
  await provoke('/log_raw_metric', `{"metric_name":${DATA_MARKER.replaceAll('-', '_')}}`);
  await provoke('/log_raw_analytics', { ...ANALYTICS, data: DATA_MARKER });
  await provoke(`/${DATA_MARKER}`, metric);
  responses.push(await send(`${target.url}/log_raw_metric?x=${DATA_MARKER}`, { method: 'PUT', body: DATA_MARKER }));
  const acting = { authorization: `Bearer ${await token({}, SECRET_MARKER)}`, 'x-act-as-user-id': DATA_MARKER };
  responses.push(await post(target, '/log_raw_metric', METRIC, acting));

  // make the statements fail: another process locks the database, then drops a table
  const other = new Database(target.databasePath);
  other.run('PRAGMA busy_timeout = 5000');
  other.run('BEGIN IMMEDIATE');
  await provoke('/log_raw_metric', metric);
  other.run('DROP TABLE metrics');
  other.run('COMMIT');
  other.close();
  await provoke('/log_raw_metric', metric);
  const admin = await token({ sub: 'root', role: 'admin' }, SECRET_MARKER);
  rejections = await send(`${target.url}/api/rejections`, { headers: { authorization: `Bearer ${admin}` } });
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

test('provokes every error status', () => {
  const statuses = responses.map(({ status }) => status).join(' ');
  expect(statuses).toBe('200 401 401 401 401 401 422 422 400 400 422 404 405 403 503 500');
});

test('lists rejections of recording requests only', () => {
  const ids = rejections.body.rejections.map(({ request_id }: { request_id: string }) => request_id);
  const rejected = responses.filter(({ status }) => ![200, 404, 405].includes(status));
  expect(ids.reverse()).toEqual(rejected.map(({ body }) => body.request_id));
});

test('leaks no SQL, parameters, paths, secrets or tokens in responses', () => {
  for (const { text, headers } of [...responses, rejections]) {
    const all = `${text}\n${JSON.stringify([...headers])}`;
    for (const marker of [SECRET_MARKER, PATH_MARKER, DATA_MARKER, ...SQL_MARKERS, ...tokens])
      expect(all).not.toContain(marker);
    for (const jwt of tokens) for (const part of jwt.split('.')) expect(all).not.toContain(part);
  }
});

test('leaks no secrets, tokens or record data in the log', () => {
  const { stdout, stderr } = target.output();
  for (const jwt of tokens) expect(stderr + stdout).not.toContain(jwt.split('.')[2] ?? '');
  expect(stderr + stdout).not.toContain(SECRET_MARKER);
  // the path is the only value from the client that is logged
  const lines = JSON.stringify(target.logLines().map(({ path, ...line }) => line));
  expect(lines.replaceAll('_', '-')).not.toContain(DATA_MARKER);
});

test("logs every error once, with its cause and the response's request ID", () => {
  for (const { status, body } of responses) {
    if (status === 200) continue;
    const lines = target.logLines().filter((line) => line['request_id'] === body.request_id && 'status' in line);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ status, code: body.code });
    if (status >= 500) expect(lines[0]).toMatchObject({ level: 'error', err: { message: expect.any(String) } });
  }
  const causes = JSON.stringify(target.logLines().filter(({ level }) => level === 'error'));
  expect(causes).toContain('database is locked');
  expect(causes).toContain('no such table');
});
