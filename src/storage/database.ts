import { Database } from 'bun:sqlite';
import fs from 'node:fs';
import { dirname } from 'node:path';
import { type BunSQLiteDatabase, drizzle } from 'drizzle-orm/bun-sqlite';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';
import { createOwnedFile } from '../file-owner.ts';
import { describeProcess, lockHolder } from '../system-process.ts';
import { removeMovedCellsIfDue } from './moved-cells.ts';
import { openingErrorMessage } from './opening-error.ts';
import * as schema from './schema.ts';
import { compareSchema, isDataChanging, isOutdated, latestMigration, migrate } from './schema-version.ts';
import { BackupRequiredError, toStorageError, UnusableDatabaseError } from './storage-error.ts';
import { createTextHash, type TextHash } from './text-hash.ts';
import { createTransact } from './transact.ts';
import {
  createFinalCheckpoint,
  inspectWal,
  truncateWal,
  WAL_SIZE_LIMIT_BYTES,
  type WalReport,
  walPath,
} from './wal.ts';
import { createWalStamp, describeWalMismatch, ensureStamp } from './wal-stamp.ts';
import { createWalSync, type SyncStatus } from './wal-sync.ts';

/** A connection to a database. Only `src/storage` opens one, so only `src/storage` imports the driver. */
export type { Database } from 'bun:sqlite';

/** SQLite application ID in the file header that marks the file as rawlog's: "rawl" in ASCII. */
export const APPLICATION_ID = 0x7261776c;

/** Busy timeout while opening, in milliseconds. It can be long because nothing is served yet. */
const OPEN_BUSY_TIMEOUT_MS = 5_000;

/** Busy timeout for the process lock, in milliseconds. Commands hold the lock only briefly. */
const LOCK_BUSY_TIMEOUT_MS = 500;

/** Busy timeout of the query worker, in milliseconds: far longer than a group commit holds the write lock. */
export const READER_BUSY_TIMEOUT_MS = 5_000;

/**
 * SQLite's page cache of the query worker, in KB. With the default of 2 MB, catching up with many users and labels reads
 * the same index pages again and again.
 */
const READER_CACHE_KB = 64 * 1024;

/** An open database: drizzle for statements, the underlying client for transactions and pragmas. */
export interface Storage {
  readonly orm: BunSQLiteDatabase<typeof schema>;
  readonly client: Database;
  readonly hash: TextHash;
  /** The state of the write-ahead log when the database was opened; undefined if there was no log. */
  readonly walReport: WalReport | undefined;
  /** Why the file could not be compacted although an erasure or a deletion waits for it; undefined if it was not due. */
  readonly compactionError: unknown;
  /**
   * Increments the stamp if the write-ahead log was restarted: see wal-stamp.ts. {@link sync} does the same. Call this
   * after any other work that may have restarted the log.
   */
  stampWal(): void;
  /**
   * Syncs to disk every transaction that was committed before the call: see {@link WalSync}.
   *
   * @throws {StorageError} `failing`, also as a rejection. The state on disk is then unknown
   */
  sync(): Promise<void> | undefined;
  /** A file descriptor of the database file for reading. It stays open until {@link close}. */
  readonly file: number;
  /** Returns how {@link sync} works on this disk. */
  syncStatus(): SyncStatus;
  /** Checkpoints the write-ahead log into the database file and closes the database. */
  close(): void;
}

/** Options of {@link openStorage}. */
export interface OpenOptions {
  /** Whether to create the database and its folder if they do not exist. */
  readonly create?: boolean;
  /** Called before the file is compacted, which an erasure after an import requires and which can take minutes. */
  readonly onCompaction?: () => void;
  /** Whether it is an error if pending migrations change data. */
  readonly requiresBackup?: boolean;
  /** The lock of the database, if the caller has it. Closing the database releases it, as does an error. */
  readonly lock?: DatabaseLock;
}

/** The lock that keeps other servers and commands from opening a database, as long as it is not disposed of. */
export interface DatabaseLock extends Disposable {}

/**
 * Opens the database exclusively for this process and applies pending migrations. When it returns, the directory entry
 * of a new file is durable too.
 *
 * @throws {UnusableDatabaseError} with a message for the operator, if the database cannot be opened, belongs to another
 *   program, was written by a newer version, does not match its write-ahead log, or has a modified schema
 * @throws {BackupRequiredError} if a backup is required first. The database is then unchanged
 */
export function openStorage(path: string, options: OpenOptions = {}): Storage {
  return withOpeningErrors(path, () => openExclusively(path, options));
}

