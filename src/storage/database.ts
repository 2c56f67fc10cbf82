import { Database } from 'bun:sqlite';
import fs from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { type BunSQLiteDatabase, drizzle } from 'drizzle-orm/bun-sqlite';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';
import { createOwnedFile } from '../file-owner.ts';
import { createLogStamp, ensureStamp, foreignLog } from './log-identity.ts';
import { openingErrorMessage } from './opening-error.ts';
import * as schema from './schema.ts';
import { compareSchema, migrate } from './schema-version.ts';
import { StorageError, toStorageError, UnusableDatabaseError } from './storage-error.ts';
import { createTextHash, type TextHash } from './text-hash.ts';
import { createTransact } from './transact.ts';
import { inspectLog, LOG_SIZE_LIMIT, type LogReport, logOf, truncateLog } from './wal.ts';

/** A connection to a database: only storage makes one, so only storage imports the driver. */
export type { Database } from 'bun:sqlite';

const syncFile = promisify(fs.fsync);

/** Marks the file as rawlog's in its header: "rawl" in ASCII. */
const APPLICATION_ID = 0x7261776c;

/** How long opening waits for another process's lock, in milliseconds: nothing is served yet. */
const OPEN_TIMEOUT = 5_000;

/** How long opening waits for the lock of the database, in milliseconds: commands hold it for a moment. */
const LOCK_TIMEOUT = 500;

/** How long the query worker waits for the writer's lock, in milliseconds: far longer than a group commit takes. */
export const READER_BUSY_TIMEOUT = 5_000;

/** An open database: drizzle for statements, the client beneath it for transactions and pragmas. */
export interface Storage {
  readonly orm: BunSQLiteDatabase<typeof schema>;
  readonly client: Database;
  readonly hash: TextHash;
  /** What the write-ahead log had when the database was opened; undefined if there was none. */
  readonly log: LogReport | undefined;
  /** Notes that the write-ahead log may have been begun again: see log-identity.ts. {@link sync} does it too. */
  noteLog(): void;
  /**
   * Resolves once every transaction that has ended before the call is on the disk.
   *
   * @throws {StorageError} `failing`: the disk did not take it, or the file was removed. What is on the
   *   disk cannot be known then
   */
  sync(): Promise<void>;
  /** Writes the write-ahead log back into the database file and closes it. */
  close(): void;
}

/** How a database is opened. */
export interface OpenOptions {
  /** Whether to create the database, and its folder, if there is none. */
  readonly create?: boolean;
}

/**
 * Opens the database for this process only, and brings its tables up to date. When it returns, the name of a new file
 * is durable too.
 *
 * @throws {UnusableDatabaseError} if the file is another program's, of a newer version, not the one that its write-ahead log
 *   belongs to, or has a schema of its own
 * @throws {Error} otherwise; the message says why, for the operator
 */
export function openStorage(path: string, { create = true }: OpenOptions = {}): Storage {
  return opening(path, () => openAlone(path, create));
}

