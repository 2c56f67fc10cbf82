import type { Budget } from './budget.ts';

/** Initial capacity, in pairs. */
const FIRST_CAPACITY = 60_000;
/** Maximum capacity, in pairs: 123 MB. */
const MAX_CAPACITY = FIRST_CAPACITY * 2 ** 7;
/** Bytes per pair: a slot and a user, twice, since sorting needs a spare copy. */
const BYTES_PER_PAIR = 16;
/** Maximum bits per digit of the radix sort, so that the digit counters fit in the L1 cache. */
const MAX_DIGIT_BITS = 13;

/** Exact numbers of unique users: per slot, per group, per bucket and in total. */
export interface UniqueUsers {
  readonly bySlot: Uint32Array;
  readonly byGroup: Uint32Array;
  readonly byBucket: Uint32Array;
  readonly all: number;
}

/** A counter of unique users per slot, where slot = group × buckets + bucket. */
export interface UserCounter {
  /**
   * Adds the users of rows by the slot of each row. Ignores rows with a negative slot, and users outside the current part.
   *
   * @returns false if there is no room
   */
  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean;
  /** Counts the users of a part. */
  endPart(): void;
  /** Resets the counter, and keeps its memory. */
  clear(): void;
  /** The unique users of all finished parts. */
  readonly unique: UniqueUsers;
}

/** Largest bitmap of slots and users: 16 MB. */
const MAX_BITMAP_BITS = 2 ** 27;

/**
 * Creates a counter that suits the query: a bitmap of slots and users if it is small; otherwise a set of pairs, which is
 * about ten times slower per row.
 *
 * @param userLimit one more than the largest user number
 */
export function createUserCounter(groupCount: number, buckets: number, userLimit: number, budget: Budget): UserCounter {
  return groupCount * buckets * userLimit <= MAX_BITMAP_BITS
    ? new UserBitmap(groupCount, buckets, userLimit, budget)
    : new UserPairs(groupCount, buckets, budget);
}

/** The counts of a counter. */
class Unique implements UniqueUsers {
  readonly bySlot: Uint32Array;
  readonly byGroup: Uint32Array;
  readonly byBucket: Uint32Array;
  all = 0;

  constructor(groupCount: number, buckets: number, budget: Budget) {
    budget.reserve(4 * (groupCount + 1) * (buckets + 1));
    this.bySlot = new Uint32Array(groupCount * buckets);
    this.byGroup = new Uint32Array(groupCount);
    this.byBucket = new Uint32Array(buckets);
  }

  clear(): void {
    for (const counts of [this.bySlot, this.byGroup, this.byBucket]) counts.fill(0);
    this.all = 0;
  }
}

/** A counter with one bit per slot and user. Always has room. */
export class UserBitmap implements UserCounter {
  readonly #groupCount: number;
  readonly #buckets: number;
  readonly #marks: Uint32Array;
  readonly #wordsOfSlot: number;
  readonly #unique: Unique;

  constructor(groupCount: number, buckets: number, userLimit: number, budget: Budget) {
    this.#groupCount = groupCount;
    this.#buckets = buckets;
    this.#wordsOfSlot = (userLimit >>> 5) + 1;
    budget.reserve(4 * groupCount * buckets * this.#wordsOfSlot);
    this.#marks = new Uint32Array(groupCount * buckets * this.#wordsOfSlot);
    this.#unique = new Unique(groupCount, buckets, budget);
  }

  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean {
    const marks = this.#marks;
    const words = this.#wordsOfSlot;
    for (let i = 0; parts === 1 && i < slots.length; i++) {
      const slot = slots[i] as number;
      if (slot < 0) continue;
      const user = users[i] as number;
      const word = slot * words + (user >>> 5);
      marks[word] = (marks[word] as number) | (1 << (user & 31));
    }
    for (let i = 0; parts > 1 && i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || user % parts !== part) continue;
      const word = slot * words + (user >>> 5);
      marks[word] = (marks[word] as number) | (1 << (user & 31));
    }
    return true;
  }

