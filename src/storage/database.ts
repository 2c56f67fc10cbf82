import { Database } from 'bun:sqlite';
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type BunSQLiteDatabase, drizzle } from 'drizzle-orm/bun-sqlite';
import { migrate } from 'drizzle-orm/bun-sqlite/migrator';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';
import { StorageFault, storageFault } from './faults.ts';
import journal from './migrations/meta/_journal.json' with { type: 'json' };
import * as schema from './schema.ts';
import { createTextHash, type TextHash } from './text-hash.ts';
import { createTransact } from './transact.ts';
import { inspectLog, type LogReport, logOf } from './wal.ts';

/** A connection to a database: only storage makes one, so only storage imports the driver. */
export type { Database } from 'bun:sqlite';

const syncFile = promisify(fs.fsync);

/** Marks the file as rawlog's in its header: "rawl" in ASCII. */
const APPLICATION_ID = 0x7261776c;

/** How long opening waits for another process's lock, in milliseconds: nothing is served yet. */
const OPEN_TIMEOUT = 5_000;

/** How long the query worker waits for the writer's lock, in milliseconds: far longer than a group commit takes. */
export const READER_BUSY_TIMEOUT = 5_000;

/** The database is not one that this program may open. The message is for the operator. */
export class UnusableDatabase extends Error {
  override readonly name = 'UnusableDatabase';
}

/** An open database: drizzle for statements, the client beneath it for transactions and pragmas. */
export interface Storage {
  readonly orm: BunSQLiteDatabase<typeof schema>;
  readonly client: Database;
  readonly hash: TextHash;
  /** What the write-ahead log had when the database was opened; undefined if there was none. */
  readonly log: LogReport | undefined;
  /**
   * Resolves once every transaction that has ended before the call is on the disk.
   *
   * @throws {StorageFault} `failing`: the disk did not take it, or the file was removed. What is on the
   *   disk cannot be known then
   */
  sync(): Promise<void>;
  /** Writes the write-ahead log back into the database file and closes it. */
  close(): void;
}

/**
 * Opens the database, making folder and file where there are none, and brings its tables up to date.
 * When it returns, the new file's name is durable too.
 *
 * @throws {UnusableDatabase} when the file is another program's, or of a newer version of this one
 * @throws SQLite's own errors otherwise
 */
export function openStorage(path: string): Storage {
  makeDurableFolder(dirname(path));
  const lock = lockDatabase(path);
  const report = inspectLog(path);
  const client = new Database(path, { create: true, strict: true });
  try {
    client.run(`PRAGMA busy_timeout = ${OPEN_TIMEOUT}`);
    refuseForeign(client);
    client.run('PRAGMA journal_mode = WAL');
    // what is deleted is overwritten, so that an erasure leaves nothing behind; inserts pay nothing for it
    client.run('PRAGMA secure_delete = ON');
    client.run(`PRAGMA application_id = ${APPLICATION_ID}`);
    const orm = drizzle(client, { schema });
    // The folder is inside the binary: see --asset in the build.
    migrate(orm, { migrationsFolder: join(import.meta.dir, 'migrations') });
    // SQLite has synced each of its commits so far (FULL, its default). From now on it leaves that to
    // sync(), which does the same in a thread, so that requests are read while the disk works. With NORMAL
    // SQLite still syncs what a checkpoint relies on: the log before, and the database after it.
    client.run('PRAGMA synchronous = NORMAL');
    const hash = createTextHash(client);
    hashMigratedKeys(client, hash);
    const log = openLog(path);
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
      async sync() {
        try {
          await syncFile(log);
          assertInPlace(path, handle);
          assertInPlace(logOf(path), log);
          // On ext4 an fsync that is under way when the journal is aborted can return success: it finds no
          // transaction to wait for. A read of a file system that has been shut down fails.
          fs.readSync(handle, byte, 0, 1, 0);
        } catch (error) {
          throw new StorageFault('failing', error);
        }
      },
      close() {
        try {
          // leaves one file, with nothing beside it
          client.run('PRAGMA journal_mode = DELETE');
        } catch (error) {
          // another process reads the database: the write-ahead log stays beside it, which is as safe
          if (storageFault(error).kind !== 'locked') throw error;
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
 * @throws when there is none
 */
export function openForReading(path: string): Database {
  const client = openExisting(path);
  client.run(`PRAGMA busy_timeout = ${READER_BUSY_TIMEOUT}`);
  client.run('PRAGMA synchronous = NORMAL');
  client.run('PRAGMA secure_delete = ON');
  return client;
}

function openExisting(path: string): Database {
  try {
    return new Database(path, { strict: true, readwrite: true });
  } catch (error) {
    throw new Error(`The database ${path} cannot be opened: ${(error as Error).message}`, { cause: error });
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

/** @throws when a path does not lead to the open file any more: it was removed, or replaced by another */
function assertInPlace(path: string, handle: number): void {
  const opened = fs.fstatSync(handle);
  const found = fs.statSync(path, { throwIfNoEntry: false });
  if (found?.ino !== opened.ino || found.dev !== opened.dev) throw new Error(`${path} was removed or replaced`);
}

/**
 * Keeps every other server away from the database as long as this process lives: two would give out
 * the same keys. The lock is SQLite's own on an empty file beside the database, so that the kernel
 * gives it back when a process dies, and readers of the database are not in its way.
 */
function lockDatabase(path: string): Database {
  const lock = new Database(`${path}.lock`, { create: true });
  try {
    lock.run('BEGIN EXCLUSIVE');
    return lock;
  } catch (error) {
    lock.close();
    if (storageFault(error).kind === 'locked') throw new UnusableDatabase('Another rawlog server has it open.');
    throw error;
  }
}

/** Opens nothing that this version could harm: another program's file, or a newer version's. */
function refuseForeign(client: Database): void {
  const tables = client.query<{ name: string }, []>('SELECT name FROM sqlite_schema').all();
  if (tables.length === 0) return;
  const id = client.query<{ application_id: number }, []>('PRAGMA application_id').get()?.application_id;
  if (id !== APPLICATION_ID) throw new UnusableDatabase('The file is a database of another program.');
  if (!tables.some(({ name }) => name === '__drizzle_migrations')) return;
  const applied = client
    .query<{ latest: number | null }, []>('SELECT max(CAST(created_at AS INTEGER)) AS latest FROM __drizzle_migrations')
    .get();
  const known = journal.entries.at(-1)?.when ?? 0;
  if ((applied?.latest ?? 0) > known) {
    throw new UnusableDatabase(
      'The database was written by a newer version of rawlog. Run that version, or restore a backup from before it.',
    );
  }
}
