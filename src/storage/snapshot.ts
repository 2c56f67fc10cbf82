import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import type { Kind } from '../records.ts';
import { isLocked, openForReading } from './database.ts';
import { runJob } from './job.ts';
import { hasLedger, readLedger } from './ledger.ts';
import { countRowsInParts, newestId } from './records.ts';
import { schemaVersionOf } from './schema-version.ts';
import { checkpoint, openWalPages, type WalPages, type WalPosition, walPosition } from './wal.ts';

/** Passive checkpoints after the snapshot, and the pages left up to which another one is not worthwhile. */
const FINAL_PASSES = 4;
const FEW_PAGES = 500;
/** How often a snapshot of a database that no server has open checks for one that starts, in milliseconds. */
const START_CHECK_INTERVAL_MS = 1_000;
/** Delay before a database is tried again that another process is just opening, and how long, in milliseconds. */
const OPENING_RETRY_MS = 20;
const OPENING_TIMEOUT_MS = 60_000;
/** Offset in the database header of the byte that says how the file is read, and its value in WAL mode. */
const MODE_OFFSET = 19;
const WAL_MODE = 2;

/** What a database contains, as far as a copy of it can be compared. */
export interface DatabaseContents {
  /** Number of rows of each kind, excluding erased and deleted ones. */
  readonly rows: { readonly metrics: number; readonly analytics: number };
  /** The counts of the ledger, by name. */
  readonly ledger: Readonly<Record<string, number>>;
  /** The ID of the newest row; null if there are no rows. */
  readonly newestId: string | null;
  /** When the last applied migration was generated, in milliseconds since 1970. */
  readonly schemaVersion: number;
}

/** A snapshot of a database whose bytes can be read while other connections write. */
export interface Snapshot {
  /** Page size in bytes. */
  readonly pageSize: number;
  /** Size of the database in bytes. */
  readonly sizeBytes: number;
  /** Reads what the snapshot contains. Scans the rows, and yields after each part. */
  contents(): Generator<undefined, DatabaseContents>;
  /**
   * Fills a buffer with the bytes of the database from an offset. Both must be multiples of the page size.
   *
   * @throws {Error} with a message for the operator, also from {@link contents}, if no server had the database open and
   *   one starts: the snapshot would make it wait
   */
  read(buffer: Uint8Array, offset: number): void;
  /** Ends the snapshot. Does not throw, so that it hides no error of the code that used the snapshot. */
  close(): void;
}

/**
 * Takes a snapshot of a database, whether or not a server has it open, and writes nothing to it. It neither waits for
 * other connections nor makes them wait for long.
 *
 * A read transaction pins the snapshot: while it is open, SQLite neither copies newer pages from the write-ahead log into
 * the database file nor restarts the log. So a page of the snapshot is in the last of the log's frames that contains it,
 * among those that existed when the transaction began, or else in the file. Meanwhile the log grows by what other
 * connections write. A database that no server has open has no log: there, the transaction keeps the file unchanged.
 *
 * @param handle a file descriptor of the database file that stays open as long as this process has other connections to
 *   the database. Without it, this process may have none: closing the file drops the locks of all its connections
 * @param ownsLock whether this process has locked the database, so that no server can start
 * @throws {UnusableDatabaseError} as {@link openForReading}
 */
export async function openSnapshot(path: string, handle?: number, ownsLock = false): Promise<Snapshot> {
  const clients: Database[] = [];
  let file = handle;
  let wal: WalPages | undefined;
  let watch: StartWatch | undefined;
  const closeAll = () => {
    watch?.stop();
    wal?.close();
    for (const client of clients.splice(0)) client.close();
    if (file !== undefined && handle === undefined) fs.closeSync(file);
    file = undefined;
  };
  try {
    // opening the file would drop the locks of a server in this process, which has the database in WAL mode anyway
    if (handle === undefined && !ownsLock) await waitUntilOpened(path);
    const reader = openForReading(path);
    clients.push(reader);
    const observer = openForReading(path);
    clients.push(observer);
    file ??= fs.openSync(path, 'r');
    const { frames, checkpointed } = await pin(reader, observer);
    if (!ownsLock && !isInWalMode(reader)) watch = watchForStart(path, () => reader.run('COMMIT'));
    const check = () => watch?.check();
    // if all frames were copied, the file is complete, and the log can restart
    if (checkpointed < frames) wal = openWalPages(path, frames);
    const pageSize = pragma(reader, 'page_size');
    return {
      pageSize,
      sizeBytes: pageSize * pragma(reader, 'page_count'),
      contents: () => scanContents(reader, check),
      read(buffer, offset) {
        if (file === undefined) throw new Error('the snapshot is closed');
        check();
        readPages(file, wal, pageSize, buffer, offset);
      },
      close() {
        if (file === undefined) return;
        try {
          if (reader.inTransaction) reader.run('COMMIT'); // some errors have rolled it back
          // commits left the log alone meanwhile, and should not have to checkpoint all of it at once
          for (let pass = 0; pass < FINAL_PASSES && checkpoint(observer) > FEW_PAGES; pass++);
        } catch {
          // whatever fails here has read and written nothing of the backup; the server checkpoints too
        } finally {
          closeAll();
        }
      },
    };
  } catch (error) {
    closeAll();
    throw error;
  }
}