function openExclusively(
  path: string,
  { create = true, onCompaction = () => {}, requiresBackup = false, lock: given }: OpenOptions,
): Storage {
  if (create) makeDurableFolder(dirname(path));
  const lock = given ?? disposable(lockDatabase(path, LOCK_BUSY_TIMEOUT_MS));
  let client: Database;
  let walReport: WalReport | undefined;
  try {
    walReport = inspectWal(path);
    assertWalMatches(path, walReport);
    if (create) createOwnedFile(path);
    client = new Database(path, { readwrite: true, strict: true });
  } catch (error) {
    lock[Symbol.dispose]();
    throw error;
  }
  const handles: number[] = [];
  try {
    client.run(`PRAGMA busy_timeout = ${OPEN_BUSY_TIMEOUT_MS}`);
    assertUsable(client);
    if (requiresBackup && isDataChanging(client))
      throw new BackupRequiredError(`the migration of ${path} changes data`);
    // before the first write; an existing database adopts it only with VACUUM (see rewrite-file.ts)
    if (isEmpty(client)) client.run('PRAGMA auto_vacuum = INCREMENTAL');
    ensureStamp(client);
    client.run('PRAGMA journal_mode = WAL');
    client.run(`PRAGMA journal_size_limit = ${WAL_SIZE_LIMIT_BYTES}`);
    // Deleted content is zeroed, so an erasure leaves no traces. Inserts are no slower for it.
    client.run('PRAGMA secure_delete = ON');
    client.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(client);
    const orm = drizzle(client, { schema });
    // Until now, SQLite has synced each commit (FULL, its default). From now on, sync() does that. With NORMAL, SQLite
    // still makes the two syncs that a checkpoint needs: the WAL before it, and the database file after it.
    client.run('PRAGMA synchronous = NORMAL');
    const hash = createTextHash(client);
    hashMigratedKeys(client, hash);
    const compactionError = removeMovedCellsIfDue(client, onCompaction);
    const isTruncated = truncateWal(client, OPEN_BUSY_TIMEOUT_MS);
    const wal = openWal(path);
    handles.push(wal);
    const transact = createTransact(client);
    const { update: stampWal } = createWalStamp(client, wal, transact, isTruncated);
    // This handle stays open until SQLite closes the file: closing it earlier would drop SQLite's POSIX locks.
    const handle = fs.openSync(path, 'r');
    handles.push(handle);
    const autoCheckpoint = createAutoCheckpoint(client, handle);
    const walSync = createWalSync({
      ...{ client, transact, path, database: handle, wal, stampWal },
      onSize: autoCheckpoint.update,
    });
    syncFolder(dirname(path));
    // From now on the commit queue retries when the database is locked, without blocking the event loop.
    client.run('PRAGMA busy_timeout = 0');
    return {
      orm,
      client,
      hash,
      walReport,
      compactionError,
      file: handle,
      stampWal,
      sync: walSync.sync,
      syncStatus: walSync.status,
      close() {
        try {
          // Leaving WAL mode checkpoints the log and deletes it, so a closed database is a single file.
          client.run('PRAGMA journal_mode = DELETE');
        } catch (error) {
          // Another process is reading the database, or the disk is full. The log stays next to it, which is just as safe.
          const { kind } = toStorageError(error);
          if (kind !== 'locked' && kind !== 'full') throw error;
        } finally {
          client.close();
          for (const opened of handles) fs.closeSync(opened);
          lock[Symbol.dispose]();
        }
      },
    };
  } catch (error) {
    client.close();
    for (const opened of handles) fs.closeSync(opened);
    lock[Symbol.dispose]();
    throw error;
  }
}

/**
 * Opens an existing database to read its rows and to maintain data derived from them, such as the column store. A
 * server may have the database open.
 *
 * @throws {UnusableDatabaseError} as {@link openStorage}, or if there is no database
 */
