import { SQLiteError } from 'bun:sqlite';

/**
 * What kind of trouble a failed database call means.
 *
 * - `locked`: another process holds the database; worth a retry
 * - `full`: no space; heals when there is some again
 * - `failing`: the disk or the file is broken. What an fsync reported as failed may or may not be on
 *   the disk, and the page cache cannot be trusted: the process must end and start anew
 * - `corrupt`: the file was read, and is not what was written: queries that read it fail, recording goes on
 * - `unavailable`: the file cannot be opened or written (permissions, read-only)
 * - `bug`: anything else: the statement is wrong, not the storage
 */
export type StorageFaultKind = 'locked' | 'full' | 'failing' | 'corrupt' | 'unavailable' | 'bug';

/** Primary result codes of SQLite (https://www.sqlite.org/rescode.html). */
const KIND_BY_RESULT_CODE: Readonly<Record<number, StorageFaultKind>> = {
  3: 'unavailable', // PERM
  5: 'locked', // BUSY
  6: 'locked', // LOCKED
  8: 'unavailable', // READONLY
  10: 'failing', // IOERR
  11: 'failing', // CORRUPT
  13: 'full', // FULL
  14: 'unavailable', // CANTOPEN
  15: 'locked', // PROTOCOL: could not get a lock in WAL mode
  26: 'failing', // NOTADB
};

/** A database call that failed. The cause carries SQLite's own words: for the log alone. */
export class StorageFault extends Error {
  override readonly name = 'StorageFault';
  readonly kind: StorageFaultKind;

  constructor(kind: StorageFaultKind, cause: unknown) {
    super(`storage fault: ${kind}`, { cause });
    this.kind = kind;
  }
}

/** Classifies what a database call threw. Extended result codes carry the primary one in the low byte. */
export function storageFault(error: unknown): StorageFault {
  if (error instanceof StorageFault) return error;
  // drizzle wraps the driver's error in one whose message holds the statement and its parameters
  const origin = error instanceof Error && error.cause instanceof SQLiteError ? error.cause : error;
  const kind = origin instanceof SQLiteError ? KIND_BY_RESULT_CODE[origin.errno & 0xff] : undefined;
  return new StorageFault(kind ?? 'bug', origin);
}
