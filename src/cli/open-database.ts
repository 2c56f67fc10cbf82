import { statSync } from 'node:fs';
import { version } from '../../package.json' with { type: 'json' };
import { openWithUpgradeBackup } from '../backup/upgrade-backup.ts';
import type { Config } from '../config.ts';
import { type Database, openForReading, openStorage, type Storage } from '../storage/database.ts';
import { openReader, type ReaderStorage } from '../storage/reader.ts';
import { walPath } from '../storage/wal.ts';
import { report } from './output.ts';

/*
 * How commands open the database. Only `serve`, `import` and `demo` create one; the others fail if it does not exist, without
 * creating any file.
 */

/**
 * Opens the database for reading. A server may have it open.
 *
 * @throws {Error} if it does not exist
 */
export function openDatabase(path: string): Database {
  assertDatabase(path);
  return openForReading(path);
}

/** A database that only this process has open. */
export interface OfflineDatabase extends Disposable {
  readonly storage: Storage;
  /** A second connection, for the column store and erasures. */
  readonly reader: ReaderStorage;
}

/** The settings that {@link openOffline} uses. */
export type OfflineConfig = Pick<Config, 'databasePath' | 'backupDir' | 'minFreeBytes'>;

/**
 * Opens the database for a command that requires a stopped server, and migrates it as the server does: after a backup, if
 * the migration changes data.
 *
 * @param create whether to create the database if it does not exist
 * @param withoutBackup whether to migrate it without a backup
 * @throws {Error} if it does not exist, or a server has it open
 */
export async function openOffline(
  { databasePath: path, backupDir, minFreeBytes }: OfflineConfig,
  { create = false, withoutBackup = false } = {},
): Promise<OfflineDatabase> {
  if (!create) assertDatabase(path);
  const storage = withoutBackup
    ? openStorage(path, { create })
    : await openWithUpgradeBackup(
        path,
        { create },
        {
          ...{ backupDir, minFreeBytes, version },
          onBegin: (folder) =>
            report(`Backing up the database to ${folder} before the migration, which changes its data.`),
          onStored: (file) => report(`The database was backed up before the migration: ${file}`),
        },
      );
  try {
    const reader = openReader(path);
    return {
      storage,
      reader,
      [Symbol.dispose]() {
        reader.close();
        storage.close();
      },
    };
  } catch (error) {
    storage.close();
    throw error;
  }
}

/** Returns whether a database exists: a file that is not empty, or a write-ahead log without its database. */
export function hasDatabase(path: string): boolean {
  return sizeOf(path) > 0 || sizeOf(walPath(path)) > 0;
}

/**
 * Checks that a database exists.
 *
 * @throws {Error} if it does not
 */
export function assertDatabase(path: string): void {
  if (hasDatabase(path)) return; // opening a write-ahead log without its database fails with a specific error
  if (statSync(path, { throwIfNoEntry: false })) throw new Error(`${path} is empty: it is not a database.`);
  throw new Error(
    `There is no database at ${path}. Run "rawlog serve" to create one, or check DATA_DIR and DATABASE_URL.`,
  );
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
