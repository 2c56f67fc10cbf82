import type { Database } from 'bun:sqlite';
import fs from 'node:fs';
import type { Job } from './job.ts';
import { toStorageError } from './storage-error.ts';

/** Returns the path that SQLite gives the write-ahead log (WAL) of a database. */
export function walPath(path: string): string {
  return `${path}-wal`;
}

/**
 * Size to which SQLite truncates the write-ahead log when the log restarts, in bytes. The log outgrows it only while a
 * reader holds an old snapshot. {@link shrinkWal} then saves the writer a long checkpoint at its next commit.
 */
export const WAL_SIZE_LIMIT_BYTES = 16 * 1024 ** 2;
/** Busy timeout of {@link shrinkWal}, in milliseconds. The writer is blocked for that long too. */
const SHRINK_BUSY_TIMEOUT_MS = 40;
/** Maximum number of passive checkpoints that {@link shrinkWal} runs before it blocks the writer. */
const CHECKPOINT_PASSES = 4;
/** Number of pages left in the write-ahead log that take a few milliseconds to copy. */
const FEW_PAGES = 500;

/**
 * Runs a passive checkpoint: copies pages that no reader needs from the write-ahead log into the database file, without
 * blocking writers.
 *
 * @returns the number of pages left in the log; infinite if that is unknown, as while another checkpoint runs
 */
export function checkpoint(client: Database): number {
  const found = client.query<{ log: number; checkpointed: number }, []>('PRAGMA wal_checkpoint(PASSIVE)').get();
  // -1 in both while another connection runs a checkpoint: then an unknown number is left
  return !found || found.log < 0 ? Number.POSITIVE_INFINITY : found.log - found.checkpointed;
}

/**
 * Creates a function that runs a passive checkpoint once commits have added enough pages to the log since it last did: half as
 * many as those at which the next commit of the server would have to. For work that writes much.
 */
export function createCheckpointer(client: Database): () => void {
  let tried = 0;
  return () => {
    const position = walPosition(client);
    if (!position || position.frames - position.checkpointed < FEW_PAGES) return;
    // while a reader holds an old snapshot, an attempt achieves nothing, but scans the whole log
    if (position.frames >= tried && position.frames - tried < FEW_PAGES) return;
    tried = position.frames;
    checkpoint(client);
  };
}

/**
 * Runs a job with a checkpoint between two of its steps whenever one is due: see {@link createCheckpointer}. Otherwise commits
 * of the job or of recording would run it, and the job's pauses would be as long as that, although it holds no write lock.
 */
export function* withCheckpoints<Result>(client: Database, job: Job<Result>): Job<Result> {
  const checkpointIfDue = createCheckpointer(client);
  for (;;) {
    const step = job.next();
    if (step.done) return step.value;
    checkpointIfDue();
    yield step.value;
  }
}

/** How far the write-ahead log has been copied into the database file. */
export interface WalPosition {
  /** Number of frames in the log; 0 if there is no log. */
  readonly frames: number;
  /** Number of frames that have been copied. */
  readonly checkpointed: number;
}

/**
 * Returns the position of the write-ahead log, without running a checkpoint.
 *
 * @returns undefined if it cannot be determined now, because another connection is committing
 */
export function walPosition(client: Database): WalPosition | undefined {
  const found = client
    .query<{ busy: number; log: number; checkpointed: number }, []>('PRAGMA wal_checkpoint(NOOP)')
    .get();
  if (found?.busy !== 0) return undefined;
  // both are -1 outside WAL mode
  return { frames: Math.max(0, found.log), checkpointed: Math.max(0, found.checkpointed) };
}

/** The pages in the first frames of a write-ahead log. */
export interface WalPages {
  /** Copies a page into a buffer, at an offset, if the log contains it. Returns whether it does. */
  copy(page: number, buffer: Uint8Array, at: number): boolean;
  close(): void;
}

/**
 * Indexes the first frames of a write-ahead log: of each page, the last frame counts. The log must not restart until the
 * result is closed.
 *
 * @throws {Error} if the log has fewer frames
 */
