import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { METRIC, post, rows } from '../harness/client.ts';
import { missingProxies, startProxy } from '../harness/proxies.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Limits of Bun's HTTP server that we cannot change: see docs/limits.md. A test that fails after a Bun upgrade means
 * that the limit is gone. Workarounds are tested too.
 */

const BODY = JSON.stringify(METRIC);
const CHUNKS = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n`;

let target: Target;
let authorization: string;
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, RECEIVERS: '1' }); // receivers respond to pipelined requests
  authorization = `Bearer ${await token()}`;
});
afterAll(() => target.stop());

/** Returns a recording request with additional header fields, and the text after the head. */
function recording(fields: readonly string[], afterHead: string): string {
  const head = ['POST /log_raw_metric HTTP/1.1', 'Host: x', `Authorization: ${authorization}`, ...fields];
  return `${head.join('\r\n')}\r\n\r\n${afterHead}`;
}

const withLength = (afterHead: string, ...fields: string[]) =>
  recording([`Content-Length: ${BODY.length}`, ...fields], afterHead);

/** Sends a text; returns the statuses of the responses once all have arrived or the connection is closed. */
async function statusesOf(text: string, responses: number): Promise<number[]> {
  const { hostname, port } = new URL(target.url);
  const socket = connect(Number(port), hostname);
  let received = '';
  const statuses = () => Array.from(received.matchAll(/HTTP\/1\.1 (\d+)/g), ([, status]) => Number(status));
  await new Promise<void>((resolve) => {
    socket.on('data', (data) => {
      received += data;
      if (statuses().length === responses) resolve();
    });
    socket.on('error', () => {}); // a reset
    socket.on('close', () => resolve());
    socket.write(text);
  });
  socket.destroy();
  return statuses();
}

const storedBy = async (send: () => Promise<unknown>): Promise<number> => {
  const before = rows(target, 'metrics').length;
  await send();
  // waits for the commit of everything received before
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  return rows(target, 'metrics').length - before - 1;
};

describe('supported features of RFC 9112', () => {
  test.each([
    ['chunks', () => recording(['Transfer-Encoding: chunked'], `${CHUNKS}\r\n`), [200]],
    ['Expect: 100-continue', () => withLength(BODY, 'Expect: 100-continue'), [100, 200]],
    ['pipelined requests without a body', () => 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2), [200, 200]],
    [
      'a recording request pipelined after a request without a body',
      () => `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n${withLength(BODY)}`,
      [200, 200],
    ],
  ])('serves %s', async (_name, text, statuses) => {
    expect(await statusesOf(text(), statuses.length)).toEqual(statuses);
  });
});

describe('unsupported features of RFC 9112', () => {
  test('sends no "100 Continue" for Expect with a capital letter, so clients send the body after a second', async () => {
    expect(await statusesOf(withLength(BODY, 'Expect: 100-Continue'), 1)).toEqual([200]);
  });

  test.each([
    ['trailers (section 7.1.2)', () => recording(['Transfer-Encoding: chunked'], `${CHUNKS}X-Checksum: 1\r\n\r\n`)],
    ['an empty line after the body (section 2.2)', () => withLength(`${BODY}\r\n`)],
  ])('returns 400 for %s, although the row is stored', async (_name, text) => {
    expect(await storedBy(async () => expect(await statusesOf(text(), 1)).toEqual([400]))).toBe(1);
  });

  test('returns 400 for an empty line before a request (section 2.2)', async () => {
    expect(await storedBy(async () => expect(await statusesOf(`\r\n${withLength(BODY)}`, 1)).toEqual([400]))).toBe(0);
  });

  test('sends no response to pipelined recording requests, although the first row is stored', async () => {
    const both = withLength(BODY) + withLength(BODY);
    expect(await storedBy(async () => expect(await statusesOf(both, 2)).toEqual([]))).toBe(1);
  });
});

describe('workarounds', () => {
  test('a retry with an Idempotency-Key returns the ID of the stored row', async () => {
    const key = 'Idempotency-Key: retried';
    const stored = await storedBy(async () => {
      expect(await statusesOf(withLength(`${BODY}\r\n`, key), 1)).toEqual([400]);
      const retry = await post(target, '/log_raw_metric', BODY, { 'idempotency-key': 'retried' });
      expect(retry.status).toBe(200);
      expect(retry.headers.get('idempotent-replayed')).toBe('true');
    });
    expect(stored).toBe(1);
  });

  test.skipIf(missingProxies.includes('nginx'))('nginx in front makes all of these features work', async () => {
    const proxy = await startProxy('nginx', target.url);
    const direct = target;
    try {
      target = { ...direct, url: proxy.url };
      expect(await statusesOf(withLength(`${BODY}\r\n`), 1)).toEqual([200]);
      expect(await statusesOf(`\r\n${withLength(BODY)}`, 1)).toEqual([200]);
      expect(await statusesOf(withLength(BODY) + withLength(BODY), 2)).toEqual([200, 200]);
      expect(await statusesOf(withLength(BODY, 'Expect: 100-Continue'), 2)).toEqual([100, 200]);
    } finally {
      target = direct;
      await proxy.stop();
    }
  });
});