function openAlone(path: string, create: boolean): Storage {
  if (create) makeDurableFolder(dirname(path));
  const lock = lockDatabase(path, LOCK_TIMEOUT);
  let client: Database;
  let report: LogReport | undefined;
  try {
    report = inspectLog(path);
    assertOwn(path, report);
    if (create) createOwnedFile(path);
    client = new Database(path, { readwrite: true, strict: true });
  } catch (error) {
    lock.close();
    throw error;
  }
  try {
    client.run(`PRAGMA busy_timeout = ${OPEN_TIMEOUT}`);
    assertUsable(client);
    ensureStamp(client);
    client.run('PRAGMA journal_mode = WAL');
    client.run(`PRAGMA journal_size_limit = ${LOG_SIZE_LIMIT}`);
    // what is deleted is overwritten, so that an erasure leaves nothing behind; inserts pay nothing for it
    client.run('PRAGMA secure_delete = ON');
    client.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    migrate(client);
    const orm = drizzle(client, { schema });
    // SQLite has synced each of its commits so far (FULL, its default). From now on it leaves that to
    // sync(), which does the same in a thread, so that requests are read while the disk works. With NORMAL
    // SQLite still syncs what a checkpoint relies on: the log before, and the database after it.
    client.run('PRAGMA synchronous = NORMAL');
    const hash = createTextHash(client);
    hashMigratedKeys(client, hash);
    const isEmptied = truncateLog(client, OPEN_TIMEOUT);
    const log = openLog(path);
    const checkpoints = createCheckpoints(client);
    const stamp = createLogStamp(client, log, createTransact(client), isEmptied);
    syncFolder(dirname(path));
    // from now on the commit queue waits for locks, without stopping the event loop
    client.run('PRAGMA busy_timeout = 0');
    // Kept open as long as SQLite has the file: closing it would drop SQLite's locks.
    const handle = fs.openSync(path, 'r');
    const byte = new Uint8Array(1);
    return {
      orm,
      client,
      hash,
      log: report,
      noteLog: stamp.note,
      async sync() {
        try {
          stamp.note();
          await syncFile(log);
          assertInPlace(path, handle);
          checkpoints.note(assertInPlace(logOf(path), log).size);
          // On ext4 an fsync that is under way when the journal is aborted can return success: it finds no
          // transaction to wait for. A read of a file system that has been shut down fails.
          fs.readSync(handle, byte, 0, 1, 0);
        } catch (error) {
          throw new StorageError('failing', error);
        }
      },
      close() {
        try {
          // leaves one file, with nothing beside it
          client.run('PRAGMA journal_mode = DELETE');
        } catch (error) {
          // another process reads the database: the write-ahead log stays beside it, which is as safe
          if (toStorageError(error).kind !== 'locked') throw error;
        } finally {
          client.close();
          fs.closeSync(log);
          fs.closeSync(handle);
          lock.close();
        }
      },
    };
  } catch (error) {
    client.close();
    lock.close();
    throw error;
  }
}

/**
 * Opens a database for reading, and for what is derived from its rows.
 *
 * @throws {UnusableDatabaseError} as {@link openStorage}
 * @throws {Error} if there is none
 */
export function openForReading(path: string): Database {
  return opening(path, () => {
    assertOwnLogUnlessServed(path);
    const client = new Database(path, { strict: true, readwrite: true });
    try {
      client.run(`PRAGMA busy_timeout = ${READER_BUSY_TIMEOUT}`);
      assertUsable(client);
      client.run('PRAGMA synchronous = NORMAL');
      client.run('PRAGMA secure_delete = ON');
      client.run(`PRAGMA journal_size_limit = ${LOG_SIZE_LIMIT}`);
      return client;
    } catch (error) {
      client.close();
      throw error;
    }
  });
}

/** Opens a database; what is thrown says why it cannot be opened, and names the file. */
function opening<T>(path: string, open: () => T): T {
  try {
    return open();
  } catch (error) {
    const reason = error instanceof UnusableDatabaseError ? error.message : openingErrorMessage(error, path);
    throw new UnusableDatabaseError(`The database ${path} cannot be opened: ${reason}`, { cause: error });
  }
}

function assertOwn(path: string, report: LogReport | undefined): void {
  const problem = foreignLog(path, report);
  if (problem) throw new UnusableDatabaseError(problem);
}

/**
 * Checks that the write-ahead log belongs to the database, unless a server has the database open: it has checked that,
 * and the files change while they are read.
 */
function assertOwnLogUnlessServed(path: string): void {
  if (!fs.statSync(logOf(path), { throwIfNoEntry: false })?.size) return;
  let lock: Database;
  try {
    lock = lockDatabase(path, 0);
  } catch (error) {
    if (error instanceof UnusableDatabaseError) return;
    throw error;
  }
  try {
    assertOwn(path, inspectLog(path));
  } finally {
    lock.close();
  }
}

