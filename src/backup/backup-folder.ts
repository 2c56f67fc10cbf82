import fs from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';
import { chownToFolderOwner } from '../file-owner.ts';
import { PacedFile } from '../paced-file.ts';
import type { Snapshot } from '../storage/snapshot.ts';
import { readFileChunks } from './file-source.ts';
import type { SpaceGuard } from './free-space.ts';
import { readBackup } from './read.ts';
import { type BackupStore, backupNameOf, backupsAmong, type StoredBackup } from './stored-backup.ts';
import { type BackupOrigin, backupPieces } from './write.ts';

/** The file that a backup is written to until it is complete. */
const DRAFT_NAME = '.rawlog-backup.tmp';

const { O_CREAT, O_EXCL, O_NOFOLLOW, O_WRONLY } = fs.constants;

/**
 * Stores a backup in a folder, which is created if necessary. The file gets its name once it is durable and its bytes
 * have been read again and verified.
 *
 * @param space watches the free space
 * @param prefix the beginning of its name, before the time
 * @param check called between chunks; throws to cancel
 * @throws {DamagedBackupError} if the file does not contain what was written
 */
export async function storeBackup(
  folder: string,
  snapshot: Snapshot,
  origin: BackupOrigin,
  space: SpaceGuard,
  check: () => void,
  prefix?: string,
): Promise<StoredBackup> {
  makeDurableFolder(folder);
  const draft = join(folder, DRAFT_NAME);
  fs.rmSync(draft, { force: true }); // left by a process that was killed
  space.assertRoomFor(folder, snapshot.sizeBytes);
  try {
    const file = fs.openSync(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    try {
      chownToFolderOwner(file, folder);
      const paced = new PacedFile(file);
      for (const { bytes, position } of backupPieces(snapshot, origin)) {
        check();
        space.check();
        await paced.write(bytes, position);
      }
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    snapshot.close();
    await readBackup(readFileChunks(draft), { onBytes: check });
    const path = join(folder, backupNameOf(origin.takenAt, prefix));
    fs.renameSync(draft, path);
    syncFolder(folder);
    return { path, takenAt: Math.floor(origin.takenAt / 1000) * 1000 };
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

/**
 * Opens the folder of scheduled backups. It is created with the first one. A backup gets its name once it is durable and
 * its bytes have been read again and verified.
 */
export function openBackupFolder(folder: string): BackupStore {
  return {
    async list() {
      const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return [];
        throw error;
      });
      return backupsAmong(names, (name) => join(folder, name));
    },
    store: (snapshot, origin, space, check) => storeBackup(folder, snapshot, origin, space, check),
    async remove({ path }) {
      await rm(path, { force: true });
    },
  };
}
