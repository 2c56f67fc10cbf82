import { expect, test } from 'bun:test';
import { METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Sums are exact and rounded once, regardless of order, grouping and buckets, and of restarts, erasures and rebuilds.
 */

/** Values per metric, with their sum and average. Each value is sent with a different label and hour. */
const CASES = {
  tenths: { values: [0.1, 0.1, 0.1], sum: 0.30000000000000004, avg: 0.1 },
  huge: { values: [1.7e308, 1.7e308], sum: Number.MAX_VALUE, avg: 1.7e308 },
  'huge and negative': { values: [-1.7e308, -1.7e308, -1.7e308], sum: -Number.MAX_VALUE, avg: -1.7e308 },
  canceling: { values: [1e300, 1e150, 1, -1e300, -1e150], sum: 1, avg: 0.2 },
  'canceling after an overflow': { values: [1.7e308, 1.7e308, -1.7e308, -1.7e308, 3], sum: 3, avg: 0.6 },
  tiny: { values: [5e-324, 5e-324, 5e-324], sum: 1.5e-323, avg: 5e-324 },
  'one among many': { values: [1e16, ...Array(10).fill(1), -1e16], sum: 10, avg: 10 / 12 },
} as const;

async function expectExactSums(target: Target): Promise<void> {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  for (const [name, { values, sum, avg }] of Object.entries(CASES)) {
    const range = 'from=2026-01-01T00:00:00Z&to=2026-01-03T00:00:00Z';
    const series = async (query: string) => {
      const path = `/api/metrics/series?name=${encodeURIComponent(name)}&${range}&${query}`;
      const { body } = await send(target.url + path, { headers });
      const filled = [body, ...(body.buckets ?? [])].filter(({ count }: { count: number }) => count > 0);
      for (const statistics of filled) expect(Object.values(statistics)).not.toContain(null);
      return body;
    };
    for (const query of ['interval=year', 'interval=hour', 'interval=day&group_by=data_string&top=1']) {
      const body = await series(query);
      expect({ name, query, sum: body.sum, avg: body.avg }).toEqual({ name, query, sum, avg });
      expect(body.sum_overflow).toBe(Math.abs(sum) === Number.MAX_VALUE ? true : undefined);
      expect(body.avg).toBeGreaterThanOrEqual(body.min);
      expect(body.avg).toBeLessThanOrEqual(body.max);
      expect(body.count).toBe(values.length);
    }
    const { buckets } = await series('interval=day');
    const [first] = buckets.filter(({ count }: { count: number }) => count > 0);
    expect({ name, sum: first.sum, avg: first.avg }).toEqual({ name, sum, avg });
  }
}

test('returns equal totals, groups and buckets to the last bit, after an erasure, a restart and a rebuild', async () => {
  using folder = temporaryFolder();
  const env = { ...UNLIMITED };
  let target = await startTarget(env, { dataDir: folder.path });
  try {
    const metrics = Object.entries(CASES).flatMap(([metric_name, { values }]) =>
      values.map((metric_value, i) => ({
        ...METRIC,
        metric_name,
        metric_value,
        data_string: `label ${i}`,
        timestamp: new Date(Date.UTC(2026, 0, 1, i)).toISOString(),
      })),
    );
    expect((await post(target, '/log_batch', { metrics })).status).toBe(200);
    // rows of another user, which the erasure removes from the same chunks
    const gone = { authorization: `Bearer ${await token({ sub: 'gone' })}` };
    const others = metrics.map((metric) => ({ ...metric, metric_value: 0.7 }));
    expect((await post(target, '/log_batch', { metrics: others }, gone)).status).toBe(200);
    const admin = { authorization: `Bearer ${await token({ role: 'admin' })}` };
    expect((await send(`${target.url}/api/users/gone`, { method: 'DELETE', headers: admin })).status).toBe(200);
    await expectExactSums(target);
    await target.stop();
    expect((await runCli(['rebuild'], { env: { JWT_SECRET: SECRET, DATA_DIR: folder.path } })).exitCode).toBe(0);
    target = await startTarget(env, { dataDir: folder.path });
    await expectExactSums(target);
  } finally {
    await target.stop();
  }
});
