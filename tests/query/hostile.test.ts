import { afterAll, beforeAll, expect, test } from 'bun:test';
import { expectError, type HttpResponse, post, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Queries that would need gigabytes of memory are rejected early and do not affect other users.
 */

const LABELS = 1_000;
const FROM = Date.parse('2026-03-02T00:00:00Z');
const MINUTES = 10_000;

let target: Target;
const headersOf = async (sub: string, role?: string) => ({
  authorization: `Bearer ${await token({ sub, ...(role && { role }) })}`,
});
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, MAX_NAMES_PER_USER: '100000' });
  const timestamp = (i: number) => new Date(FROM + ((i * 7_919) % MINUTES) * 60_000).toISOString();
  const batches = [
    Array.from({ length: LABELS }, (_, i) => ({
      metric_name: 'wide',
      metric_value: i,
      data_string: `${i} ${'x'.repeat(500)}`,
      timestamp: timestamp(i),
    })),
    ...Array.from({ length: 20 }, (_, batch) =>
      Array.from({ length: 500 }, (_, i) => ({
        metric_name: `name ${batch * 500 + i}`,
        metric_value: 1,
        data_string: 'x',
        timestamp: timestamp(i),
      })),
    ),
  ];
  const hostile = await headersOf('hostile');
  for (const metrics of batches) expect((await post(target, '/log_batch', { metrics }, hostile)).status).toBe(200);
  const metric = { metric_name: 'own', metric_value: 2, data_string: '/', timestamp: timestamp(0) };
  expect((await post(target, '/log_raw_metric', metric, await headersOf('ada'))).status).toBe(200);
});
afterAll(() => target.stop());

/** Repeats a query until the ingest lag is 0. */
async function get(path: string, headers: Record<string, string>): Promise<HttpResponse> {
  for (;;) {
    const response = await send(target.url + path, { headers });
    if (Number(response.headers.get('x-ingest-lag-rows') ?? 0) === 0) return response;
  }
}

const range = `from=${new Date(FROM).toISOString()}&to=${new Date(FROM + MINUTES * 60_000).toISOString()}`;

test('rejects ten million buckets in a thousand groups before allocating them', async () => {
  const headers = await headersOf('hostile');
  const series = (query: string) => get(`/api/metrics/series?name=wide&${range}&${query}`, headers);
  expect((await series('interval=day&group_by=data_string&top=10')).status).toBe(200);
  const before = process.platform === 'linux' ? await peakMegabytes() : 0;
  for (const top of [1_000, 500]) {
    expectError(await series(`interval=minute&group_by=data_string&top=${top}`), 422, 'query_too_large');
  }
  // the largest result needs a few times its 32 MB; the rejected ones would need gigabytes
  if (process.platform === 'linux') expect((await peakMegabytes()) - before).toBeLessThan(200);
  const { status, body } = await series('interval=minute&group_by=data_string&top=2');
  expect([status, body.groups.length, body.other.labels, body.count]).toEqual([200, 2, LABELS - 2, LABELS]);
});

/** Returns the peak resident memory of the server. */
async function peakMegabytes(): Promise<number> {
  const status = await Bun.file(`/proc/${target.process.pid}/status`).text();
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

test('serves overviews to other users and admins despite a user with ten thousand names', async () => {
  const ada = await headersOf('ada');
  const adaOverview = await get(`/api/activity?${range}&interval=minute`, ada);
  expect(adaOverview.body.metrics).toMatchObject({ count: 1, names: [{ name: 'own', count: 1 }], other: { names: 0 } });
  expect((await get(`/api/metrics`, ada)).body.metrics).toHaveLength(1);
  const admin = await headersOf('root', 'admin');
  const adminOverview = await get(`/api/activity?${range}&interval=minute&top=3`, admin);
  expect(adminOverview.body.metrics).toMatchObject({
    count: LABELS + 10_000 + 1,
    names: [{ name: 'wide', count: LABELS }, { count: 1 }, { count: 1 }],
    other: { names: 10_000 - 1, count: 10_000 - 1 },
  });
  expect((await get(`/api/metrics`, admin)).body.metrics).toHaveLength(10_002);
});
