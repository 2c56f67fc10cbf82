import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import type { Transact } from './job.ts';
import { toStorageError } from './storage-error.ts';
import { STAMP_OFFSET, type WalReport, walPath } from './wal.ts';

/*
 * Detects a write-ahead log (WAL) that does not belong to the database file next to it. SQLite applies any log with a
 * matching name. A log from a later state of the file would leave a mixture of both states.
 *
 * Once all frames are checkpointed, SQLite restarts the log from its beginning with new salts; we call the frames
 * between two restarts a generation. The stamp, a number in the database header (`user_version`), is incremented once
 * per generation. The last stamp in a log therefore equals the stamp of its database file, or is the next one. A copy
 * of the file from before that generation, or a different database, has another stamp.
 */

const HEADER_BYTES = 100;
/** Offset of the page size in the database header, in bytes. */
const PAGE_SIZE_OFFSET = 16;
/** Offset in the WAL header of the two salts that identify a generation, in bytes. */
const SALTS_OFFSET = 16;
const SALT_BYTES = 8;

/** Increments the stamp of a database once per WAL generation. One instance per database and process. */
export interface WalStamp {
  /** Increments the stamp if the log was restarted since the last call. */
  update(): void;
}

/**
 * Writes the first stamp into the database file itself, unless it already has one. Does nothing while another process
 * reads the database; the next start tries again.
 */
export function ensureStamp(client: Database): void {
  if (stampOf(client) !== 0) return;
  try {
    client.run('PRAGMA journal_mode = DELETE');
  } catch (error) {
    if (toStorageError(error).kind === 'locked') return;
    throw error;
  }
  // The first stamp is random so that two databases are unlikely to share one.
  client.run(`PRAGMA user_version = ${1 + Math.floor(Math.random() * 2 ** 30)}`);
}

/**
 * Creates the {@link WalStamp} of a database that was just opened.
 *
 * @param wal file descriptor of the write-ahead log, open for reading
 * @param isNewGeneration whether the next transaction restarts the log
 */
export function createWalStamp(client: Database, wal: number, transact: Transact, isNewGeneration: boolean): WalStamp {
  const salts = Buffer.alloc(SALT_BYTES);
  const stampedSalts = Buffer.alloc(SALT_BYTES);
  const readSalts = () => fs.readSync(wal, salts, 0, SALT_BYTES, SALTS_OFFSET) === SALT_BYTES;
  const increment = () => {
    transact(() => {
      const stamp = stampOf(client);
      if (stamp !== 0) client.run(`PRAGMA user_version = ${nextStamp(stamp)}`);
    });
    // Writing the stamp may itself have restarted the log.
    if (readSalts()) salts.copy(stampedSalts);
  };
  if (isNewGeneration) increment();
  else if (readSalts()) salts.copy(stampedSalts);
  return {
    update() {
      if (!readSalts() || salts.equals(stampedSalts)) return;
      try {
        increment();
      } catch (error) {
        // The next call retries.
        const { kind } = toStorageError(error);
        if (kind !== 'locked' && kind !== 'full') throw error;
      }
    },
  };
}

/**
 * Writes the first page without changing it, so that a transaction without rows still writes to disk. Call it in a
 * transaction.
 */
export function touch(client: Database): void {
  client.run(`PRAGMA user_version = ${stampOf(client)}`);
}

function stampOf(client: Database): number {
  return client.query<{ user_version: number }, []>('PRAGMA user_version').get()?.user_version ?? 0;
}

/** Returns the stamp of the next generation. Skips 0, which means "no stamp". */
function nextStamp(stamp: number): number {
  return (stamp + 1) | 0 || 1;
}

/**
 * Returns a message for the operator if the write-ahead log does not belong to the database file; undefined if it does,
 * or if there is no log. No process may have the database open.
 */
export function describeWalMismatch(path: string, report: WalReport | undefined): string | undefined {
  const wal = fs.statSync(walPath(path), { throwIfNoEntry: false });
  if (!wal || wal.size === 0) return undefined;
  const file = fs.statSync(path, { throwIfNoEntry: false });
  if (!file || file.size === 0) {
    return `${walPath(path)} contains changes to a database that is ${file ? 'empty' : 'missing'}: ${path}. Put the database file back, or move the write-ahead log away to start with an empty database.`;
  }
  if (!report || report.committed === 0) return undefined;
  const { pageSize, stamp } = readHeader(path);
  const isStamped = report.stamp === undefined || report.stamp === stamp;
  const isNext = stamp !== 0 && report.stamp === nextStamp(stamp);
  const isComplete = pageSize === report.pageSize && hasAllPages(report, Math.floor(file.size / pageSize));
  if (isComplete && (isStamped || isNext)) return undefined;
  return `${walPath(path)} is not the write-ahead log of ${path}: the database was replaced or restored. Put the matching log back, or move this one away to open the database without the changes in it.`;
}

/** Returns whether every page of the database is in its file, which has `filePages` pages, or in the log. */
function hasAllPages({ databasePages, pages }: WalReport, filePages: number): boolean {
  for (let page = filePages + 1; page <= databasePages; page++) if (!pages.has(page)) return false;
  return true;
}

/** Reads the page size and the stamp from a database header (https://www.sqlite.org/fileformat2.html#database_header). */
function readHeader(path: string): { pageSize: number; stamp: number } {
  const header = Buffer.alloc(HEADER_BYTES);
  const handle = fs.openSync(path, 'r');
  try {
    fs.readSync(handle, header, 0, HEADER_BYTES, 0);
  } finally {
    fs.closeSync(handle);
  }
  const pageSize = header.readUInt16BE(PAGE_SIZE_OFFSET);
  return { pageSize: pageSize === 1 ? 65_536 : pageSize, stamp: header.readInt32BE(STAMP_OFFSET) };
}
