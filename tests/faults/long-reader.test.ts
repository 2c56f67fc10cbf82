import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { ANALYTICS, post, send } from '../harness/client.ts';
import { startTarget, UNLIMITED } from '../harness/target.ts';

/** To what size the write-ahead log is cut, in bytes. */
const LIMIT = 16 * 1024 ** 2;

test('a write-ahead log that grew while a reader held a snapshot shrinks once the reader is gone, under load', async () => {
  const target = await startTarget({ ...UNLIMITED, MAX_BODY_BYTES: '20000000' });
  const logBytes = () => statSync(`${target.databasePath}-wal`).size;
  const event = { ...ANALYTICS, data: { filler: 'x'.repeat(3_000) } };
  const load = async () =>
    expect((await post(target, '/log_batch', { analytics: Array(1_000).fill(event) })).status).toBe(200);
  const reader = new Database(target.databasePath, { readonly: true });
  try {
    await load();
    reader.run('BEGIN');
    const seen = reader.query('SELECT count(*) AS n FROM analytics');
    expect(seen.get()).toEqual({ n: 1_000 });
    while (logBytes() < 2 * LIMIT) await load();
    expect(seen.get()).toEqual({ n: 1_000 });
    reader.run('COMMIT');
    const peak = logBytes();
    while (logBytes() > LIMIT) expect((await post(target, '/log_raw_analytics', ANALYTICS)).status).toBe(200);
    expect(peak).toBeGreaterThan(2 * LIMIT - 1);
    // it is kept small again without the query worker
    for (let i = 0; i < 10; i++) await load();
    expect(logBytes()).toBeLessThanOrEqual(LIMIT);
    expect((await send(`${target.url}/readyz`)).status).toBe(200);
  } finally {
    reader.close();
    await target.stop();
  }
}, 60_000);
