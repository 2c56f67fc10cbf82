import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../records.ts';
import { BLANKED, readBlanked, readGuardRows } from './blanked-range.ts';
import type { RemovalContext } from './blanking.ts';
import { READER_BUSY_TIMEOUT_MS } from './database.ts';
import { INTERRUPTIBLE, inTransactions, type Job, SOON, type TransactionLimits } from './job.ts';
import { createBlankScan, deleteBlankRows } from './records.ts';
import { rewriteFile } from './rewrite-file.ts';
import { checkpoint, createCheckpointer, truncateWal } from './wal.ts';

/*
 * Gives the space of deleted rows back to the file system, in two steps.
 *
 * 1. Long runs of blank rows are deleted from their table, which frees pages: most by a prune, as soon as they are blank, in the
 *    transaction that would write their pages anyway, and the others here. Deleting a row can move the rows of its page
 *    and of up to two pages on either side of it (SQLite's balance_nonroot), and leaves old copies behind. So a run keeps
 *    blank rows at both of its ends, as many as fill five pages: only blank rows are ever moved.
 * 2. Free pages at the end of the file are cut off; used ones are first moved to free pages as a whole, which copies
 *    nothing but what they contain now (PRAGMA incremental_vacuum).
 *
 * The lengths of rows are those of a `seq` after 2020, so a page has room for a blank row per 20 bytes.
 */

/** Blank rows deleted per statement. */
const ROWS_PER_DELETE = 200;
/** Estimated bytes written per deleted blank row: a page of ordinary rows has about 27, and is zeroed when it is freed. */
const DELETED_ROW_BYTES = 200;
/** Pages moved or cut off per statement. */
const PAGES_PER_STEP = 8;

/** The pages of a database. */
export interface PageUse {
  /** In bytes. */
  readonly pageSize: number;
  readonly pages: number;
  /** Pages that contain nothing. New rows use them before the file grows. */
  readonly freePages: number;
  /** Whether free pages can be cut off. Not in a database created before rawlog could do that, until a VACUUM. */
  readonly canShrink: boolean;
}

/** How much of the free space to keep in the file for new rows. */
export interface SpaceReserve {
  /** Share of the file that may be free before it is shrunk. */
  readonly limit: number;
  /** Share of the file that is free after it was shrunk. */
  readonly kept: number;
}

/** Cuts off all free pages. */
export const KEEP_NOTHING: SpaceReserve = { limit: 0, kept: 0 };
/** For a server, which soon needs free pages again. */
export const KEEP_SOME: SpaceReserve = { limit: 0.1, kept: 0.05 };

/** Reads how many pages a database uses. */
export function readPageUse(client: Database): PageUse {
  const found = client
    .query<PageUse & { mode: number }, []>(
      `SELECT page_size AS pageSize, page_count AS pages, freelist_count AS freePages, auto_vacuum AS mode
       FROM pragma_page_size, pragma_page_count, pragma_freelist_count, pragma_auto_vacuum`,
    )
    .get();
  const { pageSize = 0, pages = 0, freePages = 0, mode = 0 } = found ?? {};
  return { pageSize, pages, freePages, canShrink: mode !== 0 };
}

/**
 * Deletes the runs of blank rows that deletions have left, and cuts off free pages. Other jobs run between its steps. If
 * it is interrupted, the next call continues where it was.
 *
 * @throws SQLite's errors
 */
export function* reclaimSpace(
  context: RemovalContext,
  reserve: SpaceReserve,
  limits: TransactionLimits = SOON,
): Job<void> {
  const guardRows = readGuardRows(context.client);
  for (const kind of KINDS) yield* deleteRuns(context, kind, guardRows, limits);
  yield* cutOff(context, reserve, limits);
}

/**
 * Rewrites a whole database, so that it contains no free pages and can shrink from then on.
 *
 * @param freeBytes free disk space
 * @throws {Error} if the disk has too little space: the copy is written to a temporary file and to the write-ahead log
 */
export function vacuum(client: Database, freeBytes: number): void {
  const { pages, freePages, pageSize } = readPageUse(client);
  const neededBytes = Math.ceil(2.2 * (pages - freePages) * pageSize);
  if (freeBytes < neededBytes) {
    throw new Error(
      `The records were deleted, but the database was created by a version that could not shrink it. Rewriting it needs ${neededBytes} bytes of free disk space; there are ${freeBytes}. Free some space, then repeat the command.`,
    );
  }
  rewriteFile(client);
}

