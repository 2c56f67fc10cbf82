import { allocateChunk, type Chunk, splitChunk } from './chunk.ts';
import { encodeSeqs } from './seq-codec.ts';
import { type Hours, hoursOf, type Quarters, quartersOf } from './summary.ts';

/**
 * Maximum number of rows in a memtable: 5.2 MB of arrays, and as much again for the parts that queries have read. After a
 * restart, up to this many rows are applied again.
 */
export const MAX_MEMTABLE_ROWS = 131_072;

/** Rows per part of a series, except for the last part. Few enough to copy and sort in less than a millisecond. */
const PART_ROWS = 8_192;

/** The rows of one series in the memtable, as a linked list that begins at the last row. */
interface SeriesRows {
  last: number;
  rows: number;
  minTime: number;
  maxTime: number;
  /** The parts that were read; all but the last one are complete, and the last one may lack newer rows. */
  readonly parts: MemtablePart[];
}

/** Consecutive rows of a series in the memtable, with the same summaries as a sealed chunk, computed on first use. */
export class MemtablePart {
  readonly chunk: Chunk;
  #quarters: { readonly found: Quarters | undefined } | undefined;
  #hours: { readonly found: Hours | undefined } | undefined;

  constructor(chunk: Chunk) {
    this.chunk = chunk;
  }

  quarters(): Quarters | undefined {
    this.#quarters ??= { found: quartersOf(this.chunk) };
    return this.#quarters.found;
  }

  hours(): Hours | undefined {
    this.#hours ??= { found: hoursOf(this.chunk) };
    return this.#hours.found;
  }
}

/**
 * The newest rows of all series, not yet in sealed chunks, in commit order. All series share one set of arrays, so memory
 * does not depend on the number of series.
 */
export class Memtable {
  #rows = 0;
  readonly #times = new Float64Array(MAX_MEMTABLE_ROWS);
  readonly #users = new Uint32Array(MAX_MEMTABLE_ROWS);
  readonly #labels = new Uint32Array(MAX_MEMTABLE_ROWS);
  readonly #values = new Float64Array(MAX_MEMTABLE_ROWS);
  readonly #seqs = new Float64Array(MAX_MEMTABLE_ROWS);
  readonly #series = new Uint32Array(MAX_MEMTABLE_ROWS);
  /** The previous row of the same series; -1 for the first row. */
  readonly #previous = new Int32Array(MAX_MEMTABLE_ROWS);
  readonly #bySeries = new Map<number, SeriesRows>();

  get rows(): number {
    return this.#rows;
  }

  get isFull(): boolean {
    return this.#rows === MAX_MEMTABLE_ROWS;
  }

  /** Adds a row. The memtable must not be full. */
  push(series: number, seq: number, time: number, user: number, label: number, value: number): void {
    const row = this.#rows++;
    const seriesRows = this.#bySeries.get(series);
    this.#times[row] = time;
    this.#users[row] = user;
    this.#labels[row] = label;
    this.#values[row] = value;
    this.#seqs[row] = seq;
    this.#series[row] = series;
    this.#previous[row] = seriesRows?.last ?? -1;
    if (!seriesRows) {
      this.#bySeries.set(series, { last: row, rows: 1, minTime: time, maxTime: time, parts: [] });
      return;
    }
    seriesRows.last = row;
    seriesRows.rows++;
    if (time < seriesRows.minTime) seriesRows.minTime = time;
    if (time > seriesRows.maxTime) seriesRows.maxTime = time;
  }

