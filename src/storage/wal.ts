import type { Database } from 'bun:sqlite';
import fs from 'node:fs';

/** The write-ahead log of a database: SQLite names it so. */
export function logOf(path: string): string {
  return `${path}-wal`;
}

/**
 * To what size the write-ahead log is cut when it is begun again, in bytes. It grows beyond that only while a reader
 * holds an old snapshot; {@link shrinkLog} then does what the writer would have to do at its next commit.
 */
export const LOG_SIZE_LIMIT = 16 * 1024 ** 2;
/** How long {@link shrinkLog} may wait for the writer and for readers, in milliseconds: the writer waits as long. */
const SHRINK_TIMEOUT = 40;
/** How often it moves pages at most before it stops the writer, and how many pages may be left then. */
const CHECKPOINT_PASSES = 4;
const FEW_PAGES = 500;

/**
 * Moves what the write-ahead log has into the database file, as far as no reader needs it. Writers go on.
 *
 * @returns how many of its pages are left
 */
export function checkpoint(client: Database): number {
  const found = client.query<{ log: number; checkpointed: number }, []>('PRAGMA wal_checkpoint(PASSIVE)').get();
  return found ? found.log - found.checkpointed : 0;
}

/**
 * Cuts the write-ahead log to nothing. Call {@link checkpoint} before: writers wait for what it leaves.
 *
 * @param busyTimeout the connection's, in milliseconds, which is set again
 * @param timeout how long to wait for the writer and for readers, in milliseconds
 * @returns whether it was cut; false while another connection reads an older snapshot
 */
export function truncateLog(client: Database, busyTimeout: number, timeout = 0): boolean {
  client.run(`PRAGMA busy_timeout = ${timeout}`);
  try {
    return client.query<{ busy: number }, []>('PRAGMA wal_checkpoint(TRUNCATE)').get()?.busy === 0;
  } finally {
    client.run(`PRAGMA busy_timeout = ${busyTimeout}`);
  }
}

/** Empties a write-ahead log that has outgrown its limit, as soon as no reader needs it any more. */
export function shrinkLog(client: Database, busyTimeout: number): void {
  const size = fs.statSync(logOf(client.filename), { throwIfNoEntry: false })?.size ?? 0;
  if (size <= LOG_SIZE_LIMIT) return;
  // what is recorded meanwhile is left: the fewer pages, the shorter the writer waits for the rest
  for (let pass = 0; pass < CHECKPOINT_PASSES && checkpoint(client) > FEW_PAGES; pass++);
  truncateLog(client, busyTimeout, SHRINK_TIMEOUT);
}

/** Where the first page of a database has its stamp: see log-identity.ts. */
export const STAMP_AT = 60;

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
/** The magic numbers say in which byte order checksums were made (https://www.sqlite.org/fileformat2.html#walformat). */
const MAGIC_LITTLE_ENDIAN = 0x377f0682;
const MAGIC_BIG_ENDIAN = 0x377f0683;

/** What opening a database would find in its write-ahead log. */
export interface LogReport {
  /** Frames that belong to committed transactions. */
  readonly committed: number;
  /**
   * Frames of the same run of the log behind the last commit that verifies: SQLite drops them. After a power cut
   * those are transactions that were not acknowledged; otherwise something has damaged the log.
   */
  readonly dropped: number;
  readonly pageSize: number;
  /** The stamp of the database after the last commit: see log-identity.ts. Undefined if the log does not have it. */
  readonly stamp: number | undefined;
  /** How many pages the database has after the last commit, and which of them are in the log. */
  readonly databasePages: number;
  readonly pages: ReadonlySet<number>;
}

/**
 * Reads the write-ahead log of a database that no process has open, and says what SQLite will make of it. SQLite
 * itself drops what does not verify without a word.
 *
 * @returns undefined if there is no log, or one without a header
 */
export function inspectLog(path: string): LogReport | undefined {
  let file: number;
  try {
    file = fs.openSync(logOf(path), 'r');
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

function inspect(file: number): LogReport | undefined {
  const header = Buffer.alloc(HEADER_BYTES);
  if (fs.readSync(file, header, 0, HEADER_BYTES, 0) < HEADER_BYTES) return undefined;
  const magic = header.readUInt32BE(0);
  if (magic !== MAGIC_LITTLE_ENDIAN && magic !== MAGIC_BIG_ENDIAN) return undefined;
  const littleEndian = magic === MAGIC_LITTLE_ENDIAN;
  const pageSize = header.readUInt32BE(8);
  const salts = header.subarray(16, 24);
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + pageSize);
  let sum: Checksum = addChecksum([0, 0], header.subarray(0, 24), littleEndian);
  let verified = 0;
  let committed = 0;
  let sameRun = 0;
  let isChained = matches(sum, header, 24);
  const pages = new Set<number>();
  let begun: number[] = [];
  let begunStamp: number | undefined;
  let stamp: number | undefined;
  let databasePages = 0;
  for (let at = HEADER_BYTES; ; at += frame.length) {
    if (fs.readSync(file, frame, 0, frame.length, at) < frame.length) break;
    // frames of an earlier run of the log have other salts
    if (!frame.subarray(8, 16).equals(salts)) break;
    sameRun++;
    if (!isChained) continue;
    sum = addChecksum(sum, frame.subarray(0, 8), littleEndian);
    sum = addChecksum(sum, frame.subarray(FRAME_HEADER_BYTES), littleEndian);
    isChained = matches(sum, frame, 16);
    if (!isChained) continue;
    verified++;
    const page = frame.readUInt32BE(0);
    begun.push(page);
    if (page === 1) begunStamp = frame.readInt32BE(FRAME_HEADER_BYTES + STAMP_AT);
    const size = frame.readUInt32BE(4);
    if (size === 0) continue;
    committed = verified;
    databasePages = size;
    for (const one of begun) pages.add(one);
    begun = [];
    stamp = begunStamp;
  }
  return { committed, dropped: sameRun - committed, pageSize, stamp, databasePages, pages };
}

type Checksum = readonly [first: number, second: number];

/** The checksum of SQLite's log: two running sums over words of 32 bits. */
function addChecksum([first, second]: Checksum, bytes: Buffer, littleEndian: boolean): Checksum {
  let [a, b] = [first, second];
  for (let at = 0; at < bytes.length; at += 8) {
    const [x, y] = littleEndian
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
