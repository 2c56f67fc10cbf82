import type { Budget } from './budget.ts';

/** Numbers below this are looked up in an array of 1 MB, which takes 2 ns; in the hash table it takes 20 ns. */
const DIRECT_LIMIT = 2 ** 18;

/**
 * Maps numbers of users or labels to consecutive indices, in the order in which they are added. Where numbers
 * are large, its memory is proportional to what was added, not to the largest number: a query over a few labels
 * must not pay for the millions that other series have. It is an open-addressing hash table with linear probing
 * then, at most half full.
 */
export class NumberIndex {
  readonly #budget: Budget;
  /** The numbers by index. */
  #numbers = new Uint32Array(2 ** 6);
  /** By number, an index plus one; 0: the number was not added. */
  readonly #direct: Uint32Array | undefined;
  /** The hash table: an index plus one; 0: free. */
  #table = new Uint32Array(2 ** 7);
  /** 32 − log2 of the length of the table. */
  #shift = 32 - 7;
  #size = 0;

  /** @param limit one more than the largest number that is added or looked up */
  constructor(limit: number, budget: Budget) {
    this.#budget = budget;
    if (limit <= DIRECT_LIMIT) this.#direct = new Uint32Array(limit);
  }

  /** How many numbers were added. */
  get size(): number {
    return this.#size;
  }

  /** The number at an index. */
  at(index: number): number {
    return this.#numbers[index] as number;
  }

  /** The index of a number; -1: it was not added. */
  find(number: number): number {
    if (this.#direct) return (this.#direct[number] as number) - 1;
    const table = this.#table;
    // Fibonacci hashing: neighboring numbers end up far apart
    for (let place = Math.imul(number, 0x9e3779b1) >>> this.#shift; ; place = (place + 1) & (table.length - 1)) {
      const entry = table[place] as number;
      if (entry === 0) return -1;
      if (this.#numbers[entry - 1] === number) return entry - 1;
    }
  }

  /** The index of a number, which is added where it is new. */
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
    this.#numbers = grown(this.#numbers, new Uint32Array(capacity));
    if (this.#direct) return;
    this.#table = new Uint32Array(2 * capacity);
    this.#shift--;
    for (let i = 0; i < this.#size; i++) this.#insert(this.#numbers[i] as number, i + 1);
  }
}

/** Copies an array into the start of a longer one. */
export function grown<Numbers extends Float64Array | Uint32Array>(from: Numbers, to: Numbers): Numbers {
  to.set(from);
  return to;
}
