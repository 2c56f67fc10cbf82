import { expect, test } from 'bun:test';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { guardSpace } from '../../src/backup/free-space.ts';
import { openStorage } from '../../src/storage/database.ts';
import { runCli, SECRET, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/** More bytes than any disk has. */
const TOO_MANY = 1e14;

test('a backup must fit, and leave twice MIN_FREE_BYTES on the disk of the database', () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  const frugal = guardSpace(path, 0);
  frugal.assertRoomFor(folder.path, 1_000);
  frugal.check();
  expect(() => frugal.assertRoomFor(folder.path, TOO_MANY)).toThrow(`needs ${TOO_MANY} bytes`);
  const guard = guardSpace(path, TOO_MANY / 2);
  expect(() => guard.assertRoomFor(folder.path, 1_000)).toThrow('the database is on the same disk');
  expect(() => guard.check()).toThrow('less than twice MIN_FREE_BYTES');
});

test('the command and the server make no backup that does not fit, and leave no draft', async () => {
  using folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  openStorage(join(dataDir, 'rawlog.db')).close();
  const env = { MIN_FREE_BYTES: String(TOO_MANY) };
  const commandEnv = { ...env, JWT_SECRET: SECRET, DATA_DIR: dataDir };
  const failed = await runCli(['backup', join(folder.path, 'backup.tar')], { env: commandEnv });
  expect(failed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('bytes of free space') });
  const piped = await runCli(['backup', '-'], { env: commandEnv });
  expect(piped).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('less than twice MIN_FREE_BYTES') });
  expect(readdirSync(folder.path)).toEqual(['data']);
  const backupDir = join(folder.path, 'backups');
  const target = await startTarget({ ...UNLIMITED, ...env, BACKUP_DIR: backupDir }, { dataDir });
  const line = await target.logged(({ msg }) => msg === 'the backup failed');
  expect(line).toMatchObject({ reason: expect.stringContaining('bytes of free space') });
  expect(readdirSync(backupDir)).toEqual([]);
  expect(await target.stop()).toBe(0);
}, 180_000);
