import { INTERRUPTIBLE, type Job, runJob, type Transact } from '../job.ts';
import { seqsOf, withoutRows } from './chunk.ts';
import type { ChunkEntry, ChunkTable, ChunkWithoutRows } from './chunk-table.ts';
import { createStepClock } from './step-clock.ts';

/** The rows to remove from a series. */
export interface RowsToRemove {
  /** Returns whether a chunk may contain some of the rows. */
  mayBeIn(entry: ChunkEntry): boolean;
  /** Whether other jobs may run before the removal from each chunk. */
  readonly isInterruptible: boolean;
  /** Returns a chunk without the rows; undefined if it contains none of them. */
  without(id: number): ChunkWithoutRows | undefined;
}

/**
 * Removes rows from the sealed chunks of a series, reading only the chunks that may contain them, and finds the labels that
 * no other row has.
 */
export class RowRemoval {
  readonly #chunks: ChunkTable;
  readonly #transact: Transact;
  readonly #seriesId: number;
  readonly #rows: RowsToRemove;
  /** Every chunk up to this key was checked for the rows. */
  #lastId = 0;
  /** Chunks whose labels are in `#isUsed`. */
  readonly #read = new Set<number>();
  /** Labels of removed rows. */
  readonly #removed = new Set<number>();
  /** Number of labels in `#removed` that are not in `#isUsed`. */
  #unused = 0;
  /** By label number: 1 if a row that was read and kept has the label. */
  readonly #isUsed: Uint8Array;

  /** @param labelLimit the largest label number plus one */
  constructor(chunks: ChunkTable, transact: Transact, seriesId: number, rows: RowsToRemove, labelLimit: number) {
    this.#chunks = chunks;
    this.#transact = transact;
    this.#seriesId = seriesId;
    this.#rows = rows;
    this.#isUsed = new Uint8Array(labelLimit);
  }

  /** Removes the rows from all chunks that exist now. */
  *removeRows(): Job<void> {
    const isStepOver = createStepClock();
    for (const entry of this.#newEntries()) {
      if (this.#rows.mayBeIn(entry)) {
        if (this.#rows.isInterruptible) yield INTERRUPTIBLE;
        // a merged chunk is blank; its rows are in a later one
        if (this.#chunks.checksum(entry.id) !== 0 && (this.#removeFrom(entry.id) || isStepOver())) yield;
      }
      this.#lastId = entry.id;
    }
  }

  /** Removes the rows from a chunk. Returns whether it contained any. */
  #removeFrom(id: number): boolean {
    const removal = this.#rows.without(id);
    if (!removal) return false;
    for (const label of removal.removedLabels) {
      if (this.#removed.has(label)) continue;
      this.#removed.add(label);
      if (this.#isUsed[label] === 0) this.#unused++;
    }
    this.#addLabels(id, removal.labels);
    this.#transact(removal.write);
    return true;
  }

  #addLabels(id: number, labels: Uint16Array | Uint32Array): void {
    const isUsed = this.#isUsed;
    if (this.#unused === 0) for (let row = 0; row < labels.length; row++) isUsed[labels[row] as number] = 1;
    else for (let row = 0; row < labels.length; row++) this.#addLabel(labels[row] as number);
    this.#read.add(id);
  }

  #addLabel(label: number): void {
    if (this.#isUsed[label] !== 0) return; // known, or newer than the removed rows
    this.#isUsed[label] = 1;
    if (this.#removed.has(label)) this.#unused--;
  }

  /** Begins to look for used labels again, because other rows of a series were removed: those may have had the labels. */
  otherRowsRemoved(seriesId: number): void {
    if (seriesId !== this.#seriesId) return;
    this.#isUsed.fill(0);
    this.#read.clear();
    this.#unused = this.#removed.size;
  }

  /** Returns the chunks after those that were checked. */
  #newEntries(): ChunkEntry[] {
    return this.#chunks
      .ofSeries(this.#seriesId, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)
      .filter(({ id }) => id > this.#lastId);
  }

  /**
   * Looks for other rows with the labels of removed rows until each is found, in most cases in the first chunk. The caller
   * must not yield before it has retired the {@link unusedLabels}: a new row could use one that is about to be blanked.
   *
   * @param visitUnsealed calls the visitor with the label of each row of the series that is not sealed
   */
  *findLabels(visitUnsealed: (visit: (label: number) => void) => void): Job<void> {
    const isStepOver = createStepClock();
    for (const { id } of this.#chunks.ofSeries(this.#seriesId, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
      if (this.#unused === 0) break;
      if (this.#read.has(id) || this.#chunks.checksum(id) === 0) continue;
      this.#addLabels(id, this.#chunks.read(id).labels);
      if (isStepOver()) yield;
    }
    runJob(this.removeRows());
    // chunks that were merged from some that had not been read yet
    for (const { id } of this.#chunks.ofSeries(this.#seriesId, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
      if (this.#unused === 0) break;
      if (!this.#read.has(id)) this.#addLabels(id, this.#chunks.read(id).labels);
    }
    visitUnsealed((label) => this.#addLabel(label));
  }

  /** Returns the labels of removed rows that no row has that was read and kept. */
  unusedLabels(): number[] {
    return [...this.#removed].filter((label) => this.#isUsed[label] === 0);
  }
}

/**
 * Creates the removal of the rows of a user.
 *
 * @param times when the user's rows in the series happened, ascending
 */
export function rowsOfUser(chunks: ChunkTable, user: number, times: Float64Array): RowsToRemove {
  return {
    mayBeIn({ minTime, maxTime }) {
      let low = 0;
      let high = times.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((times[middle] as number) < minTime) low = middle + 1;
        else high = middle;
      }
      return low < times.length && (times[low] as number) <= maxTime;
    },
    isInterruptible: false,
    without: (id) => chunks.withoutUser(id, user),
  };
}

/** The rows of a series that have expired: those up to a `seq` that happened before a time. */
export interface Expired {
  /** Microseconds since 1970. */
  readonly before: number;
  readonly cutoffSeq: number;
}

/**
 * Creates the removal of expired rows, which are already blank in their table.
 *
 * @param onRemoved called with the user and the key of each row that is removed
 */
export function expiredRows(
  chunks: ChunkTable,
  { before, cutoffSeq }: Expired,
  onRemoved: (user: number, seq: number) => void,
): RowsToRemove {
  return {
    mayBeIn: ({ minTime }) => minTime < before,
    isInterruptible: true,
    without(id) {
      const chunk = chunks.read(id);
      const seqs = seqsOf(chunk);
      const isExpired = (row: number) => (chunk.times[row] as number) < before && (seqs[row] as number) <= cutoffSeq;
      const kept = withoutRows(chunk, isExpired);
      if (!kept) return undefined;
      const removedLabels = new Set<number>();
      for (let row = 0; row < chunk.rows; row++) {
        if (!isExpired(row)) continue;
        removedLabels.add(chunk.labels[row] as number);
        onRemoved(chunk.users[row] as number, seqs[row] as number);
      }
      return { labels: kept.labels, removedLabels, write: () => chunks.replace(id, kept) };
    },
  };
}