  endPart(): void {
    const { bySlot, byGroup, byBucket } = this.#unique;
    const [groupCount, buckets] = [this.#groupCount, this.#buckets];
    for (let slot = 0; slot < bySlot.length; slot++) (bySlot[slot] as number) += this.#countUnion(slot, 1, 1);
    for (let group = 0; group < groupCount; group++)
      (byGroup[group] as number) += this.#countUnion(group * buckets, 1, buckets);
    for (let bucket = 0; bucket < buckets; bucket++) {
      (byBucket[bucket] as number) += this.#countUnion(bucket, buckets, groupCount);
    }
    this.#unique.all += this.#countUnion(0, 1, groupCount * buckets);
    this.#marks.fill(0);
  }

  /** Counts the unique users of `slots` slots, starting at `first`, `step` apart. */
  #countUnion(first: number, step: number, slots: number): number {
    const marks = this.#marks;
    const words = this.#wordsOfSlot;
    let users = 0;
    for (let word = 0; word < words; word++) {
      let bits = 0;
      for (let i = 0, at = first * words + word; i < slots; i++, at += step * words) bits |= marks[at] as number;
      users += popCount(bits);
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

/** Counts the set bits of a 32-bit word, by adding them up in pairs, then in nibbles, then in bytes. */
function popCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/**
 * A counter that stores pairs of slot and user, and drops duplicates whenever its memory is full. Its memory is
 * proportional to the number of distinct pairs, not to the number of users or slots. If even these do not fit, users can
 * be added in parts, since the unique users of disjoint parts add up.
 */
export class UserPairs implements UserCounter {
  readonly #budget: Budget;
  readonly #buckets: number;
  readonly #capacity: number;
  readonly #lastRunOfSlot: Uint32Array;
  readonly #unique: Unique;
  #pairs: Pairs = newPairs(FIRST_CAPACITY);
  /** Target of the next sort. */
  #spare: Pairs = newPairs(FIRST_CAPACITY);
  #size = 0;

  /** @param capacity maximum number of pairs */
  constructor(groupCount: number, buckets: number, budget: Budget, capacity = MAX_CAPACITY) {
    this.#budget = budget;
    this.#buckets = buckets;
    this.#capacity = capacity;
    budget.reserve(4 * groupCount * buckets + BYTES_PER_PAIR * FIRST_CAPACITY);
    this.#lastRunOfSlot = new Uint32Array(groupCount * buckets);
    this.#unique = new Unique(groupCount, buckets, budget);
  }

  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean {
    let { users: toUsers, values: toSlots } = this.#pairs;
    let size = this.#size;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || (parts > 1 && user % parts !== part)) continue;
      if (size === toUsers.length) {
        this.#size = size;
        if (!this.#makeRoom()) return false;
        ({ users: toUsers, values: toSlots } = this.#pairs);
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
    if (2 * capacity > this.#capacity) return this.#size <= 0.75 * capacity; // beyond that, it would sort too often
    this.#budget.reserve(BYTES_PER_PAIR * capacity);
    this.#spare = newPairs(2 * capacity);
    const { users, values } = this.#pairs;
    this.#pairs = newPairs(2 * capacity);
    this.#pairs.users.set(users);
    this.#pairs.values.set(values);
    return true;
  }

  /** Sorts the pairs by user and drops duplicates. */
  #compact(): void {
    [this.#pairs, this.#spare] = sortByUser(this.#pairs, this.#spare, this.#size, this.#budget);
    const { users, values: slots } = this.#pairs;
    const lastRun = this.#lastRunOfSlot.fill(0);
    let kept = 0;
    let run = 0; // number of the current run of pairs with the same user
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
    const { users, values: slots } = this.#pairs;
    const { bySlot, byGroup, byBucket } = this.#unique;
    const lastRunOfGroup = new Uint32Array(byGroup.length);
    const lastRunOfBucket = new Uint32Array(byBucket.length);
    let run = 0;
    for (let i = 0, last = -1; i < this.#size; i++) {
      const user = users[i] as number;
      if (user !== last) run++;
      last = user;
      const slot = slots[i] as number;
      const bucket = slot % this.#buckets;
      const group = (slot - bucket) / this.#buckets;
      (bySlot[slot] as number)++;
      if (lastRunOfGroup[group] !== run) (byGroup[group] as number)++;
      lastRunOfGroup[group] = run;
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

/** Users, each with an associated number, as parallel arrays. */
interface Pairs {
  readonly users: Uint32Array;
  readonly values: Uint32Array;
}

function newPairs(length: number): Pairs {
  return { users: new Uint32Array(length), values: new Uint32Array(length) };
}

/**
 * Sorts pairs by user with a stable radix sort, in one pass per digit of the largest user number.
 *
 * @param spare a buffer as long as the pairs
 * @returns the sorted pairs and the other buffer; each is one of the arguments
 */
function sortByUser(pairs: Pairs, spare: Pairs, size: number, budget: Budget): [sorted: Pairs, spare: Pairs] {
  let largest = 1;
  for (let i = 0; i < size; i++) if ((pairs.users[i] as number) > largest) largest = pairs.users[i] as number;
  const bits = 32 - Math.clz32(largest);
  const passes = Math.ceil(bits / MAX_DIGIT_BITS);
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
      to.values[place] = from.values[i] as number;
    }
    [from, to] = [to, from];
  }
  return [from, to];
}