/** Replaces the placeholders that a migration has put in place of hashes, which SQL cannot make. */
function hashMigratedKeys(client: Database, hash: TextHash): void {
  const some = client.prepare<{ id: number; user_id: string; route: string; key: string }, []>(
    'SELECT id, user_id, route, key FROM cached_responses WHERE key_hash < 0 AND key IS NOT NULL LIMIT 1000',
  );
  const update = client.prepare('UPDATE cached_responses SET key_hash = ? WHERE id = ?');
  const transact = createTransact(client);
  for (let rows = some.all(); rows.length > 0; rows = some.all()) {
    transact(() => {
      for (const { id, user_id, route, key } of rows) update.run(hash(cachedResponseKey(user_id, route, key)), id);
    });
  }
}

/** The text whose hash a cached response is looked up by. */
export function cachedResponseKey(userId: string, route: string, key: string): string {
  return JSON.stringify([userId, route, key]);
}

/** Opens the write-ahead log to sync it. SQLite takes its locks on other files, so that closing it drops none. */
function openLog(path: string): number {
  return fs.openSync(logOf(path), 'r+');
}

/** Sizes of the write-ahead log between which the writer leaves it to the query worker, in bytes. */
const LEFT_TO_WORKER = { from: LOG_SIZE_LIMIT, to: 64 * LOG_SIZE_LIMIT };
/** Pages in the write-ahead log from which a commit moves them into the database file; SQLite's default. */
const AUTO_CHECKPOINT_PAGES = 1_000;

/**
 * Decides whether commits move pages from the write-ahead log into the database file. While a reader holds an old
 * snapshot the log grows, every attempt looks through all of it, and the first one after the reader has gone would stop
 * the event loop for seconds.
 */
function createCheckpoints(client: Database): { note(logSize: number): void } {
  let isLeft = false;
  return {
    note(size) {
      const leave = size > LEFT_TO_WORKER.from && size < LEFT_TO_WORKER.to;
      if (leave === isLeft) return;
      isLeft = leave;
      client.run(`PRAGMA wal_autocheckpoint = ${leave ? 0 : AUTO_CHECKPOINT_PAGES}`);
    },
  };
}

/** @throws when a path does not lead to the open file any more: it was removed, or replaced by another */
function assertInPlace(path: string, handle: number): fs.Stats {
  const opened = fs.fstatSync(handle);
  const found = fs.statSync(path, { throwIfNoEntry: false });
  if (found?.ino !== opened.ino || found.dev !== opened.dev) throw new Error(`${path} was removed or replaced`);
  return opened;
}

/**
 * Keeps every other server away from the database as long as this process lives: two would give out
 * the same keys. The lock is SQLite's own on an empty file beside the database, so that the kernel
 * gives it back when a process dies, and readers of the database are not in its way.
 */
function lockDatabase(path: string, timeoutMs: number): Database {
  createOwnedFile(lockOf(path));
  const lock = new Database(lockOf(path), { readwrite: true });
  try {
    lock.run(`PRAGMA busy_timeout = ${timeoutMs}`);
    lock.run('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (toStorageError(error).kind === 'locked') throw new UnusableDatabaseError('Another rawlog server has it open.');
    throw error;
  }
}

function lockOf(path: string): string {
  return `${path}.lock`;
}

/** Uses nothing that could harm, or that this version could harm: another program's file, a newer version's, or a changed one. */
function assertUsable(client: Database): void {
  client.run('PRAGMA trusted_schema = OFF');
  const version = compareSchema(client);
  if (version === 'empty') return;
  const id = client.query<{ application_id: number }, []>('PRAGMA application_id').get()?.application_id;
  if (id !== APPLICATION_ID) throw new UnusableDatabaseError('The file is a database of another program.');
  if (version === 'newer') {
    throw new UnusableDatabaseError(
      'It was written by a newer version of rawlog. Run that version, or restore a backup from before it.',
    );
  }
  if (version.length > 0) {
    throw new UnusableDatabaseError(`Its schema is not that of rawlog: ${version.join(', ')}. Restore a backup.`);
  }
}
