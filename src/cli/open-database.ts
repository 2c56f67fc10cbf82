import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Database, openForReading, openStorage, type Storage } from '../storage/database.ts';
import { openReader, type ReaderStorage } from '../storage/reader.ts';
import { logOf } from '../storage/wal.ts';

/*
 * How commands open the database. Only `serve` and `import` create one; the others fail where there is none,
 * before they have created a file.
 */

/**
 * Opens the database beside a server that may have it open.
 *
 * @throws when there is none
 */
export function openDatabase(path: string): Database {
  assertExists(path);
  return openForReading(path);
}

/** A database that this process has for itself. */
export interface OfflineDatabase extends Disposable {
  readonly storage: Storage;
  /** A second connection, for the column store and erasures. */
  readonly reader: ReaderStorage;
}

/**
 * Opens the database for a command that no server may run beside.
 *
 * @param create whether to create it where there is none
 * @throws when there is none, or a server has it open
 */
export function openOffline(path: string, { create = false } = {}): OfflineDatabase {
  if (!create) assertExists(path);
  const storage = openStorage(path, { create });
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

/** Whether there is a database: a file that is not empty, or what is left of one. */
export function hasDatabase(path: string): boolean {
  return sizeOf(path) > 0 || sizeOf(logOf(path)) > 0;
}

function assertExists(path: string): void {
  if (hasDatabase(path)) return; // a write-ahead log alone is rejected with its reason
  if (statSync(path, { throwIfNoEntry: false })) throw new Error(`${path} is empty: it is not a database.`);
  throw new Error(`There is no database in ${dirname(path)}. "rawlog serve" creates one.`);
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
