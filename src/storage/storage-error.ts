import { SQLiteError } from 'bun:sqlite';
import { rootCause } from '../system-error.ts';

/**
 * What kind of trouble a failed database call means.
 *
 * - `locked`: another process holds the database; worth a retry
 * - `full`: no space; heals when there is some again
 * - `failing`: the disk or the file is broken. What an fsync reported as failed may or may not be on
 *   the disk, and the page cache cannot be trusted: the process must end and start anew
 * - `corrupt`: the file was read, and is not what was written: a query found it, and recording stops
 * - `unavailable`: the file cannot be opened or written (permissions, read-only)
 * - `bug`: anything else: the statement is wrong, not the storage
 */
export type StorageErrorKind = 'locked' | 'full' | 'failing' | 'corrupt' | 'unavailable' | 'bug';

/** Primary result codes of SQLite (https://www.sqlite.org/rescode.html). */
const KIND_BY_RESULT_CODE: Readonly<Record<number, StorageErrorKind>> = {
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

/** The database is not one that this program may open. The message is for the operator. */
export class UnusableDatabaseError extends Error {
  override readonly name = 'UnusableDatabaseError';
}

/** A database call that failed. The cause carries SQLite's own words: for the log alone. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly kind: StorageErrorKind;

  constructor(kind: StorageErrorKind, cause: unknown) {
    super(`storage storageError: ${kind}`, { cause });
    this.kind = kind;
  }
}

/** Extended codes that mean something else than the primary code that they belong to. */
const KIND_BY_EXTENDED_CODE: Readonly<Record<number, StorageErrorKind>> = {
  3082: 'unavailable', // IOERR_NOMEM
  4874: 'full', // IOERR_SHMSIZE: there is no space for the index of the write-ahead log
  6410: 'unavailable', // IOERR_GETTEMPPATH: there is no folder for a temporary file
};

/** Classifies what a database call threw. Extended result codes carry the primary one in the low byte. */
export function toStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const origin = sqliteError(error);
  if (!origin) return new StorageError('bug', error);
  const kind = KIND_BY_EXTENDED_CODE[origin.errno] ?? KIND_BY_RESULT_CODE[origin.errno & 0xff];
  return new StorageError(kind ?? 'bug', origin);
}

/** The driver's error among the causes of an error: drizzle wraps it in one that has the statement's parameters. */
function sqliteError(error: unknown): SQLiteError | undefined {
  let cause = error;
  for (let depth = 0; depth < 20 && cause instanceof Error; depth++, cause = cause.cause) {
    if (cause instanceof SQLiteError) return cause;
  }
  return undefined;
}

/**
 * Checks that statements have stored as many rows as they should have, and changed nothing else.
 *
 * @throws {StorageError} `failing`: a trigger or a view of somebody else is in the way, which the next start rejects
 */
export function assertChanges(changes: number, expected: number): void {
  if (changes === expected) return;
  const message = `${expected} rows were stored with ${changes} changes: the schema was changed`;
  throw new StorageError('failing', new Error(message));
}

/** Returns what is wrong in the words of SQLite, where an error is about the database; otherwise its own message. */
export function messageOf(error: unknown): string {
  const storageError = toStorageError(error);
  if (error instanceof UnusableDatabaseError || storageError.kind === 'bug') {
    return error instanceof Error ? error.message : String(error);
  }
  const cause = rootCause(storageError);
  return `The database failed: ${cause instanceof Error ? cause.message : String(cause)}`;
}
