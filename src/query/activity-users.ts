import type { Kind } from '../records.ts';
import type { Budget } from './budget.ts';
import { createUserCounter, type UserCounter } from './distinct-users.ts';
import { bucketOf, type Range, type SeriesExtent } from './selection.ts';
import { TopList } from './top-list.ts';

/** Exact numbers of unique users: in the range, and per bucket. */
export interface UserCounts {
  readonly all: number;
  readonly counts: Uint32Array;
}

/** The unique users of a kind: of all names, of each listed name, and of the other names together. */
export interface KindUsers {
  readonly all: UserCounts;
  readonly named: readonly UserCounts[];
  readonly other: UserCounts;
}

/** The unique users of both kinds, and of both together. */
export interface UsersByKind extends Readonly<Record<Kind, KindUsers>> {
  readonly all: UserCounts;
}

const KINDS = ['metric', 'analytics'] as const;

/** The filter and limits of an activity query. */
export interface ActivityScope {
  /** The number of the user whose rows are counted; -1: all users. */
  readonly user: number;
  readonly range: Pick<Range, 'from' | 'to'>;
  readonly edges: Float64Array;
  readonly budget: Budget;
}

/** The series with rows in the range: the first ones, sorted, and the others. */
export interface Ranking {
  readonly top: readonly SeriesExtent[];
  readonly others: readonly SeriesExtent[];
}

/** Rankings of both kinds by unique users, and the unique users of the same names. */
export interface RankedUsers {
  readonly ranked: Readonly<Record<Kind, Ranking>>;
  readonly users: UsersByKind;
}

/**
 * Sorts series by unique users instead of rows, and counts the users. A single user with many rows or many names
 * therefore ranks below everything that several users do. Series with equally many users stay sorted by rows.
 *
 * @param byRows the series sorted by rows
 * @param userLimit one more than the largest user number
 */
export function countByUsers(
  byRows: Readonly<Record<Kind, Ranking>>,
  top: number,
  scope: ActivityScope,
  userLimit: number,
): RankedUsers {
  if (KINDS.some((kind) => byRows[kind].others.length > 0)) {
    const ranked = rankByUsers(byRows, top, scope, userLimit);
    return { ranked, users: countUsers(ranked, scope, userLimit) };
  }
  // all names are listed, so one scan counts the users of each
  const users = countUsers(byRows, scope, userLimit);
  const sorted = {
    metric: sortByUsers(byRows.metric, users.metric),
    analytics: sortByUsers(byRows.analytics, users.analytics),
  };
  return {
    ranked: { metric: sorted.metric.ranking, analytics: sorted.analytics.ranking },
    users: { ...users, metric: sorted.metric.users, analytics: sorted.analytics.users },
  };
}

function sortByUsers({ top, others }: Ranking, users: KindUsers) {
  const order = [...users.named.entries()].sort(([, a], [, b]) => b.all - a.all); // stable
  return {
    ranking: { top: order.map(([i]) => top[i] as SeriesExtent), others },
    users: { ...users, named: order.map(([, counts]) => counts) },
  };
}

/** Finds the series with the most unique users. Among equals, those with the most rows come first, then code units decide. */
function rankByUsers(
  byRows: Readonly<Record<Kind, Ranking>>,
  top: number,
  scope: ActivityScope,
  userLimit: number,
): Record<Kind, Ranking> {
  const { range, budget } = scope;
  const inRange = { ...scope, edges: Float64Array.of(range.from, range.to) }; // one bucket
  const buffer = new SlotBuffer(budget);
  budget.reserve(4 * userLimit);
  /** By user: the last series, counted from 1, that the user was seen in. */
  const lastSeries = new Uint32Array(userLimit);
  let current = 0;
  const countSeries = (entry: SeriesExtent) => {
    current++;
    let [rows, users] = [0, 0];
    for (const { slots, users: usersOfRows } of slotsOf(entry, inRange, buffer)) {
      for (let row = 0; row < slots.length; row++) {
        if ((slots[row] as number) < 0) continue;
        rows++;
        const user = usersOfRows[row] as number;
        if (lastSeries[user] !== current) users++;
        lastSeries[user] = current;
      }
    }
    return { entry, rows, users };
  };
  const rankKind = (ranking: Ranking): Ranking => {
    const best = new TopList<ReturnType<typeof countSeries>>(
      top,
      (a, b) => b.users - a.users || b.rows - a.rows || (a.entry.series.name < b.entry.series.name ? -1 : 1),
    );
    const entries = [...ranking.top, ...ranking.others];
    for (const entry of entries) {
      budget.check();
      best.add(countSeries(entry));
    }
    const named = best.sorted().map(({ entry }) => entry);
    const isNamed = new Set(named);
    return { top: named, others: entries.filter((entry) => !isNamed.has(entry)) };
  };
  const ranked = { metric: rankKind(byRows.metric), analytics: rankKind(byRows.analytics) };
  budget.reserve(-4 * userLimit);
  return ranked;
}

/**
 * Counts the unique users of ranked series, per bucket and in the range, in one scan.
 *
 * @param userLimit one more than the largest user number
 */
