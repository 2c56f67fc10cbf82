import type { ColumnStore } from '../storage/columns/column-store.ts';
import { startsOf } from './calendar.ts';
import { arrange, type BucketQuery, type Budget, bucketOf, rangeOf, TooLarge } from './selection.ts';

/** The largest table of marks: 256 MB. */
const MAX_MARKS = 2 ** 31;

/** How often something happened, and to how many users: exact. */
export interface Counts {
  readonly count: number;
  readonly unique_users: number;
}

/** Events of a type over time. */
export interface CountsResult extends Counts {
  readonly type: string;
  /** The range, RFC 3339; null where no row could give it. */
  readonly from: string | null;
  readonly to: string | null;
  readonly tz: string;
  readonly buckets: readonly (Counts & { start: string })[];
  /** By label, the most frequent first. */
  readonly groups?: readonly (Counts & { data_index: string; buckets: readonly (Counts & { start: string })[] })[];
  /** All labels beside those in `groups`, together. */
  readonly other?: Counts & { labels: number; buckets: readonly (Counts & { start: string })[] };
}

/** Engine for an event type over time. Users are counted by a mark for each bucket, group and user. */
export function counts(store: ColumnStore, question: BucketQuery, budget: Budget): CountsResult {
  const selection = arrange(store, 'analytics', question, budget);
  const { from, to, user, edges, buckets, groups, label } = selection;
  const lanes = groups.labels.length + 1;

  const tally = new Tally(lanes * buckets, store.userLimit);
  for (const { times, users, labels } of selection.chunks()) {
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      const who = users[i] as number;
      if (time < from || time >= to || (user >= 0 && who !== user)) continue;
      if (label >= 0 && labels[i] !== label) continue;
      bucket = bucketOf(edges, time, bucket);
      tally.add((groups.groupOf[labels[i] as number] as number) * buckets + bucket, who);
    }
  }

  const starts = startsOf(edges, question.zone);
  const bucketsOf = (group: number) =>
    starts.map((start, bucket) => ({ start, ...tally.of(group * buckets + bucket) }));
  const answer = {
    type: question.name,
    ...rangeOf(selection, question, question.zone),
    ...tally.together(0, 1, lanes * buckets),
  };
  if (question.top === undefined) return { ...answer, buckets: bucketsOf(0) };
  return {
    ...answer,
    buckets: starts.map((start, bucket) => ({ start, ...tally.together(bucket, buckets, lanes) })),
    groups: groups.labels.map((number, group) => ({
      data_index: store.labelText(number),
      ...tally.together(group * buckets, 1, buckets),
      buckets: bucketsOf(group),
    })),
    other: {
      labels: groups.others,
      ...tally.together(groups.labels.length * buckets, 1, buckets),
      buckets: bucketsOf(groups.labels.length),
    },
  };
}

/** Counts events and, by one bit for each slot and user, users. */
class Tally {
  readonly #counts: Float64Array;
  readonly #unique: Uint32Array;
  readonly #marks: Uint32Array;
  readonly #wordsOfSlot: number;

  constructor(slots: number, userLimit: number) {
    if (slots * userLimit > MAX_MARKS) throw new TooLarge('too many buckets, groups and users');
    this.#wordsOfSlot = (userLimit >>> 5) + 1;
    this.#counts = new Float64Array(slots);
    this.#unique = new Uint32Array(slots);
    this.#marks = new Uint32Array(slots * this.#wordsOfSlot);
  }

  add(slot: number, user: number): void {
    (this.#counts[slot] as number)++;
    const word = slot * this.#wordsOfSlot + (user >>> 5);
    const bit = 1 << (user & 31);
    const marks = this.#marks[word] as number;
    if ((marks & bit) !== 0) return;
    this.#marks[word] = marks | bit;
    (this.#unique[slot] as number)++;
  }

  of(slot: number): Counts {
    return { count: this.#counts[slot] as number, unique_users: this.#unique[slot] as number };
  }

  /** Several slots as one: so many, from one on, each so far from the one before. */
  together(first: number, step: number, slots: number): Counts {
    if (slots === 1) return this.of(first);
    const words = this.#wordsOfSlot;
    const marks = new Uint32Array(words);
    let count = 0;
    for (let i = 0, slot = first; i < slots; i++, slot += step) {
      count += this.#counts[slot] as number;
      for (let word = 0; word < words; word++)
        marks[word] = (marks[word] as number) | (this.#marks[slot * words + word] as number);
    }
    return { count, unique_users: marks.reduce((sum, word) => sum + bitsOf(word), 0) };
  }
}

/** How many bits of a 32-bit word are set: bits are added up in pairs, then in fours, then in bytes. */
function bitsOf(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
