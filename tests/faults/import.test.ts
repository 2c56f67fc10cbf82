import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, rows } from '../harness/client.ts';
import { runCli, SECRET, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { loopVolume, noVolumes, smallVolume } from './volume.ts';

/*
 * Imports beside disks that fail.
 */

if (noVolumes) console.warn(`SKIPPED: imports and failing disks: ${noVolumes}`);

/** Records of a database that is gone, as lines. */
async function exportedRecords(count: number): Promise<string> {
  using folder = temporaryFolder();
  const target = await startTarget(UNLIMITED, { dataDir: folder.path });
  await post(target, '/log_batch', { metrics: Array(count).fill(METRIC) });
  await target.stop();
  return (await runCli(['export'], { env: { JWT_SECRET: SECRET, DATA_DIR: folder.path } })).stdout;
}

test.skipIf(noVolumes !== undefined)('an import that reports success survives a power cut', async () => {
  const lines = await exportedRecords(200);
  using volume = loopVolume();
  const env = { JWT_SECRET: SECRET, DATA_DIR: join(volume.path, 'data') };
  const databasePath = join(env.DATA_DIR, 'rawlog.db');
  // a database that was not closed, and its reader: neither leaves it to the end of the import to sync the rows
  const target = await startTarget(UNLIMITED, { dataDir: env.DATA_DIR });
  await target.stop('SIGKILL');
  const reader = new Database(databasePath);
  reader.run('BEGIN');
  expect(reader.query('SELECT count(*) AS n FROM metrics').get()).toEqual({ n: 0 });
  const { exitCode, stdout } = await runCli(['import', '-'], { env, stdin: lines });
  expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'Imported 200 records; 0 were already stored.\n' });
  volume.cutPower();
  reader.close();
  volume.remount();
  expect(rows({ databasePath }, 'metrics')).toHaveLength(200);
});

test.skipIf(noVolumes !== undefined)('an import that finds the disk full reports it, and can be repeated', async () => {
  const lines = await exportedRecords(1000);
  using volume = smallVolume(4 * 1024 ** 2);
  const env = { JWT_SECRET: SECRET, DATA_DIR: join(volume.path, 'data') };
  const databasePath = join(env.DATA_DIR, 'rawlog.db');
  const [first] = lines.split('\n');
  await runCli(['import', '-'], { env, stdin: `${first}\n` });
  const long = Array.from({ length: 100 }, () => lines).join('');
  // no room for the copy of standard input
  expect(await runCli(['import', '-'], { env, stdin: long })).toMatchObject({
    exitCode: 1,
    stdout: '',
    stderr: expect.stringMatching(/no space left|ENOSPC/),
  });
  expect(rows({ databasePath }, 'metrics')).toHaveLength(1);
  const { bavail, bsize } = statfsSync(volume.path);
  const free = bavail * bsize;
  // room for the copy, not for all of the rows
  writeFileSync(join(volume.path, 'ballast'), Buffer.alloc(free - lines.length - 150_000));
  const full = await runCli(['import', '-'], { env, stdin: lines });
  expect(full).toMatchObject({ exitCode: 1, stdout: '' });
  Bun.spawnSync(['rm', join(volume.path, 'ballast')]);
  expect((await runCli(['import', '-'], { env, stdin: lines })).exitCode).toBe(0);
  expect(rows({ databasePath }, 'metrics')).toHaveLength(1000);
});
