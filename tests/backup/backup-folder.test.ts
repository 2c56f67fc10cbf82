import { expect, test } from 'bun:test';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openBackupFolder } from '../../src/backup/backup-folder.ts';
import { deleteOldBackups } from '../../src/backup/stored-backup.ts';
import { temporaryFolder } from '../harness/target.ts';

const STORED_AT = Date.UTC(2026, 10, 26, 19);
const STORED = 'rawlog-20261126T190000Z.tar';

/** Deletes old backups in a folder with empty files of these names, after the last one was stored. */
function deleteIn(folder: string, names: readonly string[], keep: number) {
  for (const name of [...names, STORED]) writeFileSync(join(folder, name), '');
  return deleteOldBackups(openBackupFolder(folder), keep, { path: join(folder, STORED), takenAt: STORED_AT });
}

test('backups from a time when the clock was ahead do not displace newer ones', async () => {
  using folder = temporaryFolder();
  const ahead = ['rawlog-20270101T000000Z.tar', 'rawlog-20270102T000000Z.tar'];
  const names = ['rawlog-20261120T000000Z.tar', 'rawlog-20261121T000000Z.tar', ...ahead];
  expect(await deleteIn(folder.path, names, 2)).toEqual({ deleted: 1, undeletable: 0 });
  expect(readdirSync(folder.path).sort()).toEqual(['rawlog-20261121T000000Z.tar', STORED, ...ahead]);
});

test('an old backup that cannot be deleted does not keep the others', async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, 'rawlog-20200101T000000Z.tar')); // a folder cannot be deleted like a file
  expect(await deleteIn(folder.path, ['rawlog-20200102T000000Z.tar'], 1)).toEqual({ deleted: 1, undeletable: 1 });
  expect(readdirSync(folder.path).sort()).toEqual(['rawlog-20200101T000000Z.tar', STORED]);
});
