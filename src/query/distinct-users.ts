import type { Budget } from './budget.ts';

/** Maximum number of pairs: 168 MB. */
const MAX_PAIRS = 20 * 2 ** 20;
/** Number of partitions of the users, and the bits of a user number that select one. */
const PARTITIONS = 64;
const PARTITION_BITS = 6;
/** Number of pairs of a partition at which duplicates are dropped for the first time. */
const FIRST_PARTITION_LIMIT = (2 * MAX_PAIRS) / PARTITIONS;
/** Pairs per block of a partition: 32 KB. */
const BLOCK_PAIRS = 4096;
/** Bytes per pair: a slot and a user. */
const BYTES_PER_PAIR = 8;
/** Maximum bits per digit of the radix sort, so that the digit counters fit in the L2 cache. */
const MAX_DIGIT_BITS = 16;

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
 * @param counters number of counters of the query, which share its memory
 */
export function createUserCounter(
  groupCount: number,
  buckets: number,
  userLimit: number,
  budget: Budget,
  counters = 1,
): UserCounter {
  return groupCount * buckets * userLimit <= MAX_BITMAP_BITS
    ? new UserBitmap(groupCount, buckets, userLimit, budget)
    : new UserPairs(groupCount, buckets, budget, MAX_PAIRS / counters);
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
  /** The users of each group, of one bucket, and of all. */
  readonly #ofGroups: Uint32Array;
  readonly #ofBucket: Uint32Array;
  readonly #ofAll: Uint32Array;
  readonly #unique: Unique;

  constructor(groupCount: number, buckets: number, userLimit: number, budget: Budget) {
    this.#groupCount = groupCount;
    this.#buckets = buckets;
    const words = (userLimit >>> 5) + 1;
    this.#wordsOfSlot = words;
    budget.reserve(4 * words * (groupCount * buckets + groupCount + 2));
    this.#marks = new Uint32Array(groupCount * buckets * words);
    this.#ofGroups = new Uint32Array(groupCount * words);
    this.#ofBucket = new Uint32Array(words);
    this.#ofAll = new Uint32Array(words);
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
    const marks = this.#marks;
    const words = this.#wordsOfSlot;
    const buckets = this.#buckets;
    const ofGroups = this.#ofGroups.fill(0);
    const ofBucket = this.#ofBucket;
    const ofAll = this.#ofAll.fill(0);
    // bucket by bucket, in the order in which the words of a slot are in memory
    for (let bucket = 0; bucket < buckets; bucket++) {
      ofBucket.fill(0);
      for (let group = 0; group < this.#groupCount; group++) {
        const slot = group * buckets + bucket;
        (bySlot[slot] as number) += addWords(marks, slot * words, words, ofBucket, ofGroups, group * words);
      }
      (byBucket[bucket] as number) += addWords(ofBucket, 0, words, ofAll, ofAll, 0);
    }
    for (let group = 0; group < this.#groupCount; group++) {
      (byGroup[group] as number) += addWords(ofGroups, group * words, words, ofAll, ofAll, 0);
    }
    this.#unique.all += addWords(ofAll, 0, words, ofBucket, ofBucket, 0);
    this.#marks.fill(0);
  }

  clear(): void {
    this.#marks.fill(0);
    this.#unique.clear();
  }

  get unique(): UniqueUsers {
    return this.#unique;
  }
}

/**
 * Adds the users in some words of a bitmap to two others, and returns their number.
 *
 * @param start the first word, of `words`
 * @param secondStart the first word in the second bitmap; the first one starts at its beginning
 */
function addWords(
  marks: Uint32Array,
  start: number,
  words: number,
  first: Uint32Array,
  second: Uint32Array,
  secondStart: number,
): number {
  let users = 0;
  for (let word = 0; word < words; word++) {
    const bits = marks[start + word] as number;
    if (bits === 0) continue;
    users += popCount(bits);
    first[word] = (first[word] as number) | bits;
    second[secondStart + word] = (second[secondStart + word] as number) | bits;
  }
  return users;
}