export function openForReading(path: string): Database {
  return withOpeningErrors(path, () => {
    assertWalMatchesUnlessServed(path);
    const client = new Database(path, { strict: true, readwrite: true });
    try {
      client.run(`PRAGMA busy_timeout = ${READER_BUSY_TIMEOUT_MS}`);
      assertUsable(client);
      client.run('PRAGMA synchronous = NORMAL');
      client.run(`PRAGMA cache_size = ${-READER_CACHE_KB}`);
      client.run('PRAGMA secure_delete = ON');
      client.run(`PRAGMA journal_size_limit = ${WAL_SIZE_LIMIT_BYTES}`);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  });
}

/**
 * Opens a private copy of a database to verify it, upgrades it if it was written by an older version, and deletes its
 * file at once: the copy disappears with the connection, however the process ends.
 *
 * @param path a copy that is in no other use and not in WAL mode
 * @param beforeMigration called with the database as it is, before an older one is migrated
 * @throws {UnusableDatabaseError} as {@link openStorage}
 */
export function openDisposable(path: string, beforeMigration: (client: Database) => void): Database {
  return withOpeningErrors(path, () => {
    const client = new Database(path, { strict: true, readwrite: true });
    try {
      client.run('PRAGMA journal_mode = OFF'); // without other files
      assertUsable(client);
      beforeMigration(client);
      if (isOutdated(client)) {
        migrate(client);
        hashMigratedKeys(client, createTextHash(client));
      }
      return client;
    } catch (error) {
      client.close();
      throw error;
    } finally {
      fs.rmSync(path, { force: true });
    }
  });
}

/**
 * Copies the write-ahead log of a database into its file and deletes it, so that the database is a single file. The
 * caller must hold the lock of the database.
 *
 * @throws {UnusableDatabaseError} if the log does not belong to the database
 * @throws SQLite's errors, as if another process is reading the database
 */
export function mergeWal(path: string): void {
  assertWalMatches(path, inspectWal(path));
  const client = new Database(path, { readwrite: true });
  try {
    client.run(`PRAGMA busy_timeout = ${OPEN_BUSY_TIMEOUT_MS}`);
    client.run('PRAGMA journal_mode = DELETE');
  } finally {
    client.close();
  }
}

/**
 * Copies what is only in the write-ahead log of a database into its file. Unlike {@link mergeWal}, it works while this
 * process still has connections that are closed: SQLite keeps them until their statements are garbage-collected, and until
 * then, closing a database leaves its log.
 *
 * @throws {Error} if a connection is reading an older snapshot
 */
export function emptyWal(path: string): void {
  const client = new Database(path, { readwrite: true });
  try {
    if (!truncateWal(client, 0, OPEN_BUSY_TIMEOUT_MS)) throw new Error(`The write-ahead log of ${path} is in use.`);
  } finally {
    client.close();
  }
}

/** Calls `open`; rethrows its errors with a message that names the database and says why it cannot be opened. */
function withOpeningErrors<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    if (error instanceof BackupRequiredError) throw error;
    const isUnusable = error instanceof UnusableDatabaseError;
    const reason = isUnusable ? error.message : openingErrorMessage(error, path);
    throw new UnusableDatabaseError(`The database ${path} cannot be opened: ${reason}`, {
      cause: error,
      isNewer: isUnusable && error.isNewer,
    });
  }
}

function assertWalMatches(path: string, report: WalReport | undefined): void {
  const problem = describeWalMismatch(path, report);
  if (problem) throw new UnusableDatabaseError(problem);
}

/**
 * Checks that the write-ahead log belongs to the database, unless a server has the database open. The server has
 * already checked it, and the files would change while they are read here.
 */
function assertWalMatchesUnlessServed(path: string): void {
  if (!fs.statSync(walPath(path), { throwIfNoEntry: false })?.size) return;
  let lock: Database;
  try {
    lock = lockDatabase(path, 0);
  } catch (error) {
    if (error instanceof UnusableDatabaseError) return;
    throw error;
  }
  try {
    assertWalMatches(path, inspectWal(path));
  } finally {
    lock.close();
  }
}

/** Replaces the placeholder hashes written by a migration. SQL cannot compute the real ones. */
function hashMigratedKeys(client: Database, hash: TextHash): void {
  const nextBatch = client.prepare<{ id: number; user_id: string; route: string; key: string }, []>(
    'SELECT id, user_id, route, key FROM cached_responses WHERE key_hash < 0 AND key IS NOT NULL LIMIT 1000',
  );
  const update = client.prepare('UPDATE cached_responses SET key_hash = ? WHERE id = ?');
  const transact = createTransact(client);
  for (let rows = nextBatch.all(); rows.length > 0; rows = nextBatch.all()) {
    transact(() => {
      for (const { id, user_id, route, key } of rows) update.run(hash(cachedResponseKey(user_id, route, key)), id);
    });
  }
}

/** Returns the text whose hash is the lookup key of a cached response. */
export function cachedResponseKey(userId: string, route: string, key: string): string {
  return JSON.stringify([userId, route, key]);
}

