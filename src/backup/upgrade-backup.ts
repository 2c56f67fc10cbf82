import fs from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { isS3Url } from '../formats/s3.ts';
import { lockForReplacement, type OpenOptions, openStorage, type Storage } from '../storage/database.ts';
import { fingerprintOf, readErasureKey } from '../storage/erasure-list.ts';
import { openSnapshot } from '../storage/snapshot.ts';
import { BackupRequiredError, messageOf } from '../storage/storage-error.ts';
import { storeBackup } from './backup-folder.ts';
import { guardSpace, type SpaceGuard } from './free-space.ts';
import { backupNameOf, type StoredBackup } from './stored-backup.ts';

/*
 * The backup before an upgrade that changes data. Its name differs from those of scheduled backups, which therefore never
 * replace it. There is never more than one: the next such backup replaces it, and the worker that makes scheduled backups
 * deletes it after 30 days, when it is of no use any more.
 */

const MAX_AGE_MS = 30 * 86_400_000;
/** The end of their names: see {@link backupNameOf}. */
const TIME = /^-\d{8}T\d{6}Z\.tar$/;

/** Where the backup before an upgrade belongs, and what it says. */
export interface UpgradeBackupOptions {
  /** BACKUP_DIR; if it is undefined or in S3, the folder of the database is used. */
  readonly backupDir: string | undefined;
  /** MIN_FREE_BYTES. */
  readonly minFreeBytes: number;
  /** The version of this program. */
  readonly version: string;
  /** Called with the folder before the backup is written, which takes as long as copying the database a few times. */
  readonly onBegin: (folder: string) => void;
  /** Called with the path of the backup, before the migration. */
  readonly onStored: (path: string) => void;
}

/**
 * Opens a database as {@link openStorage} does. If a pending migration changes data, a backup is stored and verified first,
 * while no other process can open the database. If the process ends in between, the next one begins again.
 *
 * @throws {UnusableDatabaseError} as {@link openStorage}
 * @throws {Error} with a message for the operator, if there is no backup. The database is then unchanged
 */
export async function openWithUpgradeBackup(
  path: string,
  options: OpenOptions,
  backup: UpgradeBackupOptions,
): Promise<Storage> {
  try {
    return openStorage(path, { ...options, requiresBackup: true });
  } catch (error) {
    if (!(error instanceof BackupRequiredError)) throw error;
  }
  const lock = lockForReplacement(path);
  try {
    await backUp(path, backup);
  } catch (error) {
    lock[Symbol.dispose]();
    throw new Error(
      `The database ${path} must be migrated, which changes its data, and could not be backed up before: ${messageOf(error)} Nothing was changed. Make room, set BACKUP_DIR to a folder with enough space, or back it up yourself with the previous version and run "rawlog migrate --without-backup".`,
      { cause: error },
    );
  }
  return openStorage(path, { ...options, lock });
}

/** Returns the folder in which the backup before an upgrade is stored: BACKUP_DIR if it is a folder, or that of the database. */
export function upgradeBackupFolder(path: string, backupDir: string | undefined): string {
  return backupDir === undefined || isS3Url(backupDir) ? dirname(path) : backupDir;
}

/** Finds the newest backup from before an upgrade; undefined if there is none. */
export function findUpgradeBackup(path: string, backupDir: string | undefined): string | undefined {
  const newest = listUpgradeBackups(path, backupDir)
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .at(-1);
  return newest && join(newest.folder, newest.name);
}

/** Deletes the backup from before an upgrade if it is older than 30 days. */
export function deleteExpiredUpgradeBackup(path: string, backupDir: string, now: number): void {
  const limit = backupNameOf(now - MAX_AGE_MS, prefixOf(path));
  for (const { folder, name } of listUpgradeBackups(path, backupDir)) {
    if (name < limit) deleteFile(join(folder, name));
  }
}

async function backUp(path: string, { backupDir, minFreeBytes, version, onBegin, onStored }: UpgradeBackupOptions) {
  const folder = upgradeBackupFolder(path, backupDir);
  onBegin(folder);
  const key = readErasureKey(path);
  const snapshot = await openSnapshot(path, undefined, true);
  let stored: StoredBackup;
  try {
    const origin = { version, takenAt: Date.now(), erasureKey: key && fingerprintOf(key) };
    const space = makingRoom(guardSpace(path, minFreeBytes, true), () => deleteOthers(path, backupDir));
    stored = await storeBackup(folder, snapshot, origin, space, () => {}, prefixOf(path));
  } finally {
    snapshot.close();
  }
  deleteOthers(path, backupDir, stored.path);
  onStored(stored.path);
}

/** Deletes the backups before earlier upgrades, and before this one if a migration was interrupted after it. */
function deleteOthers(path: string, backupDir: string | undefined, kept?: string): void {
  for (const { folder, name } of listUpgradeBackups(path, backupDir)) {
    // the same name in another folder can be the same file, by a link
    if (kept === undefined || name !== basename(kept)) deleteFile(join(folder, name));
  }
}

/** Returns a guard that makes room if there is too little: the database itself is still as it was before the upgrade. */
function makingRoom(space: SpaceGuard, makeRoom: () => void): SpaceGuard {
  return {
    ...space,
    assertRoomFor(folder, bytes) {
      try {
        space.assertRoomFor(folder, bytes);
      } catch {
        makeRoom();
        space.assertRoomFor(folder, bytes);
      }
    },
  };
}

/** Deletes a file, if possible: the new backup is stored nevertheless. */
function deleteFile(path: string): void {
  try {
    fs.rmSync(path, { force: true });
  } catch {
    // tried again after the next backup
  }
}

function listUpgradeBackups(path: string, backupDir: string | undefined): { folder: string; name: string }[] {
  const folders = new Set([dirname(path), upgradeBackupFolder(path, backupDir)].map((folder) => resolve(folder)));
  const prefix = prefixOf(path);
  return [...folders].flatMap((folder) =>
    namesIn(folder)
      .filter((name) => name.startsWith(prefix) && TIME.test(name.slice(prefix.length)))
      .map((name) => ({ folder, name })),
  );
}

/** Returns the names in a folder; none if it cannot be read, which storing a backup there reports. */
function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder);
  } catch {
    return [];
  }
}

/** Returns what the names of the backups of a database begin with: databases can share a folder. */
function prefixOf(path: string): string {
  return `${basename(path, '.db')}-before-upgrade`;
}
