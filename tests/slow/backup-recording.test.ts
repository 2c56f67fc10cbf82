import { expect, test } from 'bun:test';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { WAL_SIZE_LIMIT_BYTES } from '../../src/storage/wal.ts';
import { exportedIds, succeed } from '../harness/backups.ts';
import { ANALYTICS, METRIC, post } from '../harness/client.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

test('a backup under load contains all records acknowledged before it, and verifies', async () => {
  using folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  const target = await startTarget(UNLIMITED, { dataDir });
  const acknowledged: string[] = [];
  const failures: unknown[] = [];
  const body = {
    metrics: Array(50).fill({ ...METRIC, data_string: 'x'.repeat(400) }),
    analytics: Array(50).fill({ ...ANALYTICS, data: { filler: 'y'.repeat(800) } }),
  };
  let isRecording = true;
  const record = async () => {
    while (isRecording) {
      const response = await post(target, '/log_batch', body);
      if (response.status === 200) acknowledged.push(...response.body.metrics, ...response.body.analytics);
      else failures.push(response.body);
    }
  };
  const recording = Array.from({ length: 4 }, record);
  while (acknowledged.length < 20_000) await post(target, '/log_raw_metric', METRIC);
  const before = acknowledged.slice();
  const backup = join(folder.path, 'backup.tar');
  const { rows } = JSON.parse(await succeed(['backup', backup, '--json'], dataDir));
  expect(acknowledged.length).toBeGreaterThan(before.length);
  const shrunk = () => statSync(join(dataDir, 'rawlog.db-wal')).size <= WAL_SIZE_LIMIT_BYTES;
  while (!shrunk()) await post(target, '/log_raw_metric', METRIC); // the log grew during the backup
  isRecording = false;
  await Promise.all(recording);
  expect(failures).toEqual([]);

  const restored = join(folder.path, 'restored');
  await succeed(['verify', backup], dataDir);
  await succeed(['restore', backup], restored);
  const ids = new Set(await exportedIds(restored));
  expect(ids.size).toBe(rows.metrics + rows.analytics);
  expect(before.filter((id) => !ids.has(id))).toEqual([]);
  expect(await succeed(['verify'], restored)).toContain(`${rows.analytics} events`);
  expect(await target.stop()).toBe(0);
  expect(await succeed(['verify'], dataDir)).toContain('verified');
}, 180_000); // it waits for load, which takes long on a busy machine