/** Returns whether a database contains nothing, not even a schema. */
function isEmpty(client: Database): boolean {
  return client.query<{ pages: number }, []>('SELECT page_count AS pages FROM pragma_page_count').get()?.pages === 0;
}

/** Opens the write-ahead log to sync it. SQLite locks other files, so closing this handle drops no lock. */
function openWal(path: string): number {
  return fs.openSync(walPath(path), 'r+');
}

/** Pages in the write-ahead log at which a commit runs a checkpoint; SQLite's default. */
const AUTO_CHECKPOINT_PAGES = 1_000;

/**
 * Turns SQLite's automatic checkpoints off and on. While a reader holds an old snapshot, the log grows and each checkpoint
 * attempt scans all of it. The first checkpoint after the reader finishes would block the event loop for seconds. So the
 * query worker copies a log above its size limit, except for the last pages.
 */
function createAutoCheckpoint(client: Database, file: number): { update(walBytes: number): void } {
  const finalCheckpoint = createFinalCheckpoint(client, file);
  let isOff = false;
  return {
    update(walBytes) {
      const turnOff = walBytes > WAL_SIZE_LIMIT_BYTES;
      if (turnOff) finalCheckpoint.advance();
      if (turnOff === isOff) return;
      isOff = turnOff;
      client.run(`PRAGMA wal_autocheckpoint = ${turnOff ? 0 : AUTO_CHECKPOINT_PAGES}`);
    },
  };
}

/**
 * Locks a database for a command that replaces or backs it up. The database does not have to exist, but its folder does.
 *
 * @throws {UnusableDatabaseError} if a server or another command has it open
 */
export function lockForReplacement(path: string): DatabaseLock {
  return disposable(withOpeningErrors(path, () => lockDatabase(path, LOCK_BUSY_TIMEOUT_MS)));
}

function disposable(lock: Database): DatabaseLock {
  return { [Symbol.dispose]: () => lock.close() };
}

/**
 * Locks the database against other servers for the lifetime of this process: two servers would assign the same keys.
 * The lock is a SQLite lock on an empty file next to the database. The kernel releases it when the process dies, and it
 * does not block readers of the database.
 */
function lockDatabase(path: string, timeoutMs: number): Database {
  createOwnedFile(lockPath(path));
  const lock = new Database(lockPath(path), { readwrite: true });
  try {
    lock.run(`PRAGMA busy_timeout = ${timeoutMs}`);
    lock.run('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (toStorageError(error).kind === 'locked') {
      throw new UnusableDatabaseError(
        `Another rawlog server or command has it open: ${describeProcess(lockHolder(lockPath(path)))}. Stop that process, then retry, or set DATA_DIR or DATABASE_URL to a different path.`,
      );
    }
    throw error;
  }
}

/** Returns whether a process, this one included, has locked a database to write to it, as servers do. Writes nothing. */
export function isLocked(path: string): boolean {
  if (!fs.existsSync(lockPath(path))) return false;
  let lock: Database | undefined;
  try {
    lock = new Database(lockPath(path), { readonly: true });
    lock.query('SELECT 1 FROM sqlite_schema').get();
    return false;
  } catch (error) {
    return toStorageError(error).kind === 'locked';
  } finally {
    lock?.close();
  }
}

/** Returns the path of the lock of a database. */
export function lockPath(path: string): string {
  return `${path}.lock`;
}

/**
 * Rejects a database of another program, of a newer version, or with a modified schema. Its triggers and views could do
 * harm, or this version could damage it.
 */
function assertUsable(client: Database): void {
  client.run('PRAGMA trusted_schema = OFF');
  const version = compareSchema(client);
  if (version === 'empty') return;
  const id = client.query<{ application_id: number }, []>('PRAGMA application_id').get()?.application_id;
  if (id !== APPLICATION_ID) {
    throw new UnusableDatabaseError('It belongs to another program. Set DATABASE_URL or DATA_DIR to a different path.');
  }
  if (version === 'newer') {
    throw new UnusableDatabaseError(
      `It was written by a newer version of rawlog: this one knows its schema only up to ${latestMigration()}. Run the newer version. To downgrade, export the rows with it and import them into a new database with this one, or restore a backup from before the upgrade.`,
      { isNewer: true },
    );
  }
  if (version.length > 0) {
    throw new UnusableDatabaseError(
      `Its schema does not match this version of rawlog: ${version.join(', ')}. Restore a backup.`,
    );
  }
}
