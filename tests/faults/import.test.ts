import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, rows } from '../harness/client.ts';
import { runCli, SECRET, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { loopVolume, noVolumes, smallVolume } from './volume.ts';

/*
 * Imports and disk failures.
 */

if (noVolumes) console.warn(`SKIPPED: tests of imports and disk failures: ${noVolumes}`);

/** Returns records exported from another database, as NDJSON. */
async function exportRecords(count: number): Promise<string> {
  using folder = temporaryFolder();
  const target = await startTarget(UNLIMITED, { dataDir: folder.path });
  await post(target, '/log_batch', { metrics: Array(count).fill(METRIC) });
  await target.stop();
  return (await runCli(['export'], { env: { JWT_SECRET: SECRET, DATA_DIR: folder.path } })).stdout;
}

test.skipIf(noVolumes !== undefined)(
  'keeps all imported records in a power cut after the import reported success',
  async () => {
    const lines = await exportRecords(200);
    using volume = loopVolume();
    const env = { JWT_SECRET: SECRET, DATA_DIR: join(volume.path, 'data') };
    const databasePath = join(env.DATA_DIR, 'rawlog.db');
    // a leftover write-ahead log and an open reader prevent the checkpoint at the end of the import from syncing the rows
    const target = await startTarget(UNLIMITED, { dataDir: env.DATA_DIR });
    await target.stop('SIGKILL');
    const reader = new Database(databasePath);
    reader.run('BEGIN');
    expect(reader.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: 0 });
    const { exitCode, stdout } = await runCli(['import', '-'], { env, stdin: lines });
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'Imported 200 records; 0 already stored.\n' });
    volume.cutPower();
    reader.close();
    volume.remount();
    expect(rows({ databasePath }, 'metrics')).toHaveLength(200);
  },
);

test.skipIf(noVolumes !== undefined)('reports a full disk during an import, which can then be retried', async () => {
  const lines = await exportRecords(1000);
  using volume = smallVolume(4 * 1024 ** 2);
  const env = { JWT_SECRET: SECRET, DATA_DIR: join(volume.path, 'data') };
  const databasePath = join(env.DATA_DIR, 'rawlog.db');
  const [first] = lines.split('\n');
  await runCli(['import', '-'], { env, stdin: `${first}\n` });
  const longInput = Array.from({ length: 100 }, () => lines).join('');
  // the disk has no room for the copy of standard input
  expect(await runCli(['import', '-'], { env, stdin: longInput })).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/no space left|ENOSPC/),
  });
  expect(rows({ databasePath }, 'metrics')).toHaveLength(1);
  const { bavail, bsize } = statfsSync(volume.path);
  const freeBytes = bavail * bsize;
  // leaves room for the copy, but not for all rows
  writeFileSync(join(volume.path, 'ballast'), Buffer.alloc(freeBytes - lines.length - 150_000));
  const full = await runCli(['import', '-'], { env, stdin: lines });
  expect(full).toMatchObject({ exitCode: 1, stdout: '' });
  Bun.spawnSync(['rm', join(volume.path, 'ballast')]);
  expect((await runCli(['import', '-'], { env, stdin: lines })).exitCode).toBe(0);
  expect(rows({ databasePath }, 'metrics')).toHaveLength(1000);
});
