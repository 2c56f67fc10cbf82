import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import type { Transact } from './job.ts';
import { toStorageError } from './storage-error.ts';
import { type LogReport, logOf, STAMP_AT } from './wal.ts';

/*
 * Which database file a write-ahead log belongs to. SQLite applies any log that it finds beside a file, also the one of
 * a later state of it, which leaves a mixture of both.
 *
 * The log is written in runs: once all of it is in the database file, it is begun again from its start. The stamp, a
 * number in the header of the database (`user_version`), is raised once in each run. So the last stamp in a log is the
 * one of its database file, or the next one; a file from before that run, or of another database, has another stamp.
 */

const HEADER_BYTES = 100;
/** Where the header of a database has its page size. */
const PAGE_SIZE_AT = 16;
/** Where the header of the log has the two numbers that tell its runs apart. */
const SALTS_AT = 16;
const SALT_BYTES = 8;

/** Raises the stamp of the database in each run of its write-ahead log. There is one per database and process. */
export interface LogStamp {
  /** Raises the stamp if a new run has begun since the last call. */
  note(): void;
}

/**
 * Gives a database its first stamp, in the file itself, unless it has one. Leaves it without if another process reads
 * it: then the next start gives it one.
 */
export function ensureStamp(client: Database): void {
  if (stampOf(client) !== 0) return;
  try {
    client.run('PRAGMA journal_mode = DELETE');
  } catch (error) {
    if (toStorageError(error).kind === 'locked') return;
    throw error;
  }
  // any number, so that two databases do not share theirs
  client.run(`PRAGMA user_version = ${1 + Math.floor(Math.random() * 2 ** 30)}`);
}

/**
 * Makes the stamp of a database that has just been opened.
 *
 * @param log the write-ahead log, open for reading
 * @param isNewRun whether the next transaction begins a new run
 */
export function createLogStamp(client: Database, log: number, transact: Transact, isNewRun: boolean): LogStamp {
  const salts = Buffer.alloc(SALT_BYTES);
  const stamped = Buffer.alloc(SALT_BYTES);
  const read = () => fs.readSync(log, salts, 0, SALT_BYTES, SALTS_AT) === SALT_BYTES;
  const raise = () => {
    transact(() => {
      const stamp = stampOf(client);
      if (stamp !== 0) client.run(`PRAGMA user_version = ${nextStamp(stamp)}`);
    });
    // the stamp may have begun a run of its own
    if (read()) salts.copy(stamped);
  };
  if (isNewRun) raise();
  else if (read()) salts.copy(stamped);
  return {
    note() {
      if (!read() || salts.equals(stamped)) return;
      try {
        raise();
      } catch (error) {
        // a later call raises it
        const { kind } = toStorageError(error);
        if (kind !== 'locked' && kind !== 'full') throw error;
      }
    },
  };
}

/** Writes a page without changing anything. To be called in a transaction. */
export function touch(client: Database): void {
  client.run(`PRAGMA user_version = ${stampOf(client)}`);
}

function stampOf(client: Database): number {
  return client.query<{ user_version: number }, []>('PRAGMA user_version').get()?.user_version ?? 0;
}

/** The stamp of the next run. 0 means that there is none. */
function nextStamp(stamp: number): number {
  return (stamp + 1) | 0 || 1;
}

/**
 * Returns why a write-ahead log does not belong to the database file beside it, in a sentence; undefined if it does, or
 * if there is none. No process may have the database open.
 *
 * @param report what is in the log
 */
export function foreignLog(path: string, report: LogReport | undefined): string | undefined {
  const log = fs.statSync(logOf(path), { throwIfNoEntry: false });
  if (!log || log.size === 0) return undefined;
  const file = fs.statSync(path, { throwIfNoEntry: false });
  if (!file || file.size === 0) {
    return `${logOf(path)} has changes to a database that is ${file ? 'empty' : 'missing'}: ${path}. Put that file back, or move the log away to begin with an empty database.`;
  }
  if (!report || report.committed === 0) return undefined;
  const { pageSize, stamp } = readHeader(path);
  const isStamped = report.stamp === undefined || report.stamp === stamp;
  const isNext = stamp !== 0 && report.stamp === nextStamp(stamp);
  const isComplete = pageSize === report.pageSize && hasAllPages(report, Math.floor(file.size / pageSize));
  if (isComplete && (isStamped || isNext)) return undefined;
  return `${logOf(path)} is not the write-ahead log of ${path}, which was replaced or restored. Put the right one back, or move the log away to use the database without its changes.`;
}

/** Whether every page of the database is in its file, of so many pages, or in the log. */
function hasAllPages({ databasePages, pages }: LogReport, filePages: number): boolean {
  for (let page = filePages + 1; page <= databasePages; page++) if (!pages.has(page)) return false;
  return true;
}

/** Reads what is needed of the header of a database file (https://www.sqlite.org/fileformat2.html#database_header). */
function readHeader(path: string): { pageSize: number; stamp: number } {
  const header = Buffer.alloc(HEADER_BYTES);
  const handle = fs.openSync(path, 'r');
  try {
    fs.readSync(handle, header, 0, HEADER_BYTES, 0);
  } finally {
    fs.closeSync(handle);
  }
  const pageSize = header.readUInt16BE(PAGE_SIZE_AT);
  return { pageSize: pageSize === 1 ? 65_536 : pageSize, stamp: header.readInt32BE(STAMP_AT) };
}