export function openWalPages(path: string, frames: number): WalPages {
  const file = fs.openSync(walPath(path), 'r');
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    fs.readSync(file, header, 0, HEADER_BYTES, 0);
    const pageSize = header.readUInt32BE(8);
    const salts = header.subarray(16, 24);
    const frameBytes = FRAME_HEADER_BYTES + pageSize;
    const offsetOf = (frame: number) => HEADER_BYTES + frame * frameBytes;
    const frameByPage = new Map<number, number>();
    const frameHeader = Buffer.alloc(FRAME_HEADER_BYTES);
    for (let frame = 0; frame < frames; frame++) {
      const read = fs.readSync(file, frameHeader, 0, FRAME_HEADER_BYTES, offsetOf(frame));
      if (read < FRAME_HEADER_BYTES || !frameHeader.subarray(8, 16).equals(salts)) {
        throw new Error(`the write-ahead log has ${frame} instead of ${frames} frames`);
      }
      frameByPage.set(frameHeader.readUInt32BE(0), frame);
    }
    return {
      copy(page, buffer, at) {
        const frame = frameByPage.get(page);
        if (frame === undefined) return false;
        const read = fs.readSync(file, buffer, at, pageSize, offsetOf(frame) + FRAME_HEADER_BYTES);
        if (read < pageSize) throw new Error(`the write-ahead log ends in frame ${frame + 1}`);
        return true;
      },
      close: () => fs.closeSync(file),
    };
  } catch (error) {
    fs.closeSync(file);
    throw error;
  }
}

/**
 * Runs a TRUNCATE checkpoint, which leaves the write-ahead log empty. Call {@link checkpoint} first: writers are
 * blocked while the remaining pages are copied.
 *
 * @param busyTimeoutMs the connection's busy timeout, which is restored afterwards
 * @param timeoutMs how long to wait for the writer and for readers
 * @returns whether the log was truncated; false while another connection reads an older snapshot
 */
export function truncateWal(client: Database, busyTimeoutMs: number, timeoutMs = 0): boolean {
  client.run(`PRAGMA busy_timeout = ${timeoutMs}`);
  try {
    return client.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0;
  } finally {
    client.run(`PRAGMA busy_timeout = ${busyTimeoutMs}`);
  }
}

/**
 * Truncates a write-ahead log that has outgrown its size limit, unless a reader still needs it.
 *
 * @param file file descriptor of the database file, if others write: what was copied is then synced before they are blocked
 */
