import { Database } from 'bun:sqlite';
import { describe, expect, test } from 'bun:test';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ANALYTICS, expectError, METRIC, post, rows, send } from '../harness/client.ts';
import { SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { loopVolume, noVolumes, smallVolume } from './volume.ts';

if (noVolumes) console.warn(`SKIPPED: tests of full and failing disks: ${noVolumes}`);

const env = { JWT_SECRET: SECRET };

describe('a database locked by another process', () => {
  test('delays only recording until it is unlocked', async () => {
    const target = await startTarget(env);
    const other = new Database(target.databasePath);
    try {
      other.run('PRAGMA busy_timeout = 5000');
      other.run('BEGIN IMMEDIATE');
      const responses = Array.from({ length: 10 }, () => post(target, '/log_raw_metric', METRIC));
      expect((await send(`${target.url}/healthz`)).status).toBe(200);
      other.run('COMMIT');
      expect((await Promise.all(responses)).map(({ status }) => status)).toEqual(Array(10).fill(200));
      expect(rows(target, 'metrics')).toHaveLength(10);
    } finally {
      other.close();
      await target.stop();
    }
  });

  test('returns 503 with the hint of each route after a timeout, and stores requests again once unlocked', async () => {
    const target = await startTarget(env);
    const other = new Database(target.databasePath);
    try {
      other.run('PRAGMA busy_timeout = 5000');
      other.run('BEGIN IMMEDIATE');
      const metric = await post(target, '/log_raw_metric', METRIC);
      expectError(metric, 503, 'storage_unavailable');
      expect(metric.body.hint).toBe('Check analytics service connection and retry.');
      expect(Number(metric.headers.get('retry-after'))).toBeGreaterThan(0);
      const analytics = await post(target, '/log_raw_analytics', ANALYTICS);
      expectError(analytics, 503, 'storage_unavailable');
      expect(analytics.body.hint).toBe('Ensure analytics DB is reachable.');
      other.run('ROLLBACK');
      expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
      expect(rows(target, 'metrics')).toHaveLength(1);
      expect(target.logLines().find(({ status }) => status === 503)).toMatchObject({
        err: { message: expect.stringContaining('locked') },
      });
    } finally {
      other.close();
      await target.stop();
    }
  });
});

test('returns 500 with code internal for a bug, and keeps running', async () => {
  const target = await startTarget(env);
  try {
    const other = new Database(target.databasePath);
    other.run('PRAGMA busy_timeout = 5000');
    other.run('DROP VIEW metric_records'); // SQLite renames no column that a view reads
    other.run('ALTER TABLE metrics RENAME COLUMN data_string TO renamed');
    other.close();
    const response = await post(target, '/log_raw_metric', METRIC);
    expectError(response, 500, 'internal');
    expect(response.body.hint).toBe('Check analytics service connection and retry.');
    expect((await post(target, '/log_raw_analytics', ANALYTICS)).status).toBe(200);
  } finally {
    await target.stop();
  }
});

test('exits and acknowledges nothing when the database file is removed or replaced', async () => {
  using folder = temporaryFolder();
  const target = await startTarget(env, { dataDir: folder.path });
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  renameSync(target.databasePath, join(folder.path, 'moved.db'));
  expectError(await post(target, '/log_raw_metric', METRIC), 503, 'storage_unavailable');
  expect(await target.process.exited).toBe(1);
  expect(JSON.stringify(target.logLines())).toContain('removed or replaced');
});

/** Sends requests until one is accepted. */
async function recovered(target: Target): Promise<void> {
  while ((await post(target, '/log_raw_metric', METRIC)).status !== 200) await send(`${target.url}/healthz`);
}

test.skipIf(noVolumes !== undefined)(
  'rejects recording below MIN_FREE_BYTES before it reads a body, while everything else works, and recovers',
  async () => {
    using volume = smallVolume(48 * 1024 ** 2);
    const ballast = join(volume.path, 'ballast');
    const settings = { ...env, MIN_FREE_BYTES: String(24 * 1024 ** 2) };
    const target = await startTarget(settings, { dataDir: join(volume.path, 'data') });
    try {
      expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
      writeFileSync(ballast, Buffer.alloc(30 * 1024 ** 2));
      await target.logged(({ msg }) => String(msg).startsWith('recording has stopped'));
      const rejected = await post(target, '/log_raw_metric', '{');
      expectError(rejected, 503, 'storage_full'); // not invalid_json: the body was not read
      expect(Number(rejected.headers.get('retry-after'))).toBeGreaterThan(0);
      expectError(await post(target, '/log_batch', { metrics: [METRIC] }), 503, 'storage_full');
      expectError(await send(`${target.url}/readyz`), 503, 'storage_full');
      expectError(await post(target, '/log_raw_metric', METRIC, { authorization: 'none' }), 401, 'unauthorized');

      const headers = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
      const series = await send(`${target.url}/api/metrics/series?name=page_load_time`, { headers });
      expect(series.body.count).toBe(1);
      expect((await send(`${target.url}/api/export/metrics`, { headers })).text).toContain('page_load_time');
      const deletion = `${target.url}/api/records/metrics?name=page_load_time`;
      expect((await send(deletion, { method: 'DELETE', headers })).body.deleted).toEqual({ metrics: 1 });
      const { ledger } = (await send(`${target.url}/api/status`, { headers })).body;
      expect(ledger).toMatchObject({ received: 4, stored: 1, deleted: 1 });
      expect(ledger.rejected).toEqual({ storage_full: 2, unauthorized: 1 });

      rmSync(ballast);
      await recovered(target);
      expect((await send(`${target.url}/readyz`)).status).toBe(200);
      expect(target.logLines().filter(({ msg }) => String(msg).startsWith('recording has'))).toHaveLength(2);
    } finally {
      await target.stop();
    }
  },
);

test('accepts nothing if MIN_FREE_BYTES exceeds the free space from the start', async () => {
  const METRICS_TOKEN = 'a-token-for-metrics';
  const target = await startTarget({ ...env, METRICS_TOKEN, MIN_FREE_BYTES: String(1e14) });
  try {
    expectError(await post(target, '/log_raw_metric', METRIC), 503, 'storage_full');
    expect((await send(`${target.url}/healthz`)).status).toBe(200);
    expect(rows(target, 'metrics')).toEqual([]);
    const { text } = await send(`${target.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
    expect(text).toContain('\nrawlog_disk_full_seconds 0\n');
  } finally {
    await target.stop();
  }
});

test.skipIf(noVolumes !== undefined)(
  'returns 503 storage_full when the disk is full, loses nothing, and recovers once there is room',
  async () => {
    using volume = smallVolume(4 * 1024 ** 2);
    const ballast = join(volume.path, 'ballast');
    writeFileSync(ballast, Buffer.alloc(2 * 1024 ** 2));
    const target = await startTarget({ ...env, MIN_FREE_BYTES: '0' }, { dataDir: join(volume.path, 'data') });
    try {
      const acknowledged: string[] = [];
      const event = { ...ANALYTICS, data: { filler: 'x'.repeat(20_000) } };
      let response = await post(target, '/log_raw_analytics', event);
      for (; response.status === 200; response = await post(target, '/log_raw_analytics', event))
        acknowledged.push(response.body);
      expectError(response, 503, 'storage_full');
      expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(acknowledged.length).toBeGreaterThan(5);
      rmSync(ballast);
      expect((await post(target, '/log_raw_analytics', event)).status).toBe(200);
      const stored = new Set(rows(target, 'analytics').map((row) => row['id']));
      expect(acknowledged.filter((id) => !stored.has(id))).toEqual([]);
      expect(stored.size).toBe(acknowledged.length + 1);
      // stops cleanly on a full disk too
      let later = 0;
      while ((await post(target, '/log_raw_analytics', event)).status === 200) later++;
      expect(await target.stop()).toBe(0);
      expect(rows(target, 'analytics')).toHaveLength(stored.size + later);
    } finally {
      await target.stop();
    }
  },
);

test.skipIf(noVolumes !== undefined)('acknowledges nothing and exits with status 1 when the disk fails', async () => {
  using volume = loopVolume();
  const target = await startTarget(env, { dataDir: join(volume.path, 'data') });
  const { body: id } = await post(target, '/log_raw_metric', METRIC);
  volume.cutPower();
  // the query worker may notice it first, and end the server before it accepts the request
  const response = await post(target, '/log_raw_metric', METRIC).catch(() => undefined);
  if (response) expectError(response, 503, 'storage_unavailable');
  expect(await target.process.exited).toBe(1);
  expect(target.logLines().find(({ level }) => level === 'fatal')).toMatchObject({
    msg: 'the storage has failed: the server is stopping',
  });
  volume.remount();
  expect(rows(target, 'metrics').map((row) => row['id'])).toEqual([id]);
});
