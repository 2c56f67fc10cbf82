import type { Job } from '../job.ts';
import { seqsOf } from './chunk.ts';
import type { ChunkTable } from './chunk-table.ts';
import type { Expired } from './row-removal.ts';
import { createStepClock } from './step-clock.ts';

/** Number of keys that a window has at most, approximately. */
const WINDOW_KEYS = 2 ** 18;
/** Number of halvings by which the end of a window is found. */
const BISECTIONS = 40;

/** A series with expired rows. */
export interface ExpiredSeries extends Expired {
  readonly seriesId: number;
}

/** Where the window is in a series. */
interface Cursor extends ExpiredSeries {
  /** Rows up to this chunk are in earlier windows. */
  doneId: number;
  /** The last chunk that was looked at for this window. */
  lastId: number;
  /** The first and the last key of these chunks, and the number of their rows in between. */
  first: number;
  last: number;
  rows: number;
  /** Whether there may be later chunks with expired rows. */
  hasMore: boolean;
}

/**
 * The keys of the expired rows of several series, in windows: each contains all of them up to a certain key. So rows that are
 * neighbors in their table are removed together, although each of them belongs to another series.
 *
 * Chunks may be sealed, merged and rewritten meanwhile, but not rebuilt.
 */
export class ExpiredKeys {
  readonly #chunks: ChunkTable;
  #cursors: Cursor[];
  /** All keys up to this one are in earlier windows. */
  #after = 0;

  constructor(chunks: ChunkTable, series: readonly ExpiredSeries[]) {
    this.#chunks = chunks;
    const start = { doneId: 0, lastId: 0, first: 0, last: 0, rows: 0, hasMore: true };
    this.#cursors = series.map((each) => ({ ...each, ...start }));
  }

  /** Returns the keys of the next window, ascending; undefined after the last one. */
  *next(): Job<Float64Array | undefined> {
    for (;;) {
      const end = yield* this.#findEnd();
      if (end === undefined) return undefined;
      const keys = yield* this.#collect(end);
      this.#after = end;
      if (keys.length > 0) return keys.sort();
    }
  }

  /** Chooses the last key of the next window. Returns undefined if no rows are left. */
  *#findEnd(): Job<number | undefined> {
    const isStepOver = createStepClock();
    for (const cursor of this.#cursors) {
      Object.assign(cursor, { lastId: cursor.doneId, rows: 0, hasMore: true });
      this.#extend(cursor);
      if (isStepOver()) yield;
    }
    this.#cursors = this.#cursors.filter(({ rows }) => rows > 0);
    if (this.#cursors.length === 0) return undefined;
    for (;;) {
      // a window cannot contain more than what is known of each series
      const shortest = this.#cursors.filter(({ hasMore }) => hasMore).sort((a, b) => a.last - b.last)[0];
      const end = shortest?.last ?? Math.max(...this.#cursors.map(({ last }) => last));
      if (this.#estimate(end) > WINDOW_KEYS) return this.#shorten(end);
      if (!shortest) return end;
      this.#extend(shortest);
      if (isStepOver()) yield;
    }
  }

  /** Looks at the next chunk of a series with expired rows after the last window, if there is one. */
  #extend(cursor: Cursor): void {
    const { seriesId, before, cutoffSeq } = cursor;
    for (let entry = this.#chunks.next(seriesId, cursor.lastId); entry; entry = this.#chunks.next(seriesId, entry.id)) {
      const seqs = entry.minTime < before ? seqsOf(this.#chunks.read(entry.id)) : undefined;
      const first = seqs?.find((seq) => seq > this.#after);
      if (seqs === undefined || first === undefined) {
        // nothing of it is in a later window
        if (cursor.rows === 0) cursor.doneId = entry.id;
        continue;
      }
      if (first > cutoffSeq) break;
      if (cursor.rows === 0) cursor.first = first;
      cursor.rows += seqs.length;
      cursor.last = Math.min(seqs.at(-1) as number, cutoffSeq);
      cursor.lastId = entry.id;
      return;
    }
    cursor.hasMore = false;
  }

  /** Estimates the number of keys in a window, as if the rows of each series were evenly distributed. */
  #estimate(end: number): number {
    let keys = 0;
    for (const { first, last, rows } of this.#cursors) {
      if (end >= first) keys += rows * Math.min(1, (end - first + 1) / (last - first + 1));
    }
    return keys;
  }

  /** Returns an earlier end, so that the window has about as many keys as it should. */
  #shorten(end: number): number {
    const first = Math.min(...this.#cursors.map((cursor) => cursor.first));
    let [low, high] = [first, end];
    for (let i = 0; i < BISECTIONS && low < high; i++) {
      const middle = Math.floor((low + high) / 2);
      if (this.#estimate(middle) > WINDOW_KEYS) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Collects the keys of a window. */
  *#collect(end: number): Job<Float64Array> {
    const isStepOver = createStepClock();
    const found: number[] = [];
    for (const { seriesId, before, cutoffSeq, doneId } of this.#cursors) {
      const last = Math.min(end, cutoffSeq);
      for (let entry = this.#chunks.next(seriesId, doneId); entry; entry = this.#chunks.next(seriesId, entry.id)) {
        if (entry.minTime >= before) continue;
        const chunk = this.#chunks.read(entry.id);
        const seqs = seqsOf(chunk);
        if ((seqs[0] as number) > last) break;
        for (let row = 0; row < seqs.length; row++) {
          const seq = seqs[row] as number;
          if (seq > this.#after && seq <= last && (chunk.times[row] as number) < before) found.push(seq);
        }
        if (isStepOver()) yield;
      }
    }
    return Float64Array.from(found);
  }
}
