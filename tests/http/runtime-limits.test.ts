import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { connect } from 'node:net';
import { METRIC, post, rows } from '../harness/client.ts';
import { missingProxies, startProxy } from '../harness/proxies.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * What Bun's HTTP server does, and we cannot change: see "Limits" in the README. A test that fails after an upgrade of
 * Bun tells that the limit is gone. What helps is tested as well.
 */

const BODY = JSON.stringify(METRIC);
const CHUNKS = `${BODY.length.toString(16)}\r\n${BODY}\r\n0\r\n`;

let target: Target;
let authorization: string;
beforeAll(async () => {
  target = await startTarget(UNLIMITED);
  authorization = `Bearer ${await token()}`;
});
afterAll(() => target.stop());

/** A request that records, with further header fields and what follows them. */
function recording(fields: readonly string[], rest: string): string {
  const head = ['POST /log_raw_metric HTTP/1.1', 'Host: x', `Authorization: ${authorization}`, ...fields];
  return `${head.join('\r\n')}\r\n\r\n${rest}`;
}

const withLength = (rest: string, ...fields: string[]) =>
  recording([`Content-Length: ${BODY.length}`, ...fields], rest);

/** Sends a text, and gives the statuses of all responses until so many have come or the connection is closed. */
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
  // the commit of what was received before
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  return rows(target, 'metrics').length - before - 1;
};

describe('served as in RFC 9112', () => {
  test.each([
    ['chunks', () => recording(['Transfer-Encoding: chunked'], `${CHUNKS}\r\n`), [200]],
    ['Expect: 100-continue', () => withLength(BODY, 'Expect: 100-continue'), [100, 200]],
    [
      'requests without a body behind one another',
      () => 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2),
      [200, 200],
    ],
    [
      'a recording behind a request without a body',
      () => `GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n${withLength(BODY)}`,
      [200, 200],
    ],
  ])('%s', async (_what, text, statuses) => {
    expect(await statusesOf(text(), statuses.length)).toEqual(statuses);
  });
});

describe('not served as in RFC 9112', () => {
  test('Expect with a capital letter gets no "100 Continue": clients send the body after a second', async () => {
    expect(await statusesOf(withLength(BODY, 'Expect: 100-Continue'), 1)).toEqual([200]);
  });

  test.each([
    ['trailers (section 7.1.2)', () => recording(['Transfer-Encoding: chunked'], `${CHUNKS}X-Checksum: 1\r\n\r\n`)],
    ['an empty line after the body (section 2.2)', () => withLength(`${BODY}\r\n`)],
  ])('%s get 400, although the row is stored', async (_what, text) => {
    expect(await storedBy(async () => expect(await statusesOf(text(), 1)).toEqual([400]))).toBe(1);
  });

  test('an empty line before a request (section 2.2) gets 400', async () => {
    expect(await storedBy(async () => expect(await statusesOf(`\r\n${withLength(BODY)}`, 1)).toEqual([400]))).toBe(0);
  });

  test('recordings behind one another get no response, although the first row is stored', async () => {
    const both = withLength(BODY) + withLength(BODY);
    expect(await storedBy(async () => expect(await statusesOf(both, 2)).toEqual([]))).toBe(1);
  });
});

describe('what helps', () => {
  test('with an Idempotency-Key the retry gets the ID of the stored row', async () => {
    const key = 'Idempotency-Key: retried';
    const stored = await storedBy(async () => {
      expect(await statusesOf(withLength(`${BODY}\r\n`, key), 1)).toEqual([400]);
      const retry = await post(target, '/log_raw_metric', BODY, { 'idempotency-key': 'retried' });
      expect(retry.status).toBe(200);
      expect(retry.headers.get('idempotent-replayed')).toBe('true');
    });
    expect(stored).toBe(1);
  });

  test.skipIf(missingProxies.includes('nginx'))('behind nginx all of them are served', async () => {
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