/** Counts the set bits of a 32-bit word, by adding them up in pairs, then in nibbles, then in bytes. */
function popCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((nibbles + (nibbles >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Pairs of the users whose number has the same low bits. */
interface Partition {
  /** All but the last one are full. */
  readonly blocks: Pairs[];
  /** Number of pairs. */
  size: number;
  /** Number of pairs at which duplicates are dropped. */
  limit: number;
}

/**
 * A counter that stores pairs of slot and user, and drops duplicates when its memory is full. Its memory is
 * proportional to the number of distinct pairs, not to the number of users or slots. If even these do not fit, users can
 * be added in parts, since the unique users of disjoint parts add up.
 *
 * The pairs are partitioned by user as they are added, so that each partition can be sorted in the processor's cache.
 */
export class UserPairs implements UserCounter {
  readonly #budget: Budget;
  readonly #buckets: number;
  readonly #capacity: number;
  readonly #partitions: readonly Partition[] = Array.from({ length: PARTITIONS }, () => ({
    blocks: [],
    size: 0,
    limit: FIRST_PARTITION_LIMIT,
  }));
  readonly #freeBlocks: Pairs[] = [];
  #size = 0;
  readonly #unique: Unique;
  /** By slot, group and bucket: the last run of pairs with the same user that contained it. */
  readonly #lastRuns: { readonly slot: Uint32Array; readonly group: Uint32Array; readonly bucket: Uint32Array };
  #run = 0;
  /** Buffers for sorting a partition. */
  #sorted: Pairs = newPairs(0);
  #spare: Pairs = newPairs(0);

  /** @param capacity maximum number of pairs */
  constructor(groupCount: number, buckets: number, budget: Budget, capacity = MAX_PAIRS) {
    this.#budget = budget;
    this.#buckets = buckets;
    this.#capacity = capacity;
    budget.reserve(4 * (groupCount + 1) * (buckets + 1));
    this.#lastRuns = {
      slot: new Uint32Array(groupCount * buckets),
      group: new Uint32Array(groupCount),
      bucket: new Uint32Array(buckets),
    };
    this.#unique = new Unique(groupCount, buckets, budget);
  }

  add(slots: Int32Array, users: Uint32Array, part: number, parts: number): boolean {
    const partitions = this.#partitions;
    for (let i = 0; i < slots.length; i++) {
      const slot = slots[i] as number;
      const user = users[i] as number;
      if (slot < 0 || (parts > 1 && user % parts !== part)) continue;
      if (this.#size === this.#capacity && !this.#makeRoom()) return false;
      const partition = partitions[user & (PARTITIONS - 1)] as Partition;
      const place = partition.size++ % BLOCK_PAIRS;
      if (place === 0) partition.blocks.push(this.#newBlock());
      const block = partition.blocks[partition.blocks.length - 1] as Pairs;
      block.users[place] = user >>> PARTITION_BITS;
      block.values[place] = slot;
      this.#size++;
      if (partition.size === partition.limit) {
        this.#dropDuplicates(partition);
        partition.limit = Math.max(FIRST_PARTITION_LIMIT, 2 * partition.size);
      }
    }
    return true;
  }

  #newBlock(): Pairs {
    const free = this.#freeBlocks.pop();
    if (free) return free;
    this.#budget.reserve(BYTES_PER_PAIR * BLOCK_PAIRS);
    return newPairs(BLOCK_PAIRS);
  }

  /** Drops duplicate pairs. Returns false if few are left out: later calls would sort too often. */
  #makeRoom(): boolean {
    for (const partition of this.#partitions) this.#dropDuplicates(partition);
    return this.#size <= 0.75 * this.#capacity;
  }

  #dropDuplicates(partition: Partition): void {
    const lastRun = this.#lastRuns.slot;
    const { users, values: slots } = this.#sort(partition);
    let kept = 0;
    for (let i = 0, last = -1; i < partition.size; i++) {
      const user = users[i] as number;
      const slot = slots[i] as number;
      if (user !== last) this.#run++;
      last = user;
      if (lastRun[slot] === this.#run) continue;
      lastRun[slot] = this.#run;
      users[kept] = user;
      slots[kept++] = slot;
    }
    this.#size -= partition.size - kept;
    partition.size = kept;
    for (let b = 0; b < partition.blocks.length; b++) {
      const block = partition.blocks[b] as Pairs;
      const end = Math.min(kept, (b + 1) * BLOCK_PAIRS);
      if (b * BLOCK_PAIRS >= end) continue;
      block.users.set(users.subarray(b * BLOCK_PAIRS, end));
      block.values.set(slots.subarray(b * BLOCK_PAIRS, end));
    }
    this.#freeBlocks.push(...partition.blocks.splice(Math.ceil(kept / BLOCK_PAIRS)));
  }

  /** Returns the pairs of a partition, sorted by user. */
  #sort({ blocks, size }: Partition): Pairs {
    if (size > this.#sorted.users.length) {
      const length = Math.ceil(1.25 * size);
      this.#budget.reserve(2 * BYTES_PER_PAIR * (length - this.#sorted.users.length));
      this.#sorted = newPairs(length);
      this.#spare = newPairs(length);
    }
    for (let b = 0; b < blocks.length; b++) {
      const { users, values } = blocks[b] as Pairs;
      const length = Math.min(BLOCK_PAIRS, size - b * BLOCK_PAIRS);
      this.#sorted.users.set(users.subarray(0, length), b * BLOCK_PAIRS);
      this.#sorted.values.set(values.subarray(0, length), b * BLOCK_PAIRS);
    }
    [this.#sorted, this.#spare] = sortByUser(this.#sorted, this.#spare, size, this.#budget);
    return this.#sorted;
  }

  endPart(): void {
    const { slot: lastRunOfSlot, group: lastRunOfGroup, bucket: lastRunOfBucket } = this.#lastRuns;
    const { bySlot, byGroup, byBucket } = this.#unique;
    for (const partition of this.#partitions) {
      if (partition.size === 0) continue;
      const { users, values: slots } = this.#sort(partition);
      for (let i = 0, last = -1; i < partition.size; i++) {
        const user = users[i] as number;
        if (user !== last) {
          this.#run++;
          this.#unique.all++;
        }
        last = user;
        const slot = slots[i] as number;
        if (lastRunOfSlot[slot] === this.#run) continue;
        lastRunOfSlot[slot] = this.#run;
        (bySlot[slot] as number)++;
        const bucket = slot % this.#buckets;
        const group = (slot - bucket) / this.#buckets;
        if (lastRunOfGroup[group] !== this.#run) (byGroup[group] as number)++;
        lastRunOfGroup[group] = this.#run;
        if (lastRunOfBucket[bucket] !== this.#run) (byBucket[bucket] as number)++;
        lastRunOfBucket[bucket] = this.#run;
      }
    }
    this.#drop();
  }

  #drop(): void {
    for (const partition of this.#partitions) {
      this.#freeBlocks.push(...partition.blocks.splice(0));
      partition.size = 0;
    }
    this.#size = 0;
  }

  clear(): void {
    this.#drop();
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
