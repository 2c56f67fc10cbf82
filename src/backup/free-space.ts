import fs from 'node:fs';
import { dirname } from 'node:path';
import { readFreeBytes } from '../free-bytes.ts';

/** How often the free space is read during a backup, in milliseconds. */
const CHECK_INTERVAL_MS = 1_000;

/** Keeps a backup from filling the disk of the database, on which recording stops below MIN_FREE_BYTES. */
export interface SpaceGuard {
  /**
   * Checks before a backup that it fits into a folder.
   *
   * @throws {Error} with a message for the operator
   */
  assertRoomFor(folder: string, bytes: number): void;
  /**
   * Checks during a backup that the disk of the database has enough space: the write-ahead log grows meanwhile. Call it
   * after each chunk; it reads the free space once per second.
   *
   * @throws {Error} with a message for the operator
   */
  check(): void;
}

/**
 * Creates the guard of a backup. It leaves twice MIN_FREE_BYTES, so that the backup is canceled before recording stops.
 *
 * @param minFreeBytes MIN_FREE_BYTES
 * @param isOffline whether nothing is recorded meanwhile: then it leaves MIN_FREE_BYTES, on the disk of the backup
 */
export function guardSpace(databasePath: string, minFreeBytes: number, isOffline = false): SpaceGuard {
  const databaseFolder = dirname(databasePath);
  const reserve = isOffline ? minFreeBytes : 2 * minFreeBytes;
  let nextAt = 0;
  return {
    assertRoomFor(folder, bytes) {
      const isSameDisk = fs.statSync(folder).dev === fs.statSync(databaseFolder).dev;
      const needed = bytes + (isSameDisk ? reserve : 0);
      const free = readFreeBytes(folder);
      if (free >= needed) return;
      const reserved = isOffline ? 'MIN_FREE_BYTES' : 'twice MIN_FREE_BYTES';
      const reason = isSameDisk ? `, ${reserved} included, because the database is on the same disk` : '';
      throw new Error(
        `The backup needs ${needed} bytes of free space in ${folder}${reason}. There are ${free}. Delete old files, or choose another disk.`,
      );
    },
    check() {
      if (isOffline || performance.now() < nextAt) return;
      nextAt = performance.now() + CHECK_INTERVAL_MS;
      const free = readFreeBytes(databaseFolder);
      if (free >= reserve) return;
      throw new Error(
        `The backup was canceled: the disk of the database has ${free} bytes of free space, less than twice MIN_FREE_BYTES.`,
      );
    },
  };
}
