import type { Database } from 'bun:sqlite';
import fs from 'node:fs';

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
/** Number of pages left in the write-ahead log up to which another passive checkpoint is not worthwhile. */
const FEW_PAGES = 500;

/**
 * Runs a passive checkpoint: copies pages that no reader needs from the write-ahead log into the database file, without
 * blocking writers.
 *
 * @returns the number of pages left in the log
 */
export function checkpoint(client: Database): number {
  const found = client.query<{ log: number; checkpointed: number }, []>('PRAGMA wal_checkpoint(PASSIVE)').get();
  return found ? found.log - found.checkpointed : 0;
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

/** Truncates a write-ahead log that has outgrown its size limit, unless a reader still needs it. */
export function shrinkWal(client: Database, busyTimeoutMs: number): void {
  const sizeBytes = fs.statSync(walPath(client.filename), { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes <= WAL_SIZE_LIMIT_BYTES) return;
  // The loop copies pages that commits add meanwhile: the fewer are left, the shorter the truncation blocks the writer.
  for (let pass = 0; pass < CHECKPOINT_PASSES && checkpoint(client) > FEW_PAGES; pass++);
  truncateWal(client, busyTimeoutMs, SHRINK_BUSY_TIMEOUT_MS);
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
