import { afterAll, beforeAll, expect, test } from 'bun:test';
import { type HttpResponse, post, rows, send } from '../harness/client.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let admin: Record<string, string>;
beforeAll(async () => {
  admin = await bearer({ sub: 'root', role: 'admin' });
  target = await startTarget(UNLIMITED);
});
afterAll(() => target.stop());

const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });
const erase = (user: string): Promise<HttpResponse> =>
  send(`${target.url}/api/users/${user}`, { method: 'DELETE', headers: admin });
/** Repeats a query until the column store contains all rows, which takes long on a busy machine. */
async function getWithoutLag(path: string): Promise<HttpResponse> {
  for (;;) {
    const response = await send(target.url + path, { headers: admin });
    if (Number(response.headers.get('x-ingest-lag-rows') ?? 0) === 0) return response;
  }
}
const recordFor = async (user: string, path: string, body: unknown) =>
  post(target, path, body, await bearer({ sub: user }));

test('stores or erases each row recorded during an erasure, and counts it accordingly', async () => {
  const body = {
    metrics: Array.from({ length: 50 }, () => ({ metric_name: 'during', metric_value: 1, data_string: 'a' })),
  };
  const acknowledged = { gone: 0, stays: 0 };
  let isRecording = true;
  const recordContinuously = async (user: keyof typeof acknowledged) => {
    while (isRecording) {
      const { status } = await recordFor(user, '/log_batch', body);
      // a request may be rejected while the file is rewritten; then none of its rows are stored
      expect([200, 503]).toContain(status);
      if (status === 200) acknowledged[user] += 50;
    }
  };
  const recording = [recordContinuously('gone'), recordContinuously('stays')];
  const progress = async (user: keyof typeof acknowledged, rows: number) => {
    while (acknowledged[user] < rows) await recordFor('someone', '/log_batch', body);
  };
  await Promise.all([progress('gone', 100), progress('stays', 100)]);
  let deleted = 0;
  for (let i = 0; i < 3; i++) {
    const before = acknowledged.gone;
    const response = await erase('gone');
    expect(response.status).toBe(200);
    deleted += response.body.deleted.metrics;
    expect(deleted).toBeGreaterThanOrEqual(before);
    await progress('gone', before + 50);
  }
  isRecording = false;
  await Promise.all(recording);
  const stored = (user: string) =>
    rows(target, 'metrics').filter((row) => row['user_id'] === user && row['metric_name'] === 'during').length;
  expect(stored('stays')).toBe(acknowledged.stays);
  expect(stored('gone')).toBe(acknowledged.gone - deleted);
  for (const user of ['gone', 'stays']) {
    const { body: response } = await getWithoutLag(`/api/metrics/series?name=during&user_id=${user}`);
    const counted = response.buckets.reduce((sum: number, { count }: { count: number }) => sum + count, 0);
    expect(counted).toBe(stored(user));
  }
  const all = async () => (await getWithoutLag('/api/metrics/series?name=during')).body.buckets[0].count;
  expect(await all()).toBe(stored('stays') + stored('gone') + stored('someone'));
  expect((await erase('gone')).body.deleted.metrics).toBe(acknowledged.gone - deleted);
  expect(await all()).toBe(stored('stays') + stored('someone'));
}, 300_000); // the query worker has the lowest priority: on a busy machine it waits for everything else
