import { afterAll, beforeAll, expect, test } from 'bun:test';
import { gzipSync } from 'node:zlib';
import { expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { SECRET, startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const LIMIT = 2000;
let target: Target;
beforeAll(async () => {
  target = await startTarget({ JWT_SECRET: SECRET, MAX_BODY_BYTES: String(LIMIT) });
});
afterAll(() => target.stop());

/** Returns a valid body of exactly this many bytes. */
function bodyOf(bytes: number): string {
  const frame = JSON.stringify({ ...METRIC, filler: '' }).length;
  return JSON.stringify({ ...METRIC, filler: 'x'.repeat(bytes - frame) });
}

/** Sends a body in chunks, without Content-Length. */
async function postInChunks(body: string, chunk: number) {
  const parts = Array.from({ length: Math.ceil(body.length / chunk) }, (_, i) =>
    body.slice(i * chunk, (i + 1) * chunk),
  );
  const headers = { authorization: `Bearer ${await token()}`, 'content-type': 'application/json' };
  const stream = new ReadableStream({
    pull(controller) {
      const part = parts.shift();
      if (part === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(part));
    },
  });
  return send(`${target.url}/log_raw_metric`, { method: 'POST', headers, body: stream });
}

test('accepts a body at the limit and rejects one byte more', async () => {
  expect((await post(target, '/log_raw_metric', bodyOf(LIMIT))).status).toBe(200);
  expectError(await post(target, '/log_raw_metric', bodyOf(LIMIT + 1)), 413, 'payload_too_large');
});

test('applies the limit without Content-Length', async () => {
  expect((await postInChunks(bodyOf(LIMIT), 64)).status).toBe(200);
  expectError(await postInChunks(bodyOf(LIMIT + 1), 64), 413, 'payload_too_large');
  expectError(await postInChunks(bodyOf(50 * LIMIT), 1000), 413, 'payload_too_large');
});

test('applies the limit after decompression', async () => {
  const gzip = { 'content-encoding': 'gzip' };
  expect((await post(target, '/log_raw_metric', gzipSync(bodyOf(LIMIT)), gzip)).status).toBe(200);
  expectError(await post(target, '/log_raw_metric', gzipSync(bodyOf(LIMIT + 1)), gzip), 413, 'payload_too_large');
  const bomb = gzipSync(Buffer.alloc(1_000_000)); // about 1,000 bytes
  expect(bomb.length).toBeLessThan(LIMIT);
  expectError(await post(target, '/log_raw_metric', bomb, gzip), 413, 'payload_too_large');
});

test('rejects a body of many megabytes and keeps serving', async () => {
  const huge = 'x'.repeat(30_000_000);
  expectError(await post(target, '/log_raw_metric', huge), 413, 'payload_too_large');
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
});

test('does not store a body shorter than its Content-Length', async () => {
  const before = rows(target, 'metrics').length;
  const body = bodyOf(500);
  await rawRequest(
    target.url,
    [
      'POST /log_raw_metric HTTP/1.1',
      'Host: x',
      `Authorization: Bearer ${await token()}`,
      'Content-Type: application/json',
      'Content-Length: 1000',
      '',
      body,
    ],
    { closeAfterSend: true },
  );
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  expect(rows(target, 'metrics').length).toBe(before + 1);
  expect(target.logLines().filter(({ level }) => level === 'error')).toEqual([]);
});

test.each([
  ['a non-numeric Content-Length', ['Content-Length: abc']],
  ['a negative Content-Length', ['Content-Length: -5']],
  ['two Content-Lengths', ['Content-Length: 5', 'Content-Length: 6']],
  ['Content-Length with chunked encoding', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
  ['malformed chunks', ['Transfer-Encoding: chunked', '', 'zz\r\nabc\r\n0\r\n']],
])('returns no 5xx and stores nothing for %s', async (_name, lines) => {
  const before = rows(target, 'metrics').length;
  const head = [
    'POST /log_raw_metric HTTP/1.1',
    'Host: x',
    'Connection: close',
    `Authorization: Bearer ${await token()}`,
  ];
  const response = await rawRequest(target.url, [...head, 'Content-Type: application/json', ...lines, '', '{"a":1}'], {
    closeAfterSend: true,
  });
  expect(response).not.toMatch(/^HTTP\/1\.1 (5|200)/);
  expect(rows(target, 'metrics').length).toBe(before);
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
});