function countUsers(ranked: Readonly<Record<Kind, Ranking>>, scope: ActivityScope, userLimit: number): UsersByKind {
  const { budget, edges } = scope;
  const buckets = Math.max(0, edges.length - 1);
  const newCounts = (): { all: number; counts: Uint32Array } => ({ all: 0, counts: new Uint32Array(buckets) });
  const result = {
    metric: { all: newCounts(), named: ranked.metric.top.map(newCounts), other: newCounts() },
    analytics: { all: newCounts(), named: ranked.analytics.top.map(newCounts), other: newCounts() },
    all: newCounts(),
  };
  if (buckets === 0) return result;
  const ofKinds = createUserCounter(KINDS.length, buckets, userLimit, budget, 2);
  const ofNames = createUserCounter(1, buckets, userLimit, budget, 2);
  const [slotsOfNames, slotsOfKinds] = [new SlotBuffer(budget), new SlotBuffer(budget)];

  /** Scans one part of the users. Returns whether the counters had room. */
  const scan = (part: number, parts: number): boolean => {
    const addEntry = (entry: SeriesExtent, group: number): boolean => {
      for (const { slots, users } of slotsOf(entry, scope, slotsOfNames)) {
        if (!ofNames.add(slots, users, part, parts)) return false;
        const shifted = group === 0 ? slots : shift(slots, group * buckets, slotsOfKinds.ofLength(slots.length));
        if (!ofKinds.add(shifted, users, part, parts)) return false;
      }
      return true;
    };
    for (const [group, kind] of KINDS.entries()) {
      const { top, others } = ranked[kind];
      for (const [i, entry] of top.entries()) {
        if (!addEntry(entry, group)) return false;
        takeCounts(ofNames, result[kind].named[i] as ReturnType<typeof newCounts>);
      }
      for (const [i, entry] of others.entries()) {
        if (i % 1024 === 0) budget.check();
        if (!addEntry(entry, group)) return false;
      }
      takeCounts(ofNames, result[kind].other);
    }
    ofKinds.endPart();
    return true;
  };
  const reset = () => {
    ofKinds.clear();
    ofNames.clear();
    for (const kind of KINDS) {
      for (const users of [...result[kind].named, result[kind].other]) {
        users.all = 0;
        users.counts.fill(0);
      }
    }
  };
  for (let parts = 1; ; parts *= 2) {
    let part = 0;
    while (part < parts && scan(part, parts)) part++;
    if (part === parts) break;
    reset();
  }
  const { unique } = ofKinds;
  for (const [group, kind] of KINDS.entries()) {
    result[kind].all.all = unique.byGroup[group] as number;
    result[kind].all.counts.set(unique.bySlot.subarray(group * buckets, (group + 1) * buckets));
  }
  return { ...result, all: { all: unique.all, counts: unique.byBucket } };
}

/** Adds the unique users of a part to the counts of a name, and clears the counter for the next name. */
function takeCounts(counter: UserCounter, users: { all: number; readonly counts: Uint32Array }): void {
  counter.endPart();
  const { all, bySlot } = counter.unique;
  users.all += all;
  for (let bucket = 0; bucket < bySlot.length; bucket++) (users.counts[bucket] as number) += bySlot[bucket] as number;
  counter.clear();
}

/** A buffer that is as long as the longest chunk so far. */
class SlotBuffer {
  readonly #budget: Budget;
  #slots = new Int32Array(0);

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  ofLength(length: number): Int32Array {
    if (length > this.#slots.length) {
      this.#budget.reserve(4 * (length - this.#slots.length));
      this.#slots = new Int32Array(length);
    }
    return this.#slots.subarray(0, length);
  }
}

/** Adds a number to the slots of selected rows. */
function shift(slots: Int32Array, by: number, shifted: Int32Array): Int32Array {
  for (let row = 0; row < slots.length; row++) {
    const slot = slots[row] as number;
    shifted[row] = slot < 0 ? slot : slot + by;
  }
  return shifted;
}

/**
 * Yields the bucket of each row of a series, or -1 for rows that are not selected, with the users of the rows. The
 * buckets are in the buffer, until the next chunk.
 */
function* slotsOf(
  { series, extent, source }: SeriesExtent,
  { user, range, edges, budget }: ActivityScope,
  buffer: SlotBuffer,
): Generator<{ readonly slots: Int32Array; readonly users: Uint32Array }> {
  const from = Math.max(range.from, extent.minTime);
  const to = Math.min(range.to, extent.maxTime + 1);
  if (to <= from) return;
  for (const outline of source.outlines(series, from, to)) {
    budget.check();
    const { times, users } = outline.read();
    const slots = buffer.ofLength(times.length);
    setBuckets(slots, times, users, user, from, to, edges);
    yield { slots, users };
  }
}

/** Sets the bucket of each row, or -1. A function, because loops in generators are compiled late. */
function setBuckets(
  slots: Int32Array,
  times: Float64Array,
  users: Uint32Array,
  user: number,
  from: number,
  to: number,
  edges: Float64Array,
): void {
  let bucket = 0;
  for (let row = 0; row < times.length; row++) {
    const time = times[row] as number;
    if (time < from || time >= to || (user >= 0 && users[row] !== user)) slots[row] = -1;
    else {
      bucket = bucketOf(edges, time, bucket);
      slots[row] = bucket;
    }
  }
}
