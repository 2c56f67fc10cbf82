import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { ANALYTICS, post, send } from '../harness/client.ts';
import { startTarget, UNLIMITED } from '../harness/target.ts';

/** Size to which the write-ahead log is truncated, in bytes. */
const WAL_LIMIT_BYTES = 16 * 1024 ** 2;

test('shrinks the write-ahead log under load once a reader that held a snapshot is gone', async () => {
  const target = await startTarget({ ...UNLIMITED, MAX_BODY_BYTES: '20000000' });
  const walBytes = () => statSync(`${target.databasePath}-wal`).size;
  const event = { ...ANALYTICS, data: { filler: 'x'.repeat(3_000) } };
  const load = async () =>
    expect((await post(target, '/log_batch', { analytics: Array(1_000).fill(event) })).status).toBe(200);
  const reader = new Database(target.databasePath, { readonly: true });
  try {
    await load();
    reader.run('BEGIN');
    const rowCount = reader.query('SELECT count(*) AS n FROM analytics');
    expect(rowCount.get()).toEqual({ n: 1_000 });
    while (walBytes() < 2 * WAL_LIMIT_BYTES) await load();
    expect(rowCount.get()).toEqual({ n: 1_000 });
    reader.run('COMMIT');
    const peakBytes = walBytes();
    while (walBytes() > WAL_LIMIT_BYTES) expect((await post(target, '/log_raw_analytics', ANALYTICS)).status).toBe(200);
    expect(peakBytes).toBeGreaterThan(2 * WAL_LIMIT_BYTES - 1);
    // commits run checkpoints again, so the log stays small without the query worker
    for (let i = 0; i < 10; i++) await load();
    expect(walBytes()).toBeLessThanOrEqual(WAL_LIMIT_BYTES);
    expect((await send(`${target.url}/readyz`)).status).toBe(200);
  } finally {
    reader.close();
    await target.stop();
  }
}, 60_000);
