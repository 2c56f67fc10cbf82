import { Database, SQLiteError } from 'bun:sqlite';
import fs from 'node:fs';
import { APPLICATION_ID, mergeWal } from './database.ts';
import { type ListedErasure, readErasures } from './erasure-list.ts';
import { compareSchema, isOutdated } from './schema-version.ts';
import { toStorageError, UnusableDatabaseError } from './storage-error.ts';
import { walPath } from './wal.ts';

/** Offset of the application ID in the header of a database (https://www.sqlite.org/fileformat2.html). */
const APPLICATION_ID_OFFSET = 68;
/** Offset of a number that changes with the schema: 0 as long as there are no tables. */
const SCHEMA_COOKIE_OFFSET = 40;
const HEADER_BYTES = 100;
const SQLITE_MAGIC = 'SQLite format 3\0';

/**
 * Reads the erasure list of a database that is about to be replaced, and leaves a single file without a write-ahead log.
 * The database may have been written by a newer version. The caller must hold its lock.
 *
 * @returns `unreadable` if the file is damaged, or its version has no list that this one can read
 * @throws {UnusableDatabaseError} if the file belongs to another program
 * @throws {StorageError} `locked` if another process is reading the database
 */
export function readReplacedErasures(path: string): ListedErasure[] | 'unreadable' {
  assertOwnFile(path);
  try {
    mergeWal(path);
    const client = new Database(path, { readonly: true, strict: true });
    try {
      client.run('PRAGMA trusted_schema = OFF');
      return readList(client, path);
    } finally {
      client.close();
    }
  } catch (error) {
    if (error instanceof ForeignDatabaseError) throw error;
    if (error instanceof UnusableDatabaseError) return 'unreadable';
    const storageError = toStorageError(error);
    const isUnreadable =
      storageError.kind === 'failing' || (storageError.kind === 'bug' && error instanceof SQLiteError);
    if (isUnreadable) return 'unreadable';
    throw storageError.kind === 'locked' ? storageError : error;
  }
}

/** A database of another program. */
class ForeignDatabaseError extends UnusableDatabaseError {
  constructor(path: string) {
    super(`${path} belongs to another program. Set DATABASE_URL or DATA_DIR to a different path.`);
  }
}

function readList(client: Database, path: string): ListedErasure[] | 'unreadable' {
  if (compareSchema(client) === 'empty') return []; // its creation was interrupted
  const id = client.query<{ application_id: number }, []>('PRAGMA application_id').get()?.application_id;
  if (id !== APPLICATION_ID) throw new ForeignDatabaseError(path);
  const list = client.query("SELECT 1 FROM sqlite_schema WHERE name = 'erasures' AND type = 'table'").get();
  if (!list) return isOutdated(client) ? [] : 'unreadable';
  return readErasures(client);
}

/** Rejects a file of another program before anything opens it as a database, which can change it. */
function assertOwnFile(path: string): void {
  const header = Buffer.alloc(HEADER_BYTES);
  let length = 0;
  try {
    const file = fs.openSync(path, 'r'); // closing it drops no lock: this process has no connection to the database
    try {
      length = fs.readSync(file, header, 0, HEADER_BYTES, 0);
    } finally {
      fs.closeSync(file);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  if (length < HEADER_BYTES || header.toString('latin1', 0, SQLITE_MAGIC.length) !== SQLITE_MAGIC) return;
  const id = header.readUInt32BE(APPLICATION_ID_OFFSET);
  if (id === APPLICATION_ID) return;
  // a new database gets its ID in the write-ahead log
  const walBytes = fs.statSync(walPath(path), { throwIfNoEntry: false })?.size ?? 0;
  const isNew = id === 0 && (walBytes > 0 || header.readUInt32BE(SCHEMA_COOKIE_OFFSET) === 0);
  if (!isNew) throw new ForeignDatabaseError(path);
}
