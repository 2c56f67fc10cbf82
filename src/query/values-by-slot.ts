import type { Budget } from './budget.ts';
import type { GroupedSelection } from './groups.ts';
import type { SelectedChunk } from './selection.ts';

/** The values of a selection by slot. */
export interface ValuesBySlot {
  /** The values, slot by slot. */
  readonly values: Float64Array;
  /** The start of each slot's values, followed by the end of the last. */
  readonly starts: Uint32Array;
}

/**
 * Sorts the selected values by slot with a counting sort. Scans the chunks twice, so that memory holds 12 bytes per row
 * instead of the chunks.
 *
 * @param valuesOf returns the value of each row of a chunk; those of rows that are not selected do not matter
 */
export function valuesBySlot(
  { chunks, slotsOf, buckets, groupCount }: GroupedSelection,
  valuesOf: (chunk: SelectedChunk) => Float64Array,
  budget: Budget,
): ValuesBySlot {
  const slots = groupCount * buckets;
  budget.reserve(8 * (slots + 1));
  const starts = new Uint32Array(slots + 1);
  let slotsOfChunks: (Int32Array | OneSlot)[] = [];
  for (const chunk of chunks()) {
    budget.reserve(4 * chunk.rows);
    const slotsOfRows = compact(slotsOf(chunk));
    if ('slot' in slotsOfRows) {
      const { slot, length } = slotsOfRows;
      if (slot >= 0) (starts[slot + 1] as number) += length;
      budget.reserve(-4 * length);
    } else countRows(slotsOfRows, starts);
    slotsOfChunks.push(slotsOfRows);
  }
  for (let slot = 0; slot < slots; slot++) (starts[slot + 1] as number) += starts[slot] as number;
  budget.reserve(8 * (starts[slots] as number));
  const values = new Float64Array(starts[slots] as number);
  const next = starts.slice();
  let chunkIndex = 0;
  for (const chunk of chunks()) {
    // the first scan may have read a chunk in other parts, if its properties had no columns yet
    if (slotsOfChunks[chunkIndex]?.length !== chunk.rows) slotsOfChunks = [];
    const slotsOfRows = slotsOfChunks[chunkIndex++] ?? compact(slotsOf(chunk));
    const valuesOfRows = valuesOf(chunk);
    if ('slot' in slotsOfRows) {
      const { slot, length } = slotsOfRows;
      if (slot < 0) continue;
      values.set(valuesOfRows, next[slot]);
      (next[slot] as number) += length;
      continue;
    }
    copyRows(slotsOfRows, valuesOfRows, values, next);
    budget.reserve(-4 * chunk.rows);
  }
  return { values, starts };
}

/*
 * Loops over rows are functions: a loop in a function that runs once per query is compiled late, and takes ten times as long.
 */

/** Adds the number of rows of each slot to the entry after the slot's. */
function countRows(slots: Int32Array, counts: Uint32Array): void {
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    if (slot >= 0) (counts[slot + 1] as number)++;
  }
}

/** Copies the value of each row to the next place of its slot. */
function copyRows(slots: Int32Array, from: Float64Array, to: Float64Array, next: Uint32Array): void {
  for (let i = 0; i < slots.length; i++) {
    const slot = slots[i] as number;
    if (slot < 0) continue;
    const place = next[slot] as number;
    to[place] = from[i] as number;
    next[slot] = place + 1;
  }
}

/** Stands for the slots of rows that are all in the same slot. */
interface OneSlot {
  readonly slot: number;
  readonly length: number;
}

/** Returns the slots of rows as one, if all are the same: then their values can be counted and copied as a whole. */
function compact(slots: Int32Array): Int32Array | OneSlot {
  const { length } = slots;
  const slot = slots[0];
  if (slot === undefined) return slots;
  for (let i = 1; i < length; i++) if (slots[i] !== slot) return slots;
  return { slot, length };
}

/** A reusable array for the values of several slots. */
export class Scratch {
  readonly #budget: Budget;
  #array = new Float64Array(1024);

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  concat(parts: readonly Float64Array[]): Float64Array {
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    if (length > this.#array.length) {
      this.#budget.reserve(8 * (length - this.#array.length));
      this.#array = new Float64Array(length);
    }
    let at = 0;
    for (const part of parts) {
      this.#array.set(part, at);
      at += part.length;
    }
    return this.#array.subarray(0, length);
  }
}
