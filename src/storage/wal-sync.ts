import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import { promisify } from 'node:util';
import type { Transact } from './job.ts';
import { StorageError, toStorageError } from './storage-error.ts';
import { createSyncModeChooser, type SyncMode } from './sync-mode.ts';
import { walPath } from './wal.ts';
import { touch } from './wal-stamp.ts';

/** Number of transactions that are synced before the first request, to measure the disk. */
const START_PROBES = 5;

const syncInThread = promisify(fs.fdatasync);

/** How the write-ahead log is synced, and how long that takes. */
export interface SyncStatus {
  readonly mode: SyncMode;
  /** Median time of the last fsyncs that were measured on the main thread, in milliseconds. */
  readonly medianMs: number;
}

/** Syncs the write-ahead log of an open database. */
export interface WalSync {
  /**
   * Syncs every transaction that was committed before the call. Returns undefined once they are on disk, or a promise
   * that resolves then: see {@link createSyncModeChooser}.
   *
   * @throws {StorageError} `failing`, also as a rejection, if the disk reports an error or a file was removed or replaced
   */
  sync(): Promise<void> | undefined;
  status(): SyncStatus;
}

/** Parameters of {@link createWalSync}. The files must stay open for as long as it is used. */
interface WalSyncOptions {
  readonly client: Database;
  readonly transact: Transact;
  /** Path of the database file. */
  readonly path: string;
  /** File descriptors of the database file and of its write-ahead log. */
  readonly database: number;
  readonly wal: number;
  /** Called before each sync: see wal-stamp.ts. */
  readonly stampWal: () => void;
  /** Called after each sync with the size of the write-ahead log. */
  readonly onSize: (walBytes: number) => void;
}

/**
 * Creates the {@link WalSync} of a database that was just opened, and measures its disk.
 *
 * It calls fdatasync, which omits the modification time. That saves ext4 a journal commit whenever the log does not
 * grow, which is most of the time, because SQLite overwrites it from the beginning once it is checkpointed.
 */
export function createWalSync({ client, transact, path, database, wal, stampWal, onSize }: WalSyncOptions): WalSync {
  const chooser = createSyncModeChooser(() => performance.now());
  const assertDatabaseInPlace = createPlaceCheck(path, database);
  const assertWalInPlace = createPlaceCheck(walPath(path), wal);
  const byte = new Uint8Array(1);

  function syncInline(): void {
    const startedAt = performance.now();
    fs.fdatasyncSync(wal);
    chooser.inlineTook(performance.now() - startedAt);
  }

  /** Makes sure that a sync that reported success was one. */
  function check(): void {
    assertDatabaseInPlace();
    onSize(assertWalInPlace().size);
    // On ext4, a sync in progress while the journal is aborted can return success because it finds no transaction to
    // wait for. A read from a file system that has been shut down does fail.
    fs.readSync(database, byte, 0, 1, 0);
  }

  async function finishInThread(startedAt: number): Promise<void> {
    try {
      await syncInThread(wal);
      chooser.threadTook(performance.now() - startedAt);
      check();
    } catch (error) {
      throw new StorageError('failing', error);
    }
  }

  try {
    for (let i = 0; i < START_PROBES && chooser.current().mode === 'inline'; i++) {
      transact(() => touch(client));
      syncInline();
    }
  } catch (error) {
    const { kind } = toStorageError(error);
    if (kind !== 'locked' && kind !== 'full') throw error; // the first requests measure the disk instead
  }

  return {
    sync() {
      try {
        stampWal();
        if (chooser.next() === 'thread') return finishInThread(performance.now());
        syncInline();
        check();
        return undefined;
      } catch (error) {
        throw new StorageError('failing', error);
      }
    },
    status: () => chooser.current(),
  };
}

/**
 * Returns a function that returns the status of the file at a path, and throws if that is not the open file any more,
 * because it was removed or replaced. The identity of the open file is read only once: while it is open, no other file
 * can have it.
 */
function createPlaceCheck(path: string, handle: number): () => fs.Stats {
  const { ino, dev } = fs.fstatSync(handle);
  return () => {
    const found = fs.statSync(path, { throwIfNoEntry: false });
    if (found?.ino !== ino || found.dev !== dev) {
      throw new Error(`${path} was removed or replaced while rawlog had it open`);
    }
    return found;
  };
}
