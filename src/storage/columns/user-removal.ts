import { type Job, runJob, type Transact } from '../job.ts';
import type { ChunkEntry, ChunkTable } from './chunk-table.ts';

/** How long a step takes if it writes nothing, in milliseconds. */
const STEP_MS = 5;

/**
 * Removes the rows of one user from the sealed chunks of a series, reading only the chunks that may contain them, and finds
 * the labels that no other row has.
 */
export class UserRemoval {
  readonly #chunks: ChunkTable;
  readonly #transact: Transact;
  readonly #seriesId: number;
  readonly #user: number;
  readonly #times: Float64Array;
  /** Every chunk up to this key was checked for rows of the user. */
  #lastId = 0;
  /** Chunks whose labels are in `#isUsed`. */
  readonly #read = new Set<number>();
  /** Labels of removed rows. */
  readonly #removed = new Set<number>();
  /** By label number: 1 if a row that was read and kept has the label. */
  readonly #isUsed: Uint8Array;

  /**
   * @param times when the user's rows in the series happened, ascending
   * @param labelLimit the largest label number plus one
   */
  constructor(
    chunks: ChunkTable,
    transact: Transact,
    seriesId: number,
    user: number,
    times: Float64Array,
    labelLimit: number,
  ) {
    this.#chunks = chunks;
    this.#transact = transact;
    this.#seriesId = seriesId;
    this.#user = user;
    this.#times = times;
    this.#isUsed = new Uint8Array(labelLimit);
  }

  /** Removes the rows from all chunks that exist now. */
  *removeRows(): Job<void> {
    const isStepOver = createStepClock();
    for (const entry of this.#newEntries()) {
      // a merged chunk is blank; its rows are in a later one
      if (this.#mayContainRows(entry) && this.#chunks.checksum(entry.id) !== 0) {
        if (this.#removeFrom(entry.id) || isStepOver()) yield;
      }
      this.#lastId = entry.id;
    }
  }

  /** Removes the rows from a chunk. Returns whether it contained any. */
  #removeFrom(id: number): boolean {
    const removal = this.#chunks.withoutUser(id, this.#user);
    if (!removal) return false;
    for (const label of removal.removedLabels) this.#removed.add(label);
    this.#addLabels(id, removal.labels);
    this.#transact(removal.write);
    return true;
  }

  #addLabels(id: number, labels: Uint32Array): void {
    for (let row = 0; row < labels.length; row++) this.#isUsed[labels[row] as number] = 1;
    this.#read.add(id);
  }

  /** Returns the chunks after those that were checked. */
  #newEntries(): ChunkEntry[] {
    return this.#chunks
      .ofSeries(this.#seriesId, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)
      .filter(({ id }) => id > this.#lastId);
  }

  #mayContainRows({ minTime, maxTime }: ChunkEntry): boolean {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#times[middle] as number) < minTime) low = middle + 1;
      else high = middle;
    }
    return low < this.#times.length && (this.#times[low] as number) <= maxTime;
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
      if (this.unusedLabels().length === 0) break;
      if (this.#read.has(id) || this.#chunks.checksum(id) === 0) continue;
      this.#addLabels(id, this.#chunks.read(id).labels);
      if (isStepOver()) yield;
    }
    runJob(this.removeRows());
    // chunks that were merged from some that had not been read yet
    for (const { id } of this.#chunks.ofSeries(this.#seriesId, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY)) {
      if (this.unusedLabels().length === 0) break;
      if (!this.#read.has(id)) this.#addLabels(id, this.#chunks.read(id).labels);
    }
    visitUnsealed((label) => {
      if (label < this.#isUsed.length) this.#isUsed[label] = 1; // other labels are newer than the removed rows
    });
  }

  /** Returns the labels of removed rows that no row has that was read and kept. */
  unusedLabels(): number[] {
    return [...this.#removed].filter((label) => this.#isUsed[label] === 0);
  }
}

/** Creates a function that returns whether a step has taken long enough, and if so, begins the next one. */
function createStepClock(): () => boolean {
  let startedAt = performance.now();
  return () => {
    if (performance.now() - startedAt < STEP_MS) return false;
    startedAt = performance.now();
    return true;
  };
}
