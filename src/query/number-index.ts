import type { Budget } from './budget.ts';

/** Numbers below this use a 1 MB lookup array, which takes 2 ns instead of 20 ns for the hash table. */
const DIRECT_LIMIT = 2 ** 18;

/**
 * Maps user or label numbers to consecutive indices, in insertion order. For large numbers, it is an open-addressing hash
 * table with linear probing, at most half full. Its memory is then proportional to the number of entries, not to the
 * largest number, since a query over a few labels should not pay for the millions of labels in other series.
 */
export class NumberIndex {
  readonly #budget: Budget;
  /** The numbers by index. */
  #numbers = new Uint32Array(2 ** 6);
  /** The lookup array: index plus one by number; 0: not added. */
  readonly #direct: Uint32Array | undefined;
  /** The hash table: index plus one; 0: free. */
  #table = new Uint32Array(2 ** 7);
  /** 32 minus log2 of the table length. */
  #shift = 32 - 7;
  #size = 0;

  /** @param limit one more than the largest number to be added or looked up */
  constructor(limit: number, budget: Budget) {
    this.#budget = budget;
    if (limit <= DIRECT_LIMIT) this.#direct = new Uint32Array(limit);
  }

  /** The number of entries. */
  get size(): number {
    return this.#size;
  }

  /** Returns the number at an index. */
  at(index: number): number {
    return this.#numbers[index] as number;
  }

  /** Returns the index of a number; -1 if it was not added. */
  find(number: number): number {
    if (this.#direct) return (this.#direct[number] as number) - 1;
    const table = this.#table;
    // Fibonacci hashing spreads neighboring numbers
    for (let place = Math.imul(number, 0x9e3779b1) >>> this.#shift; ; place = (place + 1) & (table.length - 1)) {
      const entry = table[place] as number;
      if (entry === 0) return -1;
      if (this.#numbers[entry - 1] === number) return entry - 1;
    }
  }

  /** Returns the index of a number, and adds the number if it is new. */
  add(number: number): number {
    const found = this.find(number);
    if (found >= 0) return found;
    if (this.#size === this.#numbers.length) this.#grow();
    this.#numbers[this.#size] = number;
    this.#size++;
    if (this.#direct) this.#direct[number] = this.#size;
    else this.#insert(number, this.#size);
    return this.#size - 1;
  }

  #insert(number: number, entry: number): void {
    let place = Math.imul(number, 0x9e3779b1) >>> this.#shift;
    while (this.#table[place] !== 0) place = (place + 1) & (this.#table.length - 1);
    this.#table[place] = entry;
  }

  #grow(): void {
    const capacity = this.#numbers.length * 2;
    this.#budget.reserve(6 * capacity);
    this.#budget.check();
    this.#numbers = growInto(this.#numbers, new Uint32Array(capacity));
    if (this.#direct) return;
    this.#table = new Uint32Array(2 * capacity);
    this.#shift--;
    for (let i = 0; i < this.#size; i++) this.#insert(this.#numbers[i] as number, i + 1);
  }
}

/** Copies an array to the start of a longer one, and returns the longer one. */
export function growInto<Numbers extends Float64Array | Uint32Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
