import type { Snapshot } from '../storage/snapshot.ts';
import type { SpaceGuard } from './free-space.ts';
import type { BackupOrigin } from './write.ts';

/*
 * Scheduled backups, wherever they are stored. Only files with the names that are given here are ever read or deleted.
 */

/** The names of scheduled backups: the time of the snapshot to the second, in UTC. */
const NAME = /^rawlog-(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z\.tar$/;

/** A scheduled backup. */
export interface StoredBackup {
  /** Its path, or its s3:// address. */
  readonly path: string;
  /** When the snapshot was taken, in milliseconds since 1970. */
  readonly takenAt: number;
}

/** The place of scheduled backups. There is only one writer per place. */
export interface BackupStore {
  /** Lists the scheduled backups, oldest first. */
  list(): Promise<StoredBackup[]>;
  /**
   * Stores a backup, reads its bytes again and verifies them.
   *
   * @param space watches the free space
   * @param check called between chunks; throws to cancel
   * @throws {DamagedBackupError} if the place does not contain what was written
   */
  store(snapshot: Snapshot, origin: BackupOrigin, space: SpaceGuard, check: () => void): Promise<StoredBackup>;
  /** Deletes a backup. */
  remove(backup: StoredBackup): Promise<void>;
}

/**
 * Returns the name of the backup of a snapshot that was taken at this time, in milliseconds since 1970. Names with the same
 * prefix are in the order of their times.
 */
export function backupNameOf(takenAt: number, prefix = 'rawlog'): string {
  return `${prefix}-${new Date(takenAt).toISOString().slice(0, 19).replace(/[-:]/g, '')}Z.tar`;
}

/**
 * Finds the scheduled backups among names, oldest first.
 *
 * @param pathOf returns the path or address of a name
 */
export function backupsAmong(names: readonly string[], pathOf: (name: string) => string): StoredBackup[] {
  const backups = names.flatMap((name): StoredBackup[] => {
    const [, year, month, day, hour, minute, second] = NAME.exec(name) ?? [];
    const takenAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
    return Number.isNaN(takenAt) ? [] : [{ path: pathOf(name), takenAt }];
  });
  return backups.sort((a, b) => a.takenAt - b.takenAt);
}

/** The numbers of old backups that were deleted, and that could not be. */
export interface Deletions {
  readonly deleted: number;
  readonly undeletable: number;
}

/**
 * Deletes the oldest scheduled backups, except for the newest `keep`: the one just stored and those before it. Backups
 * that are dated later were made while the clock was ahead; they neither count nor are deleted.
 */
export async function deleteOldBackups(store: BackupStore, keep: number, stored: StoredBackup): Promise<Deletions> {
  const old = (await store.list()).filter(({ takenAt }) => takenAt <= stored.takenAt).slice(0, -keep);
  let undeletable = 0;
  for (const backup of old) {
    await store.remove(backup).catch(() => {
      undeletable++; // the new backup is stored nevertheless
    });
  }
  return { deleted: old.length - undeletable, undeletable };
}
