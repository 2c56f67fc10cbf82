import { allocateChunk, type Chunk } from './chunk.ts';

/** Most rows of a memtable: its arrays take 2 MB. After a start as many rows are read again. */
export const MAX_MEMTABLE_ROWS = 65_536;

/** The rows of one series in the memtable: the last one leads to those before it. */
interface SeriesRows {
  last: number;
  rows: number;
  minTime: number;
  maxTime: number;
}

/**
 * The newest rows of all series, which are not in sealed chunks yet, in the order of their commits. One set of
 * arrays serves all series, so that its memory does not depend on how many there are.
 */
export class Memtable {
  #rows = 0;
  readonly #times = new Float64Array(MAX_MEMTABLE_ROWS);
  readonly #users = new Uint32Array(MAX_MEMTABLE_ROWS);
  readonly #labels = new Uint32Array(MAX_MEMTABLE_ROWS);
  readonly #values = new Float64Array(MAX_MEMTABLE_ROWS);
  readonly #series = new Uint32Array(MAX_MEMTABLE_ROWS);
  /** The row before of the same series; -1 at the first. */
  readonly #previous = new Int32Array(MAX_MEMTABLE_ROWS);
  readonly #bySeries = new Map<number, SeriesRows>();

  get rows(): number {
    return this.#rows;
  }

  get isFull(): boolean {
    return this.#rows === MAX_MEMTABLE_ROWS;
  }

  /** Adds a row; the memtable must have room. */
  push(series: number, time: number, user: number, label: number, value: number): void {
    const row = this.#rows++;
    const before = this.#bySeries.get(series);
    this.#times[row] = time;
    this.#users[row] = user;
    this.#labels[row] = label;
    this.#values[row] = value;
    this.#series[row] = series;
    this.#previous[row] = before?.last ?? -1;
    if (!before) {
      this.#bySeries.set(series, { last: row, rows: 1, minTime: time, maxTime: time });
      return;
    }
    before.last = row;
    before.rows++;
    if (time < before.minTime) before.minTime = time;
    if (time > before.maxTime) before.maxTime = time;
  }

  /** The series that have rows. */
  series(): number[] {
    return [...this.#bySeries.keys()];
  }

  /** How many rows a series has, and when the first and the last of them happened. */
  extent(series: number): Pick<Chunk, 'rows' | 'minTime' | 'maxTime'> | undefined {
    return this.#bySeries.get(series);
  }

  /** Returns the rows of a series; undefined if it has none. */
  chunk(series: number, hasValues: boolean): Chunk | undefined {
    const found = this.#bySeries.get(series);
    if (!found) return undefined;
    const { rows, minTime, maxTime } = found;
    const arrays = allocateChunk(rows, hasValues);
    for (let row = found.last, at = rows - 1; at >= 0; row = this.#previous[row] as number, at--) {
      arrays.times[at] = this.#times[row] as number;
      arrays.users[at] = this.#users[row] as number;
      arrays.labels[at] = this.#labels[row] as number;
      if (hasValues) arrays.values[at] = this.#values[row] as number;
    }
    return { rows, minTime, maxTime, ...arrays };
  }

  /** Calls back for each row that is not sealed, in the order of their commits. */
  forEach(visit: (series: number, user: number, label: number) => void): void {
    for (let row = 0; row < this.#rows; row++) {
      const series = this.#series[row] as number;
      if (this.#bySeries.has(series)) visit(series, this.#users[row] as number, this.#labels[row] as number);
    }
  }

  /** Forgets the rows of a series: they are in a sealed chunk now. */
  dropSeries(series: number): void {
    this.#bySeries.delete(series);
    if (this.#bySeries.size === 0) this.#rows = 0;
  }

  /** Forgets the rows of a user. */
  dropUser(user: number): void {
    const rows = this.#rows;
    const kept = new Set(this.#bySeries.keys());
    this.clear();
    // rows move towards the start of the arrays only, past those that have been read
    for (let row = 0; row < rows; row++) {
      const series = this.#series[row] as number;
      if (this.#users[row] === user || !kept.has(series)) continue;
      const [time, who, label, value] = [this.#times[row], this.#users[row], this.#labels[row], this.#values[row]];
      this.push(series, time as number, who as number, label as number, value as number);
    }
  }

  clear(): void {
    this.#rows = 0;
    this.#bySeries.clear();
  }
}
