import { constants } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import type { S3Access } from '../formats/s3.ts';
import { openSnapshot } from '../storage/snapshot.ts';
import { lowerPriority } from '../thread-priority.ts';
import { openBackupStore } from './backup-store.ts';
import { guardSpace } from './free-space.ts';
import { type Deletions, deleteOldBackups, type StoredBackup } from './stored-backup.ts';
import { deleteExpiredUpgradeBackup } from './upgrade-backup.ts';

/*
 * The backup worker: a thread that makes one scheduled backup and exits.
 */

/** The startup options of the worker. */
export interface BackupTask {
  readonly databasePath: string;
  /** The file descriptor of the database file that the server keeps open. */
  readonly databaseFile: number;
  /** BACKUP_DIR. */
  readonly backupDir: string;
  readonly s3: S3Access;
  /** Number of backups to keep. */
  readonly keep: number;
  /** MIN_FREE_BYTES. */
  readonly minFreeBytes: number;
  readonly version: string;
  /** The fingerprint of the key of the erasure list. */
  readonly erasureKey: string | undefined;
  /** One number: not 0 once the backup is canceled. */
  readonly canceled: SharedArrayBuffer;
}

/** The message of the worker when it has finished. */
export type BackupOutcome =
  | ({ readonly stored: StoredBackup; readonly milliseconds: number } & Deletions)
  | { readonly failed: string };

if (parentPort) {
  // on Linux this affects only this thread: recording and queries take precedence
  lowerPriority(constants.priority.PRIORITY_LOW);
  const outcome = await run(workerData as BackupTask);
  parentPort.postMessage(outcome);
}

async function run(task: BackupTask): Promise<BackupOutcome> {
  const startedAt = performance.now();
  const canceled = new Int32Array(task.canceled);
  const check = () => {
    if (Atomics.load(canceled, 0) !== 0) throw new Error('canceled');
  };
  try {
    const snapshot = await openSnapshot(task.databasePath, task.databaseFile);
    try {
      const { version, erasureKey } = task;
      const space = guardSpace(task.databasePath, task.minFreeBytes);
      const origin = { version, takenAt: Date.now(), erasureKey };
      const store = openBackupStore(task.backupDir, task.s3);
      const stored = await store.store(snapshot, origin, space, check);
      deleteExpiredUpgradeBackup(task.databasePath, task.backupDir, origin.takenAt);
      const deletions = await deleteOldBackups(store, task.keep, stored);
      return { stored, ...deletions, milliseconds: Math.round(performance.now() - startedAt) };
    } finally {
      snapshot.close();
    }
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}
