import { Database } from 'bun:sqlite';
import { afterAll, expect, test } from 'bun:test';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const MARK = 'Wq7xErased';
const admin = async () => ({ authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` });

/** The requests that remove rows, the user who recorded them, and SQL that finds an unfinished removal. */
const REMOVALS = [
  ['an erasure', `/api/users/${MARK}`, MARK, 'SELECT 1 FROM erasures WHERE pending_user_id IS NOT NULL'],
  [
    'a deletion',
    `/api/records/metrics?name=load&data_string~=${MARK}`,
    'berta',
    'SELECT 1 FROM deletions WHERE filter IS NOT NULL',
  ],
] as const;

/** Returns whether a query finds a row in the database. */
function finds(query: string, { databasePath }: Pick<Target, 'databasePath'>): boolean {
  const client = new Database(databasePath, { readonly: true });
  try {
    return client.query(query).get() !== null;
  } finally {
    client.close();
  }
}

test.each(REMOVALS)(
  'finishes %s at the next start after kill -9, leaving no row, aggregate or byte',
  async (name, path, user, unfinished) => {
    const dataDir = join(folder.path, name);
    let target = await startTarget(UNLIMITED, { dataDir });
    const record = async (sub: string, label: string) =>
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
        { authorization: `Bearer ${await token({ sub })}` },
      );
    for (let i = 0; i < 30; i++) {
      expect((await record(user, MARK)).status).toBe(200);
      if (i % 3 === 0) expect((await record('ada', 'page')).status).toBe(200);
    }
    const removal = send(target.url + path, { method: 'DELETE', headers: await admin() }).catch(() => 'disconnected');
    while (!finds(unfinished, target)) {
      // waits until the intent is written
    }
    await target.stop('SIGKILL');
    expect(await removal).toBe('disconnected');
    expect(finds(unfinished, target)).toBe(true);
    const verify = () => runCli(['verify'], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
    expect(await verify()).toMatchObject({ exitCode: 0 });

    target = await startTarget(UNLIMITED, { dataDir });
    while (finds(unfinished, target)) await send(`${target.url}/healthz`);
    const headers = await admin();
    const series = await send(`${target.url}/api/metrics/series?name=load&data_string~=${MARK}`, { headers });
    expect(series.body.count).toBe(0);
    const all = await send(`${target.url}/api/metrics`, { headers });
    expect(all.body.metrics.map(({ name, count }: { name: string; count: number }) => [name, count])).toEqual([
      ['load', 10_000],
    ]);
    const records = await send(`${target.url}/api/records/metrics?data_string~=${MARK}`, { headers });
    expect(records.body.records).toEqual([]);
    const status = () => send(`${target.url}/api/status`, { headers });
    while ((await status()).body.ledger.deleted < 30_000) {
      // waits until the finished removal is counted
    }
    expect((await status()).body.ledger).toMatchObject({ stored: 40_000, deleted: 30_000 });
    await target.stop();
    expect(await verify()).toMatchObject({ exitCode: 0 });
    for (const file of readdirSync(dataDir).filter((name) => name !== 'control')) {
      expect([file, readFileSync(join(dataDir, file)).includes(MARK)]).toEqual([file, false]);
    }
  },
);