/** Waits while another process opens or replaces a database that is not in WAL mode yet. */
async function waitUntilOpened(path: string): Promise<void> {
  const deadline = performance.now() + OPENING_TIMEOUT_MS;
  while (isBeingOpened(path)) {
    if (performance.now() > deadline) throw new Error('Another process opens or replaces the database. Retry later.');
    await Bun.sleep(OPENING_RETRY_MS);
  }
}

/** Reads what a database contains. */
export function readContents(client: Database): DatabaseContents {
  return runJob(scanContents(client, () => {}));
}

/** As {@link readContents}, but yields while it counts the rows. Calls `check`, which can throw, before it continues. */
function* scanContents(client: Database, check: () => void): Generator<undefined, DatabaseContents> {
  function* count(kind: Kind): Generator<undefined, number> {
    const counting = countRowsInParts(client, kind);
    for (;;) {
      const { value, done } = counting.next();
      if (done) return value;
      yield;
      check();
    }
  }
  return {
    rows: { metrics: yield* count('metric'), analytics: yield* count('analytics') },
    ledger: Object.fromEntries((hasLedger(client) ? readLedger(client) : []).sort(([a], [b]) => (a < b ? -1 : 1))),
    newestId: newestId(client) ?? null,
    schemaVersion: schemaVersionOf(client),
  };
}

/** Returns whether a server has locked a database, but has not switched it to WAL mode yet. */
function isBeingOpened(path: string): boolean {
  return isLocked(path) && modeInHeader(path) !== WAL_MODE;
}

function modeInHeader(path: string): number | undefined {
  const file = fs.openSync(path, 'r');
  try {
    const mode = new Uint8Array(1);
    return fs.readSync(file, mode, 0, 1, MODE_OFFSET) === 1 ? mode[0] : undefined;
  } finally {
    fs.closeSync(file);
  }
}

/** Returns whether a database is in WAL mode, in which readers and the writer do not wait for each other. */
function isInWalMode(client: Database): boolean {
  return client.query<{ journal_mode: string }, []>('PRAGMA journal_mode').get()?.journal_mode === 'wal';
}

/** Notices that another process opens a database. */
interface StartWatch {
  /** @throws {Error} with a message for the operator, if another process has opened it */
  check(): void;
  stop(): void;
}

/**
 * Watches for a process that opens a database which is not in WAL mode. It then waits for the snapshot, for a few seconds,
 * so the snapshot must end.
 *
 * @param end ends the snapshot; called once
 */
function watchForStart(path: string, end: () => void): StartWatch {
  let isOver = false;
  let nextAt = 0;
  const look = () => {
    nextAt = performance.now() + START_CHECK_INTERVAL_MS;
    if (isOver || !isLocked(path)) return;
    isOver = true;
    end();
  };
  const timer = setInterval(look, START_CHECK_INTERVAL_MS); // while the caller waits for a slow disk or pipe
  return {
    check() {
      if (performance.now() >= nextAt) look();
      if (!isOver) return;
      throw new Error(
        'The backup was canceled: a server or a command opened the database, and would have had to wait. Start the backup again; it then runs beside it.',
      );
    },
    stop: () => clearInterval(timer),
  };
}

/**
 * Begins a read transaction. Returns the state of the write-ahead log in its snapshot.
 *
 * If the log has the same length before and after, the snapshot has that length. A log that was restarted in between
 * would have to reach the same length within microseconds.
 */
async function pin(reader: Database, observer: Database): Promise<WalPosition> {
  for (;;) {
    const before = walPosition(observer);
    reader.run('BEGIN');
    try {
      pragma(reader, 'page_count'); // the first read takes the snapshot
      const after = walPosition(observer);
      if (before && after && before.frames === after.frames) return after;
    } catch (error) {
      reader.run('ROLLBACK');
      throw error;
    }
    reader.run('COMMIT');
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function pragma(client: Database, name: 'page_size' | 'page_count'): number {
  return client.query<Record<string, number>, []>(`PRAGMA ${name}`).get()?.[name] ?? 0;
}

/** Fills a buffer with whole pages of the snapshot. */
function readPages(
  file: number,
  wal: WalPages | undefined,
  pageSize: number,
  buffer: Uint8Array,
  offset: number,
): void {
  let fileBytes = 0;
  for (let read = -1; read !== 0 && fileBytes < buffer.length; fileBytes += read) {
    read = fs.readSync(file, buffer, fileBytes, buffer.length - fileBytes, offset + fileBytes);
  }
  for (let at = 0; at < buffer.length; at += pageSize) {
    const page = (offset + at) / pageSize + 1;
    if (wal?.copy(page, buffer, at) || at + pageSize <= fileBytes) continue;
    throw new Error(`page ${page} is neither in the database file nor in its write-ahead log`);
  }
}