  /** Returns the series that have rows. */
  series(): number[] {
    return [...this.#bySeries.keys()];
  }

  /** Returns the extent of a series; undefined if it has no rows. */
  extent(series: number): Pick<Chunk, 'rows' | 'minTime' | 'maxTime'> | undefined {
    return this.#bySeries.get(series);
  }

  /** Returns the rows of a series; undefined if it has none. */
  chunk(series: number, hasValues: boolean): Chunk | undefined {
    const found = this.#bySeries.get(series);
    return found && this.#copy(found.last, found.rows, hasValues);
  }

  /**
   * Returns the rows of a series in parts, in commit order. A part is kept until its rows leave the memtable, so a query
   * copies and sorts only rows that no query has read before, and those of the last part.
   */
  parts(series: number, hasValues: boolean): readonly MemtablePart[] {
    const found = this.#bySeries.get(series);
    if (!found) return [];
    const { parts } = found;
    const lastStart = PART_ROWS * Math.max(0, parts.length - 1);
    const kept = parts.at(-1)?.chunk.rows ?? 0;
    if (lastStart + kept === found.rows) return parts;
    if (kept < PART_ROWS) parts.pop();
    const start = PART_ROWS * parts.length;
    const copied = this.#copy(found.last, found.rows - start, hasValues);
    for (const chunk of splitChunk(copied, PART_ROWS)) parts.push(new MemtablePart(chunk));
    return parts;
  }

  /** Copies some rows of a series, of which `last` is the last. */
  #copy(last: number, rows: number, hasValues: boolean): Chunk {
    const arrays = allocateChunk(rows, hasValues);
    const seqs = new Float64Array(rows);
    let minTime = Number.POSITIVE_INFINITY;
    let maxTime = Number.NEGATIVE_INFINITY;
    for (let row = last, at = rows - 1; at >= 0; row = this.#previous[row] as number, at--) {
      const time = this.#times[row] as number;
      arrays.times[at] = time;
      arrays.users[at] = this.#users[row] as number;
      arrays.labels[at] = this.#labels[row] as number;
      if (hasValues) arrays.values[at] = this.#values[row] as number;
      seqs[at] = this.#seqs[row] as number;
      if (time < minTime) minTime = time;
      if (time > maxTime) maxTime = time;
    }
    return { rows, minTime, maxTime, seqs: encodeSeqs(seqs), ...arrays };
  }

  /** Calls `visit` for each row that is not sealed yet, in commit order. */
  forEach(visit: (series: number, user: number, label: number, seq: number) => void): void {
    for (let row = 0; row < this.#rows; row++) {
      const series = this.#series[row] as number;
      if (!this.#bySeries.has(series)) continue;
      visit(series, this.#users[row] as number, this.#labels[row] as number, this.#seqs[row] as number);
    }
  }

  /** Replaces the users or the labels of all rows by other numbers. */
  renumber(column: 'users' | 'labels', renumbered: (number: number) => number): void {
    const all = column === 'users' ? this.#users : this.#labels;
    replaceAll(all.subarray(0, this.#rows), renumbered);
    for (const { parts } of this.#bySeries.values()) {
      for (const { chunk } of parts) replaceAll(chunk[column], renumbered);
    }
  }

  /** Calls `visit` for each row of a user that is not sealed yet, in commit order. */
  forEachOf(user: number, visit: (series: number, seq: number) => void): void {
    const users = this.#users.subarray(0, this.#rows);
    for (let row = users.indexOf(user); row >= 0; row = users.indexOf(user, row + 1)) {
      const series = this.#series[row] as number;
      if (this.#bySeries.has(series)) visit(series, this.#seqs[row] as number);
    }
  }

  /** Calls `visit` with the label of each row of a series. */
  labelsOf(series: number, visit: (label: number) => void): void {
    for (let row = this.#bySeries.get(series)?.last ?? -1; row >= 0; row = this.#previous[row] as number) {
      visit(this.#labels[row] as number);
    }
  }

  /** Drops the rows of a series after they were sealed. */
  dropSeries(series: number): void {
    this.#bySeries.delete(series);
    if (this.#bySeries.size === 0) this.#rows = 0;
  }

  /** Drops the rows of a user. */
  dropUser(user: number): void {
    const rows = this.#rows;
    const kept = new Set(this.#bySeries.keys());
    this.clear();
    // Rows only move toward the start of the arrays, so push() never overwrites a row that is not read yet.
    for (let row = 0; row < rows; row++) {
      const series = this.#series[row] as number;
      if (this.#users[row] === user || !kept.has(series)) continue;
      const seq = this.#seqs[row] as number;
      const [time, owner, label, value] = [this.#times[row], this.#users[row], this.#labels[row], this.#values[row]];
      this.push(series, seq, time as number, owner as number, label as number, value as number);
    }
  }

  clear(): void {
    this.#rows = 0;
    this.#bySeries.clear();
  }
}

function replaceAll(numbers: Uint32Array, renumbered: (number: number) => number): void {
  for (let i = 0; i < numbers.length; i++) numbers[i] = renumbered(numbers[i] as number);
}
