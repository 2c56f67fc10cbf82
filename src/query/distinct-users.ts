import type { Budget } from './budget.ts';

/** Pairs before the first compaction. */
const FIRST_CAPACITY = 60_000;
/** Pairs at most: 123 MB. */
const MAX_CAPACITY = FIRST_CAPACITY * 2 ** 7;
/** Bytes per pair: a slot and a user, and as much again to sort by. */
const BYTES_PER_PAIR = 16;
/** Bits of a digit by which users are sorted, at most: so many counters stay in the fastest cache. */
const DIGIT_BITS = 13;

/** How many different users there are, exactly: in each slot, lane and bucket, and in all. */
export interface UniqueUsers {
  readonly bySlot: Uint32Array;
  readonly byLane: Uint32Array;
  readonly byBucket: Uint32Array;
  readonly all: number;
}

/**
 * Counts the different users of slots, where slot = lane × buckets + bucket. Keeps the pairs of slot and user
 * that were seen, and drops repeated ones whenever its memory is full: memory is proportional to the number
 * of different pairs, however many users or slots there are. Where even these are too many, users can be
 * added part by part, since the numbers of different users of two parts add up.
 */
export class DistinctUsers {
  readonly #budget: Budget;
  readonly #buckets: number;
  readonly #capacity: number;
  readonly #lastRunOfSlot: Uint32Array;
  readonly #bySlot: Uint32Array;
  readonly #byLane: Uint32Array;
  readonly #byBucket: Uint32Array;
  #all = 0;
  #pairs: Pairs = newPairs(FIRST_CAPACITY);
  /** To sort into. */
  #spare: Pairs = newPairs(FIRST_CAPACITY);
  #size = 0;

  /** @param capacity how many pairs to keep, at most */
  constructor(lanes: number, buckets: number, budget: Budget, capacity = MAX_CAPACITY) {
    this.#budget = budget;
    this.#buckets = buckets;
    this.#capacity = capacity;
    budget.reserve(8 * (lanes + 1) * (buckets + 1) + BYTES_PER_PAIR * FIRST_CAPACITY);
    this.#lastRunOfSlot = new Uint32Array(lanes * buckets);
    this.#bySlot = new Uint32Array(lanes * buckets);
    this.#byLane = new Uint32Array(lanes);
    this.#byBucket = new Uint32Array(buckets);
  }

  /** Adds a pair. Returns whether there was room for it. */
  add(slot: number, user: number): boolean {
    if (this.#size === this.#pairs.users.length && !this.#makeRoom()) return false;
    this.#pairs.others[this.#size] = slot;
    this.#pairs.users[this.#size++] = user;
    return true;
  }

  #makeRoom(): boolean {
    this.#compact();
    const capacity = this.#pairs.users.length;
    if (this.#size <= capacity / 2) return true;
    if (2 * capacity > this.#capacity) return this.#size <= 0.75 * capacity; // fuller, it would sort too often
    this.#budget.reserve(BYTES_PER_PAIR * capacity);
    this.#spare = newPairs(2 * capacity);
    const { users, others } = this.#pairs;
    this.#pairs = newPairs(2 * capacity);
    this.#pairs.users.set(users);
    this.#pairs.others.set(others);
    return true;
  }

  /** Sorts the pairs by user and drops repeated ones. */
  #compact(): void {
    [this.#pairs, this.#spare] = sortByUser(this.#pairs, this.#spare, this.#size, this.#budget);
    const { users, others: slots } = this.#pairs;
    const lastRun = this.#lastRunOfSlot.fill(0);
    let kept = 0;
    let run = 0; // of pairs of the same user
    for (let i = 0, last = -1; i < this.#size; i++) {
      const user = users[i] as number;
      if (user !== last) run++;
      last = user;
      const slot = slots[i] as number;
      if (lastRun[slot] === run) continue;
      lastRun[slot] = run;
      users[kept] = user;
      slots[kept++] = slot;
    }
    this.#size = kept;
  }

  /** Counts the users of a part. Those that are added next must be others. */
  endPart(): void {
    this.#compact();
    const { users, others: slots } = this.#pairs;
    const lastRunOfLane = new Uint32Array(this.#byLane.length);
    const lastRunOfBucket = new Uint32Array(this.#byBucket.length);
    let run = 0;
    for (let i = 0, last = -1; i < this.#size; i++) {
      const user = users[i] as number;
      if (user !== last) run++;
      last = user;
      const slot = slots[i] as number;
      const bucket = slot % this.#buckets;
      const lane = (slot - bucket) / this.#buckets;
      (this.#bySlot[slot] as number)++;
      if (lastRunOfLane[lane] !== run) (this.#byLane[lane] as number)++;
      lastRunOfLane[lane] = run;
      if (lastRunOfBucket[bucket] !== run) (this.#byBucket[bucket] as number)++;
      lastRunOfBucket[bucket] = run;
    }
    this.#all += run;
    this.#size = 0;
  }

  /** Forgets everything, and keeps the memory. */
  clear(): void {
    this.#size = 0;
    this.#all = 0;
    for (const counts of [this.#bySlot, this.#byLane, this.#byBucket]) counts.fill(0);
  }

  /** The users of all parts that were ended. */
  get unique(): UniqueUsers {
    return { bySlot: this.#bySlot, byLane: this.#byLane, byBucket: this.#byBucket, all: this.#all };
  }
}

/** Users with a number each. */
export interface Pairs {
  readonly users: Uint32Array;
  readonly others: Uint32Array;
}

export function newPairs(length: number): Pairs {
  return { users: new Uint32Array(length), others: new Uint32Array(length) };
}

/**
 * Sorts pairs by user, in as many passes as the largest user's number has digits (a radix sort). Stable.
 *
 * @param spare as long as the pairs
 * @returns the sorted pairs, and what is spare now: both are one of the parameters
 */
export function sortByUser(pairs: Pairs, spare: Pairs, size: number, budget: Budget): [sorted: Pairs, spare: Pairs] {
  let largest = 1;
  for (let i = 0; i < size; i++) if ((pairs.users[i] as number) > largest) largest = pairs.users[i] as number;
  const bits = 32 - Math.clz32(largest);
  const passes = Math.ceil(bits / DIGIT_BITS);
  const width = Math.ceil(bits / passes);
  const mask = 2 ** width - 1;
  const starts = new Uint32Array(mask + 2);
  let [from, to] = [pairs, spare];
  for (let pass = 0, shift = 0; pass < passes; pass++, shift += width) {
    budget.check();
    starts.fill(0);
    for (let i = 0; i < size; i++) (starts[(((from.users[i] as number) >>> shift) & mask) + 1] as number)++;
    for (let digit = 0; digit < mask; digit++) (starts[digit + 1] as number) += starts[digit] as number;
    for (let i = 0; i < size; i++) {
      const user = from.users[i] as number;
      const place = (starts[(user >>> shift) & mask] as number)++;
      to.users[place] = user;
      to.others[place] = from.others[i] as number;
    }
    [from, to] = [to, from];
  }
  return [from, to];
}