/** Deletes the rows of long runs of blank rows, except for `guardRows` at each end. */
function* deleteRuns(context: RemovalContext, kind: Kind, guardRows: number, limits: TransactionLimits): Job<void> {
  const { client, store } = context;
  const blanked = readBlanked(client, kind);
  if (!blanked) return;
  const { last } = blanked;
  let { first } = blanked;
  // the run may begin before these rows: with the rows that were kept at the ends of one that was deleted earlier
  const scan = createBlankScan(client, kind, first, last, 2 * guardRows);
  const run = new BlankRun(guardRows);
  const checkpointIfDue = createCheckpointer(client);
  for (let window = scan(); window; window = scan()) {
    const ranges: (readonly [first: number, last: number, rows: number])[] = [];
    let part: number[] = [];
    const endPart = () => {
      if (part.length > 0) ranges.push([part[0] as number, part.at(-1) as number, part.length]);
      part = [];
    };
    for (const { seq, isBlank } of window) {
      if (isBlank === 0) endPart(); // all blank rows in a range are deleted: it must not contain the ends of two runs
      const passed = run.add(seq, isBlank === 1);
      if (passed !== undefined && part.push(passed) === ROWS_PER_DELETE) endPart();
    }
    endPart();
    yield* inTransactions(
      store.transact,
      ranges,
      ([from, to, rows]) => {
        deleteBlankRows(client, kind, from, to);
        return rows * DELETED_ROW_BYTES;
      },
      (done) => {
        const previous = first;
        first = done.at(-1)?.[1] ?? first;
        // if earlier rows were blanked meanwhile, the range still begins with them
        client
          .query('UPDATE column_state SET value = ? WHERE name = ? AND value = ?')
          .run(first, BLANKED[kind].first, previous);
      },
      undefined,
      limits,
    );
    checkpointIfDue();
    yield INTERRUPTIBLE;
  }
  store.transact(() => {
    const now = readBlanked(client, kind);
    if (now?.first !== first || now.last !== last) return; // other rows were blanked meanwhile
    for (const name of Object.values(BLANKED[kind])) client.query('DELETE FROM column_state WHERE name = ?').run(name);
  });
  yield;
}

/** Follows the rows of a table in order, and finds those that have enough blank rows on both sides. */
class BlankRun {
  readonly #guardRows: number;
  /** The last rows of the run: a ring buffer. */
  readonly #ring: Float64Array;
  #rows = 0;

  constructor(guardRows: number) {
    this.#guardRows = guardRows;
    this.#ring = new Float64Array(guardRows);
  }

  /** Adds the next row. Returns the row of the run that can be deleted now that this one is known, if any. */
  add(seq: number, isBlank: boolean): number | undefined {
    if (!isBlank) {
      this.#rows = 0;
      return undefined;
    }
    const slot = this.#rows % this.#guardRows;
    // the ring contains the rows before this one: the oldest has `guardRows` blank rows after it, with this one
    const passed = this.#rows >= 2 * this.#guardRows ? this.#ring[slot] : undefined;
    this.#ring[slot] = seq;
    this.#rows++;
    return passed;
  }
}

/** Cuts off free pages until only the reserve is left. */
function* cutOff(
  { client, store }: RemovalContext,
  { limit, kept }: SpaceReserve,
  limits: TransactionLimits,
): Job<void> {
  const { pages, freePages, pageSize, canShrink } = readPageUse(client);
  if (!canShrink || freePages === 0 || freePages <= limit * pages) return;
  // of n pages, f of them free, x are cut off so that f - x = kept × (n - x)
  let left = Math.ceil((freePages - kept * pages) / (1 - kept));
  const checkpointIfDue = createCheckpointer(client);
  while (left > 0) {
    const deadline = performance.now() + limits.ms;
    let bytes = 0;
    store.transact(() => {
      do {
        // a statement cuts off one page per step, so all of its steps must run
        client.query(`PRAGMA incremental_vacuum(${PAGES_PER_STEP})`).all();
        left -= PAGES_PER_STEP;
        bytes += 2 * PAGES_PER_STEP * pageSize;
      } while (left > 0 && bytes < limits.bytes && performance.now() < deadline);
    });
    yield;
    checkpointIfDue();
    yield INTERRUPTIBLE;
  }
  checkpoint(client);
  truncateWal(client, READER_BUSY_TIMEOUT_MS); // the file itself is cut off by a checkpoint of the whole log
  yield;
}
