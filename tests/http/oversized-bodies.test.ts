import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { expectError, METRIC, post } from '../harness/client.ts';
import { missingProxies, type ReverseProxy, startProxy } from '../harness/proxies.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * A response that is sent before the body was read must reach a client that is still sending. If the server closed
 * the connection at that point, the connection would be reset and the response lost.
 */

let target: Target;
beforeAll(async () => {
  target = await startTarget(UNLIMITED);
});
afterAll(() => target.stop());

const SIZES = [1_100_000, 3_000_000, 10_000_000];
const PYTHON = '/usr/bin/python3';
const hasRequests =
  existsSync(PYTHON) && Bun.spawnSync([PYTHON, '-c', 'import requests'], { stderr: 'ignore' }).exitCode === 0;
if (!hasRequests) console.warn('SKIPPED: tests with Python requests; run "apt-get install python3-requests"');

const SCRIPT = `
import collections, requests, sys
counts = collections.Counter()
for size in [${SIZES}] * 4:
    for body in (b'x' * size, iter([b'x' * 65536] * (size // 65536 + 1))):
        try:
            response = requests.post(sys.argv[1], data=body, headers={'Authorization': 'Bearer ' + sys.argv[2]})
            counts[response.status_code] += 1
        except requests.RequestException as error:
            counts[type(error).__name__] += 1
print(dict(counts))
`;

/** Sends bodies over the limit, with a Content-Length and in chunks; returns the count of each outcome. */
async function outcomesOf(url: string): Promise<string> {
  const child = Bun.spawn([PYTHON, '-c', SCRIPT, `${url}/log_raw_metric`, await token()], { stdout: 'pipe' });
  return (await new Response(child.stdout).text()).trim();
}

test.skipIf(!hasRequests)('returns 413 for every body over the limit', async () => {
  expect(await outcomesOf(target.url)).toBe(`{413: ${SIZES.length * 8}}`);
});

const PROXIES = [
  ['nginx', {}],
  ['nginx', { streamed: true }],
  ['caddy', {}],
] as const;
describe.each(PROXIES)('behind %s %o', (name, options) => {
  const skipped = missingProxies.includes(name);
  let proxy: ReverseProxy;
  beforeAll(async () => {
    if (!skipped) proxy = await startProxy(name, target.url, options);
  });
  afterAll(() => proxy?.stop());

  test.skipIf(skipped || !hasRequests)('returns 413 for every body over the limit', async () => {
    expect(await outcomesOf(proxy.url)).toBe(`{413: ${SIZES.length * 8}}`);
  });

  test.skipIf(skipped)('stores records', async () => {
    expect((await post({ ...target, url: proxy.url }, '/log_raw_metric', METRIC)).status).toBe(200);
  });
});

test('discards the remaining bytes of a body over the limit without buffering them', async () => {
  const rss = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${target.process.pid}/status`, 'utf8'))?.[1]);
  const before = rss();
  expectError(await post(target, '/log_raw_metric', Buffer.alloc(100_000_000)), 413, 'payload_too_large');
  expect(rss() - before).toBeLessThan(50_000);
});

test.each<[string, Record<string, string>, number]>([
  ['no token', { authorization: '' }, 401],
  ['an unknown type', { 'content-type': 'text/plain' }, 415],
])('delivers a response that is sent before the body: %s', async (_name, headers, status) => {
  const body = Buffer.alloc(900_000, ' ');
  Buffer.from(JSON.stringify(METRIC)).copy(body);
  for (let i = 0; i < 20; i++) {
    expect((await post(target, '/log_raw_metric', body, headers)).status).toBe(status);
  }
});
