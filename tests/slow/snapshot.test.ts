import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runJob } from '../../src/storage/job.ts';
import { openSnapshot } from '../../src/storage/snapshot.ts';
import { ANALYTICS, METRIC, post } from '../harness/client.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/** The bytes of a database header that say that it is not in WAL mode, and their offset. */
const ROLLBACK_MODE = [18, 1, 1] as const;

test('a snapshot is a consistent database, whatever is recorded and checkpointed while it is read', async () => {
  using folder = temporaryFolder();
  const target = await startTarget(UNLIMITED, { dataDir: join(folder.path, 'data') });
  const event = { ...ANALYTICS, data: { filler: 'y'.repeat(300) } };
  const body = { metrics: Array(300).fill(METRIC), analytics: Array(300).fill(event) };
  let isRecording = true;
  let commits = 0;
  const recording = Array.from({ length: 3 }, async () => {
    for (; isRecording; commits++) expect((await post(target, '/log_batch', body)).status).toBe(200);
  });
  const path = join(folder.path, 'copy.db');
  for (let i = 0; i < 40; i++) {
    const snapshot = await openSnapshot(target.databasePath);
    const before = commits;
    while (commits < before + 3) await post(target, '/log_raw_metric', METRIC);
    const bytes = Buffer.alloc(snapshot.sizeBytes);
    snapshot.read(bytes, 0);
    const { rows, ledger } = runJob(snapshot.contents());
    snapshot.close();
    const [offset, ...mode] = ROLLBACK_MODE;
    bytes.set(mode, offset);
    writeFileSync(path, bytes);
    const copy = new Database(path, { readonly: true });
    expect([i, copy.query('PRAGMA integrity_check').get()]).toEqual([i, { integrity_check: 'ok' }]);
    expect(copy.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: rows.metrics });
    expect(copy.query('SELECT count(*) AS n FROM analytics').get()).toEqual({ n: rows.analytics });
    copy.close();
    expect(ledger['stored'] ?? 0).toBe(rows.metrics + rows.analytics);
  }
  isRecording = false;
  await Promise.all(recording);
  await target.stop();
});