export function shrinkWal(client: Database, busyTimeoutMs: number, file: number | undefined): void {
  const sizeBytes = fs.statSync(walPath(client.filename), { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes <= WAL_SIZE_LIMIT_BYTES) return;
  // The loop copies pages that commits add meanwhile: the fewer are left, the shorter the truncation blocks the writer.
  for (let pass = 0; pass < CHECKPOINT_PASSES && checkpoint(client) > FEW_PAGES; pass++);
  if (file !== undefined) fs.fdatasyncSync(file);
  truncateWal(client, busyTimeoutMs, SHRINK_BUSY_TIMEOUT_MS);
}

/**
 * Copies the last pages of a write-ahead log from the thread that commits. Another thread never gets to the end of a log that
 * grows without pause, and then the log would never restart.
 */
export interface FinalCheckpoint {
  /**
   * Copies the last pages if only a few are left, and the pages copied before are on the disk: until then, it syncs them
   * in another thread.
   *
   * @throws {Error} if the disk fails
   */
  advance(): void;
}

/**
 * Creates the {@link FinalCheckpoint} of a database. A checkpoint that reaches the end of the log syncs all that was copied
 * since the last one that did, which takes seconds after a long snapshot.
 *
 * @param file file descriptor of the database file, which stays open
 */
export function createFinalCheckpoint(client: Database, file: number): FinalCheckpoint {
  let state: 'copying' | 'syncing' | 'synced' = 'copying';
  const isNearEnd = () => {
    const position = walPosition(client);
    if (!position) return false;
    const left = position.frames - position.checkpointed;
    return left > 0 && left <= FEW_PAGES;
  };
  return {
    advance() {
      if (state === 'syncing' || !isNearEnd()) return;
      if (state === 'copying') {
        state = 'syncing';
        // if it fails, so does the sync of the checkpoint: each descriptor reports the error
        fs.fdatasync(file, () => {
          state = 'synced';
        });
        return;
      }
      state = 'copying';
      try {
        checkpoint(client);
      } catch (error) {
        const { kind } = toStorageError(error);
        if (kind !== 'full' && kind !== 'locked') throw error; // otherwise the log keeps the pages
      }
    },
  };
}

/** Offset of the stamp (`user_version`) in the database header, in bytes: see wal-stamp.ts. */
export const STAMP_OFFSET = 60;

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** The magic number determines the byte order of checksums (https://www.sqlite.org/fileformat2.html#walformat). */
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;

/** The state of a write-ahead log, as SQLite will recover it. */
export interface WalReport {
  /** Number of frames that belong to committed transactions. */
  readonly committed: number;
  /**
   * Number of frames of the current generation after the last valid commit. SQLite discards them. After a power
   * cut they belong to transactions that were never acknowledged; otherwise the log is damaged.
   */
  readonly dropped: number;
  /** Page size of the database, in bytes. */
  readonly pageSize: number;
  /** The database's stamp after the last commit (see wal-stamp.ts); undefined if the log does not contain it. */
  readonly stamp: number | undefined;
  /** Number of pages in the database after the last commit. */
  readonly databasePages: number;
  /** Numbers of the pages that the log contains. */
  readonly pages: ReadonlySet<number>;
}

/**
 * Reads the write-ahead log of a database that no process has open, and reports how SQLite will recover it. SQLite
 * itself discards invalid frames silently.
 *
 * @returns undefined if there is no log, or its header is missing or invalid
 */
export function inspectWal(path: string): WalReport | undefined {
  let file: number;
  try {
    file = fs.openSync(walPath(path), 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return inspect(file);
  } finally {
    fs.closeSync(file);
  }
}

function inspect(file: number): WalReport | undefined {
  const header = Buffer.alloc(HEADER_BYTES);
  if (fs.readSync(file, header, 0, HEADER_BYTES, 0) < HEADER_BYTES) return undefined;
  const magic = header.readUInt32BE(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return undefined;
  const isLittleEndian = magic === MAGIC_LITTLE_ENDIAN;
  const pageSize = header.readUInt32BE(8);
  const salts = header.subarray(16, 24);
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + pageSize);
  let sum: Checksum = addChecksum([0, 0], header.subarray(0, 24), isLittleEndian);
  let verified = 0;
  let committed = 0;
  let sameGeneration = 0;
  let isChained = matches(sum, header, 24);
  const pages = new Set<number>();
  let uncommittedPages: number[] = [];
  let uncommittedStamp: number | undefined;
  let stamp: number | undefined;
  let databasePages = 0;
  for (let at = HEADER_BYTES; ; at += frame.length) {
    if (fs.readSync(file, frame, 0, frame.length, at) < frame.length) break;
    // Frames left from an earlier generation have different salts.
    if (!frame.subarray(8, 16).equals(salts)) break;
    sameGeneration++;
    if (!isChained) continue;
    sum = addChecksum(sum, frame.subarray(0, 8), isLittleEndian);
    sum = addChecksum(sum, frame.subarray(FRAME_HEADER_BYTES), isLittleEndian);
    isChained = matches(sum, frame, 16);
    if (!isChained) continue;
    verified++;
    const page = frame.readUInt32BE(0);
    uncommittedPages.push(page);
    if (page === 1) uncommittedStamp = frame.readInt32BE(FRAME_HEADER_BYTES + STAMP_OFFSET);
    const sizeAfterCommit = frame.readUInt32BE(4);
    if (sizeAfterCommit === 0) continue; // not a commit frame
    committed = verified;
    databasePages = sizeAfterCommit;
    for (const committedPage of uncommittedPages) pages.add(committedPage);
    uncommittedPages = [];
    stamp = uncommittedStamp;
  }
  return { committed, dropped: sameGeneration - committed, pageSize, stamp, databasePages, pages };
}

type Checksum = readonly [first: number, second: number];

/** Adds bytes to a WAL checksum: two running sums over 32-bit words. */
function addChecksum([first, second]: Checksum, bytes: Buffer, isLittleEndian: boolean): Checksum {
  let [a, b] = [first, second];
  for (let at = 0; at < bytes.length; at += 8) {
    const [x, y] = isLittleEndian
      ? [bytes.readUInt32LE(at), bytes.readUInt32LE(at + 4)]
      : [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)];
    a = (a + x + b) >>> 0;
    b = (b + y + a) >>> 0;
  }
  return [a, b];
}

function matches([first, second]: Checksum, header: Buffer, at: number): boolean {
  return header.readUInt32BE(at) === first && header.readUInt32BE(at + 4) === second;
}
