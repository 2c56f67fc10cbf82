import { SQLiteError } from 'bun:sqlite';
import { rootCause } from '../system-error.ts';

/**
 * The kind of a {@link StorageError}.
 *
 * - `locked`: another process holds a lock; retry
 * - `full`: the disk is full; calls succeed again once there is space
 * - `failing`: the disk or the file is broken. After a failed fsync, data may or may not be on disk and the page cache
 *   cannot be trusted, so the process must restart
 * - `corrupt`: a query read something other than what was written; recording stops
 * - `unavailable`: the file cannot be opened or written (permissions, read-only file system)
 * - `bug`: anything else. The statement is wrong, not the storage
 */
export type StorageErrorKind = 'locked' | 'full' | 'failing' | 'corrupt' | 'unavailable' | 'bug';

/** Error kinds by SQLite primary result code (https://www.sqlite.org/rescode.html). */
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

/** A database that rawlog cannot or must not open. The message is for the operator. */
export class UnusableDatabaseError extends Error {
  override readonly name = 'UnusableDatabaseError';
  /** Whether a newer version of rawlog wrote the database. */
  readonly isNewer: boolean;

  constructor(message: string, { cause, isNewer = false }: { cause?: unknown; isNewer?: boolean } = {}) {
    super(message, { cause });
    this.isNewer = isNewer;
  }
}

/** Thrown instead of migrating a database whose data would change, if it has not been backed up. */
export class BackupRequiredError extends Error {
  override readonly name = 'BackupRequiredError';
}

/** A failed database call. The cause contains SQLite's message, which belongs only in the operator's log. */
export class StorageError extends Error {
  override readonly name = 'StorageError';
  readonly kind: StorageErrorKind;

  constructor(kind: StorageErrorKind, cause: unknown) {
    super(`storage error: ${kind}`, { cause });
    this.kind = kind;
  }
}

/** Error kinds of extended result codes whose kind differs from that of their primary code. */
const KIND_BY_EXTENDED_CODE: Readonly<Record<number, StorageErrorKind>> = {
  3082: 'unavailable', // IOERR_NOMEM
  4874: 'full', // IOERR_SHMSIZE: no space for the wal-index
  6410: 'unavailable', // IOERR_GETTEMPPATH: no folder for temporary files
};

/** Classifies an error thrown by a database call. The low byte of an extended result code is its primary code. */
export function toStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const origin = findSqliteError(error);
  if (!origin) return new StorageError('bug', error);
  const kind = KIND_BY_EXTENDED_CODE[origin.errno] ?? KIND_BY_RESULT_CODE[origin.errno & 0xff];
  return new StorageError(kind ?? 'bug', origin);
}

/** Finds the driver's error among the causes of an error. drizzle wraps it in one that contains statement parameters. */
function findSqliteError(error: unknown): SQLiteError | undefined {
  let cause = error;
  for (let depth = 0; depth < 20 && cause instanceof Error; depth++, cause = cause.cause) {
    if (cause instanceof SQLiteError) return cause;
  }
  return undefined;
}

/**
 * Checks that statements changed exactly the expected number of rows.
 *
 * @throws {StorageError} `failing` if not: a trigger or view was added to the schema. The next start rejects the database
 */
export function assertChanges(changes: number, expected: number): void {
  if (changes === expected) return;
  const message = `expected ${expected} row changes, but SQLite made ${changes}: the schema was changed by another program`;
  throw new StorageError('failing', new Error(message));
}

/** Returns an error's message for the operator. For a database error, this is SQLite's message. */
export function messageOf(error: unknown): string {
  const storageError = toStorageError(error);
  if (error instanceof UnusableDatabaseError || storageError.kind === 'bug') {
    return error instanceof Error ? error.message : String(error);
  }
  const cause = rootCause(storageError);
  return `Database error: ${cause instanceof Error ? cause.message : String(cause)}`;
}
