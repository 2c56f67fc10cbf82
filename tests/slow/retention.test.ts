import { Database } from 'bun:sqlite';
import { afterAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { post, rows, send } from '../harness/client.ts';
import { bearer } from '../harness/seeded-server.ts';
import { runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const admin = () => bearer({ sub: 'root', role: 'admin' });
const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
const MARK = 'Xq7pruned';

/** Records batches of metrics and events, of which two thirds are 40 days old and marked. */
async function record(target: Target, batches: number): Promise<void> {
  const headers = await bearer({ sub: 'ada' });
  for (let batch = 0; batch < batches; batch++) {
    const item = (i: number) =>
      i % 3 > 0
        ? { data_string: `${MARK} ${batch} ${i}`, data_index: MARK, timestamp: daysAgo(40) }
        : { data_string: '/', data_index: '', timestamp: daysAgo(1) };
    const items = Array.from({ length: 500 }, (_, i) => item(i));
    const { status } = await post(
      target,
      '/log_batch',
      {
        metrics: items.map((one) => ({ metric_name: 'load', metric_value: 1, ...one })),
        analytics: items.map((one) => ({ type: 'click', data: { text: one.data_string }, ...one })),
      },
      headers,
    );
    expect(status).toBe(200);
  }
}

async function deletedSoFar(target: Target): Promise<number> {
  return (await send(`${target.url}/api/status`, { headers: await admin() })).body.ledger.deleted;
}

function hasUnfinishedDeletion(databasePath: string): boolean {
  const client = new Database(databasePath, { readonly: true });
  try {
    return client.query('SELECT 1 FROM deletions WHERE filter IS NOT NULL').get() !== null;
  } finally {
    client.close();
  }
}

test('a server with RETENTION deletes expired records at its start, and loses nothing that is recorded meanwhile', async () => {
  const dataDir = join(folder.path, 'beside');
  let target = await startTarget(UNLIMITED, { dataDir });
  await record(target, 20);
  await target.stop();

  target = await startTarget({ ...UNLIMITED, RETENTION: 'metric:load=30d,type:click=30d' }, { dataDir });
  const acknowledged: string[] = [];
  const expired = 20 * 2 * 333;
  while ((await deletedSoFar(target)) < expired) {
    const { status, body } = await post(target, '/log_raw_metric', {
      ...{ metric_name: 'load', metric_value: 2, data_string: 'meanwhile' },
    });
    expect(status).toBe(200);
    acknowledged.push(body);
  }
  await target.logged(({ msg }) => msg === 'expired records deleted');
  const headers = await admin();
  const { ledger } = (await send(`${target.url}/api/status`, { headers })).body;
  expect(ledger.deleted).toBe(expired);
  const readStorage = async () => (await send(`${target.url}/api/status`, { headers })).body.storage;
  let storage = await readStorage();
  while (!storage.use.columns_bytes) storage = await readStorage(); // until it is read again, as of after the prune
  const { rows_bytes, columns_bytes, free_pages_bytes } = storage.use;
  expect(rows_bytes + columns_bytes + free_pages_bytes).toBeLessThanOrEqual(storage.database_bytes + storage.wal_bytes);
  const metrics = (await send(`${target.url}/metrics`, { headers })).text;
  for (const part of ['rows', 'columns', 'free'])
    expect(metrics).toContain(`rawlog_database_use_bytes{part="${part}"}`);
  expect(ledger.received).toBe(20_000 + acknowledged.length);
  const stored = new Set(rows(target, 'metrics').map((row) => row['id']));
  expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
  const series = await send(`${target.url}/api/metrics/series?name=load`, { headers });
  expect(series.body.count).toBe(20 * 167 + acknowledged.length);
  await target.stop();
  expect(await runCli(['verify'], { env: { ...UNLIMITED, DATA_DIR: dataDir } })).toMatchObject({ exitCode: 0 });
  for (const file of readdirSync(dataDir).filter((name) => name !== 'control')) {
    expect([file, readFileSync(join(dataDir, file)).includes(MARK)]).toEqual([file, false]);
  }
});

test('a prune that is killed again and again is completed, with a balanced ledger', async () => {
  const dataDir = join(folder.path, 'killed');
  let target = await startTarget(UNLIMITED, { dataDir });
  await record(target, 60);
  await target.stop();
  const env = { ...UNLIMITED, RETENTION_DAYS: '30' };
  const verify = () => runCli(['verify'], { env: { ...UNLIMITED, DATA_DIR: dataDir } });
  let kills = 0;
  for (; kills < 3; kills++) {
    target = await startTarget(env, { dataDir });
    const before = await deletedSoFar(target);
    while ((await deletedSoFar(target)) < Math.min(before + 1 + kills * 1_000, 60 * 2 * 333)) {
      // waits until it has deleted some rows
    }
    await target.stop('SIGKILL');
    expect(await verify()).toMatchObject({ exitCode: 0 });
  }
  target = await startTarget(env, { dataDir });
  while ((await deletedSoFar(target)) < 60 * 2 * 333 || hasUnfinishedDeletion(target.databasePath)) {
    // waits for the end
  }
  await target.stop();
  expect(await verify()).toMatchObject({ exitCode: 0 });
  expect(rows(target, 'metrics').filter((row) => row['user_id'] !== '')).toHaveLength(60 * 167);
}, 120_000);
