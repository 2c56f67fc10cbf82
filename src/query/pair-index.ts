import type { Budget } from './budget.ts';
import { growInto } from './number-index.ts';

/**
 * Maps pairs of numbers to consecutive indices, in insertion order. An open-addressing hash table with linear probing, at
 * most half full. The numbers are hashes, so their low bits are already random.
 */
export class PairIndex {
  readonly #budget: Budget;
  /** The pairs by index. */
  #firsts = new Float64Array(2 ** 6);
  #seconds = new Float64Array(2 ** 6);
  /** The hash table: index plus one; 0: free. */
  #table = new Uint32Array(2 ** 7);
  #size = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** Returns the index of a pair, and adds the pair if it is new. */
  add(first: number, second: number): number {
    const mask = this.#table.length - 1;
    for (let place = first & mask; ; place = (place + 1) & mask) {
      const entry = this.#table[place] as number;
      if (entry === 0) break;
      if (this.#firsts[entry - 1] === first && this.#seconds[entry - 1] === second) return entry - 1;
    }
    if (this.#size === this.#firsts.length) this.#grow();
    this.#firsts[this.#size] = first;
    this.#seconds[this.#size] = second;
    this.#insert(this.#size++);
    return this.#size - 1;
  }

  #insert(index: number): void {
    const mask = this.#table.length - 1;
    let place = (this.#firsts[index] as number) & mask;
    while (this.#table[place] !== 0) place = (place + 1) & mask;
    this.#table[place] = index + 1;
  }

  #grow(): void {
    const capacity = this.#firsts.length * 2;
    this.#budget.reserve(12 * capacity);
    this.#budget.check();
    this.#firsts = growInto(this.#firsts, new Float64Array(capacity));
    this.#seconds = growInto(this.#seconds, new Float64Array(capacity));
    this.#table = new Uint32Array(2 * capacity);
    for (let index = 0; index < this.#size; index++) this.#insert(index);
  }
}
