import type { ColumnStore } from '../storage/columns.ts';
import { formatInZone } from './calendar.ts';
import {
  type BucketQuestion,
  type Budget,
  bucketOf,
  edgesOf,
  oneGroup,
  rangeOf,
  select,
  TooLarge,
  topLabels,
} from './question.ts';

/** The largest table of marks: 256 MB. */
const MAX_MARKS = 2 ** 31;

/** How often something happened, and to how many users: exact. */
export interface Counts {
  readonly count: number;
  readonly unique_users: number;
}

/** Events of a type over time. */
export interface CountsAnswer extends Counts {
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

/** Answers for an event type over time. Users are counted by a mark for each bucket, group and user. */
export function counts(store: ColumnStore, question: BucketQuestion, budget: Budget): CountsAnswer {
  const selection = select(store, 'analytics', question, budget);
  const { from, to, user } = selection;
  const edges = edgesOf(selection, question);
  const buckets = Math.max(0, edges.length - 1);
  const groups = question.top === undefined ? oneGroup(store) : topLabels(store, selection, question.top);
  const label =
    question.label === undefined ? -1 : ((selection.series && store.label(selection.series, question.label)) ?? 0);
  const lanes = groups.labels.length + 1;

  const inBuckets = new Tally(lanes * buckets, store.userLimit);
  const inGroups = new Tally(lanes, store.userLimit);
  const inBucketsOfAll = new Tally(question.top === undefined ? 0 : buckets, store.userLimit);
  const inAll = new Tally(1, store.userLimit);
  for (const { times, users, labels } of selection.chunks()) {
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const time = times[i] as number;
      const who = users[i] as number;
      if (time < from || time >= to || (user >= 0 && who !== user)) continue;
      if (label >= 0 && labels[i] !== label) continue;
      bucket = bucketOf(edges, time, bucket);
      const group = groups.groupOf[labels[i] as number] as number;
      inBuckets.add(group * buckets + bucket, who);
      inAll.add(0, who);
      if (question.top !== undefined) {
        inGroups.add(group, who);
        inBucketsOfAll.add(bucket, who);
      }
    }
  }

  const starts = Array.from(edges.subarray(0, buckets), (edge) => formatInZone(edge, question.zone));
  const bucketsOf = (group: number) =>
    starts.map((start, bucket) => ({ start, ...inBuckets.of(group * buckets + bucket) }));
  const answer = {
    type: question.name,
    ...rangeOf(selection, question, question.zone),
    ...inAll.of(0),
  };
  if (question.top === undefined) return { ...answer, buckets: bucketsOf(0) };
  return {
    ...answer,
    buckets: starts.map((start, bucket) => ({ start, ...inBucketsOfAll.of(bucket) })),
    groups: groups.labels.map((number, group) => ({
      data_index: store.labelText(number),
      ...inGroups.of(group),
      buckets: bucketsOf(group),
    })),
    other: {
      labels: groups.others,
      ...inGroups.of(groups.labels.length),
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
}
