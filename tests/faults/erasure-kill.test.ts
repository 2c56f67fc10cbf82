import { Database } from 'bun:sqlite';
import { afterAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { post, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const MARK = 'Wq7xErased';
const admin = async () => ({ authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` });

/** Counts the erasures in the database that are not finished. */
function countUnfinished({ databasePath }: Pick<Target, 'databasePath'>): number {
  const client = new Database(databasePath, { readonly: true });
  try {
    const row = client
      .query<{ n: number }, []>('SELECT count(*) AS n FROM erasures WHERE pending_user_id IS NOT NULL')
      .get();
    return row?.n ?? 0;
  } finally {
    client.close();
  }
}

test('finishes an erasure at the next start after kill -9, leaving no row, chart or byte of the user', async () => {
  const dataDir = join(folder.path, 'data');
  let target = await startTarget(UNLIMITED, { dataDir });
  const record = async (user: string, label: string) =>
    post(
      target,
      '/log_batch',
      {
        metrics: Array.from({ length: 1_000 }, (_, i) => ({
          metric_name: 'load',
          metric_value: i,
          data_string: `${label} ${i}`,
        })),
      },
      { authorization: `Bearer ${await token({ sub: user })}` },
    );
  for (let i = 0; i < 30; i++) {
    expect((await record(MARK, MARK)).status).toBe(200);
    if (i % 3 === 0) expect((await record('ada', 'page')).status).toBe(200);
  }
  const erasure = send(`${target.url}/api/users/${MARK}`, { method: 'DELETE', headers: await admin() }).catch(
    () => 'disconnected',
  );
  while (countUnfinished(target) === 0) {
    // waits until the pending erasure is written
  }
  await target.stop('SIGKILL');
  expect(await erasure).toBe('disconnected');
  expect(countUnfinished(target)).toBe(1);

  target = await startTarget(UNLIMITED, { dataDir });
  while (countUnfinished(target) > 0) await send(`${target.url}/healthz`);
  const headers = await admin();
  const series = await send(`${target.url}/api/metrics/series?name=load&user_id=${MARK}`, { headers });
  expect(series.body.buckets).toEqual([]);
  const all = await send(`${target.url}/api/metrics`, { headers });
  expect(all.body.metrics.map(({ name, count }: { name: string; count: number }) => [name, count])).toEqual([
    ['load', 10_000],
  ]);
  const records = await send(`${target.url}/api/records/metrics?user_id=${MARK}`, { headers });
  expect(records.body.records).toEqual([]);
  const status = () => send(`${target.url}/api/status`, { headers });
  while ((await status()).body.ledger.deleted === 0) {
    // waits until the finished erasure is counted
  }
  expect((await status()).body.ledger).toMatchObject({ stored: 40_000, deleted: 30_000 });
  await target.stop();
  for (const file of readdirSync(dataDir)) {
    expect([file, readFileSync(join(dataDir, file)).includes(MARK)]).toEqual([file, false]);
  }
});
