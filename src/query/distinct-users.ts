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

/** Counts the different users of slots, where slot = lane × buckets + bucket. */
export interface UserCounter {
  /**
   * Adds the users of rows, by the slot of each row; slots below 0 do not count. Of several parts of the users,
   * only those of the current one are added.
   *
   * @returns whether there was room for them
   */
  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean;
  /** Counts the users of a part. */
  endPart(): void;
  /** Forgets everything, and keeps the memory. */
  clear(): void;
  /** The users of all parts that were ended. */
  readonly unique: UniqueUsers;
}

/** The largest bitmap of slots and users: 16 MB. */
const MAX_BITMAP_BITS = 2 ** 27;

/**
 * Returns a counter whose memory fits the query: a bit per slot and user where that is little, and otherwise the
 * pairs that occur, which takes about ten times as long per row.
 *
 * @param userLimit one more than the largest number of a user
 */
export function createUserCounter(lanes: number, buckets: number, userLimit: number, budget: Budget): UserCounter {
  return lanes * buckets * userLimit <= MAX_BITMAP_BITS
    ? new UserBitmap(lanes, buckets, userLimit, budget)
    : new UserPairs(lanes, buckets, budget);
}

/** What the counters count. */
class Unique implements UniqueUsers {
  readonly bySlot: Uint32Array;
  readonly byLane: Uint32Array;
  readonly byBucket: Uint32Array;
  all = 0;

  constructor(lanes: number, buckets: number, budget: Budget) {
    budget.reserve(4 * (lanes + 1) * (buckets + 1));
    this.bySlot = new Uint32Array(lanes * buckets);
    this.byLane = new Uint32Array(lanes);
    this.byBucket = new Uint32Array(buckets);
  }

  clear(): void {
    for (const counts of [this.bySlot, this.byLane, this.byBucket]) counts.fill(0);
    this.all = 0;
  }
}

/** Keeps a bit for each slot and user: always has room. */
export class UserBitmap implements UserCounter {
  readonly #lanes: number;
  readonly #buckets: number;
  readonly #marks: Uint32Array;
  readonly #wordsOfSlot: number;
  readonly #unique: Unique;

  constructor(lanes: number, buckets: number, userLimit: number, budget: Budget) {
    this.#lanes = lanes;
    this.#buckets = buckets;
    this.#wordsOfSlot = (userLimit >>> 5) + 1;
    budget.reserve(4 * lanes * buckets * this.#wordsOfSlot);
    this.#marks = new Uint32Array(lanes * buckets * this.#wordsOfSlot);
    this.#unique = new Unique(lanes, buckets, budget);
  }

  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean {
    const marks = this.#marks;
    const words = this.#wordsOfSlot;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || (parts > 1 && user % parts !== part)) continue;
      const word = slot * words + (user >>> 5);
      marks[word] = (marks[word] as number) | (1 << (user & 31));
    }
    return true;
  }

  endPart(): void {
    const { bySlot, byLane, byBucket } = this.#unique;
    const [lanes, buckets] = [this.#lanes, this.#buckets];
    for (let slot = 0; slot < bySlot.length; slot++) (bySlot[slot] as number) += this.#together(slot, 1, 1);
    for (let lane = 0; lane < lanes; lane++) (byLane[lane] as number) += this.#together(lane * buckets, 1, buckets);
    for (let bucket = 0; bucket < buckets; bucket++) {
      (byBucket[bucket] as number) += this.#together(bucket, buckets, lanes);
    }
    this.#unique.all += this.#together(0, 1, lanes * buckets);
    this.#marks.fill(0);
  }

  /** The different users of several slots: so many, from one on, each so far from the one before. */
  #together(first: number, step: number, slots: number): number {
    const marks = this.#marks;
    const words = this.#wordsOfSlot;
    let users = 0;
    for (let word = 0; word < words; word++) {
      let bits = 0;
      for (let i = 0, at = first * words + word; i < slots; i++, at += step * words) bits |= marks[at] as number;
      users += bitsOf(bits);
    }
    return users;
  }

  clear(): void {
    this.#marks.fill(0);
    this.#unique.clear();
  }

  get unique(): UniqueUsers {
    return this.#unique;
  }
}

/** How many bits of a 32-bit word are set: bits are added up in pairs, then in fours, then in bytes. */
function bitsOf(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * Keeps the pairs of slot and user that were seen, and drops repeated ones whenever its memory is full: memory is
 * proportional to the number of different pairs, however many users or slots there are. Where even these are too
 * many, users can be added part by part, since the numbers of different users of two parts add up.
 */
export class UserPairs implements UserCounter {
  readonly #budget: Budget;
  readonly #buckets: number;
  readonly #capacity: number;
  readonly #lastRunOfSlot: Uint32Array;
  readonly #unique: Unique;
  #pairs: Pairs = newPairs(FIRST_CAPACITY);
  /** To sort into. */
  #spare: Pairs = newPairs(FIRST_CAPACITY);
  #size = 0;

  /** @param capacity how many pairs to keep, at most */
  constructor(lanes: number, buckets: number, budget: Budget, capacity = MAX_CAPACITY) {
    this.#budget = budget;
    this.#buckets = buckets;
    this.#capacity = capacity;
    budget.reserve(4 * lanes * buckets + BYTES_PER_PAIR * FIRST_CAPACITY);
    this.#lastRunOfSlot = new Uint32Array(lanes * buckets);
    this.#unique = new Unique(lanes, buckets, budget);
  }

  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean {
    let { users: toUsers, others: toSlots } = this.#pairs;
    let size = this.#size;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || (parts > 1 && user % parts !== part)) continue;
      if (size === toUsers.length) {
        this.#size = size;
        if (!this.#makeRoom()) return false;
        ({ users: toUsers, others: toSlots } = this.#pairs);
        size = this.#size;
      }
      toSlots[size] = slot;
      toUsers[size++] = user;
    }
    this.#size = size;
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

  endPart(): void {
    this.#compact();
    const { users, others: slots } = this.#pairs;
    const { bySlot, byLane, byBucket } = this.#unique;
    const lastRunOfLane = new Uint32Array(byLane.length);
    const lastRunOfBucket = new Uint32Array(byBucket.length);
    let run = 0;
    for (let i = 0, last = -1; i < this.#size; i++) {
      const user = users[i] as number;
      if (user !== last) run++;
      last = user;
      const slot = slots[i] as number;
      const bucket = slot % this.#buckets;
      const lane = (slot - bucket) / this.#buckets;
      (bySlot[slot] as number)++;
      if (lastRunOfLane[lane] !== run) (byLane[lane] as number)++;
      lastRunOfLane[lane] = run;
      if (lastRunOfBucket[bucket] !== run) (byBucket[bucket] as number)++;
      lastRunOfBucket[bucket] = run;
    }
    this.#unique.all += run;
    this.#size = 0;
  }

  clear(): void {
    this.#size = 0;
    this.#unique.clear();
  }

  get unique(): UniqueUsers {
    return this.#unique;
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
