import type { Funnel as FunnelResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { newPairs, type Pairs, sortByUser } from './distinct-users.ts';
import { nthSmallest } from './percentiles.ts';
import { type Query, rangeOf, type Selection, select } from './selection.ts';

/** Who gets through an order of steps. */
export interface FunnelQuery extends Query {
  /** What `data_index` is at each step, in order. */
  readonly steps: readonly string[];
  /** How long after the first step the last may come, in seconds. */
  readonly within: number;
}

/**
 * Returns how many users get through an order of steps. A user's way begins at an event of the first step;
 * each further step is the earliest later event of that step, not after the way's beginning by more than
 * `within`. Of a user's ways the one counts that gets furthest, and of equals the first. Of events at the same
 * microsecond the one that was stored first is the earlier.
 */
export function funnel(store: ColumnStore, query: FunnelQuery, budget: Budget): FunnelResult {
  const { steps, within } = query;
  const selection = select(store, 'analytics', query, budget);
  const { series } = selection;
  // 0, which no label has, where the series lacks it
  const path = steps.map((step) => (series && store.label(series, step)) ?? 0);
  const events = eventsOf(selection, path, budget);

  const reached = new Array<number>(steps.length).fill(0);
  const gaps: number[][] = steps.map(() => []);
  for (const own of byUser(events, budget)) {
    const way = furthestWay(own, events, path, within * 1e6, budget);
    way.forEach((time, step) => {
      (reached[step] as number)++;
      if (step > 0) gaps[step]?.push((time - (way[step - 1] as number)) / 1e6);
    });
  }

  const first = reached[0] ?? 0;
  return {
    type: query.name,
    ...rangeOf(selection, query, 'UTC'),
    within_seconds: within,
    steps: steps.map((step, i) => {
      const users = reached[i] as number;
      const before = i === 0 ? users : (reached[i - 1] as number);
      return {
        step,
        users,
        conversion: first === 0 ? null : users / first,
        conversion_from_previous: before === 0 ? null : users / before,
        median_seconds: median(gaps[i] as number[], budget),
      };
    }),
  };
}

/** Events of a funnel's steps, in the order of their commits. */
interface Events {
  /** The users, each with the place of the event in the other arrays. */
  readonly pairs: Pairs;
  readonly times: Float64Array;
  readonly labels: Uint32Array;
}

/**
 * Working memory per event: user and place, as much again to sort by, time and label; then the places of a
 * label among the events of one user, and the time between two steps.
 */
const BYTES_PER_EVENT = 2 * 8 + 8 + 4 + 8 + 8;

/** Reads the events whose label is on a path: first how many there are, so that no array has to grow. */
function eventsOf(selection: Selection, path: readonly number[], budget: Budget): Events {
  let count = 0;
  forEachEvent(selection, path, () => {
    count++;
  });
  budget.reserve(BYTES_PER_EVENT * count);
  const events = { pairs: newPairs(count), times: new Float64Array(count), labels: new Uint32Array(count) };
  let place = 0;
  forEachEvent(selection, path, (user, time, label) => {
    events.pairs.users[place] = user;
    events.pairs.others[place] = place;
    events.times[place] = time;
    events.labels[place++] = label;
  });
  return events;
}

function forEachEvent(
  { from, to, user, chunks }: Selection,
  path: readonly number[],
  visit: (user: number, time: number, label: number) => void,
): void {
  const wanted = new Set(path);
  // the last bits tell most labels apart, and faster than the set
  const mayBeWanted = new Uint8Array(1024);
  for (const label of path) mayBeWanted[label & 1023] = 1;
  for (const { times, users, labels } of chunks()) {
    for (let i = 0; i < labels.length; i++) {
      const label = labels[i] as number;
      if (mayBeWanted[label & 1023] === 0 || !wanted.has(label)) continue;
      const time = times[i] as number;
      const who = users[i] as number;
      if (time >= from && time < to && (user < 0 || who === user)) visit(who, time, label);
    }
  }
}

/** The places of events, user by user, in the order of time. */
function* byUser({ pairs, times }: Events, budget: Budget): Generator<Uint32Array> {
  const size = times.length;
  const [{ users, others }] = sortByUser(pairs, newPairs(size), size, budget);
  for (let start = 0, end = 0, ended = 0; start < size; start = end) {
    while (end < size && users[end] === users[start]) end++;
    if (ended++ % 1024 === 0) budget.check();
    const own = others.subarray(start, end);
    sortByTime(own, times, budget);
    yield own;
  }
}

/**
 * Sorts the places of events by time, stable: what was stored first stays first. Merges runs that are in order
 * already, since events come nearly in the order of time.
 */
function sortByTime(places: Uint32Array, times: Float64Array, budget: Budget): void {
  const endOfRun = (of: Uint32Array, start: number): number => {
    let end = start + 1;
    while (end < of.length && (times[of[end - 1] as number] as number) <= (times[of[end] as number] as number)) end++;
    return end;
  };
  if (endOfRun(places, 0) >= places.length) return;
  let from = places;
  let to: Uint32Array = new Uint32Array(places.length);
  for (let runs = 2; runs > 1; ) {
    budget.check();
    runs = 0;
    for (let start = 0, end = 0; start < from.length; start = end, runs++) {
      const middle = endOfRun(from, start);
      end = middle < from.length ? endOfRun(from, middle) : middle;
      for (let at = start, left = start, right = middle; at < end; at++) {
        const takesLeft =
          right === end ||
          (left < middle && (times[from[left] as number] as number) <= (times[from[right] as number] as number));
        to[at] = from[takesLeft ? left++ : right++] as number;
      }
    }
    [from, to] = [to, from];
  }
  if (from !== places) places.set(from);
}

/** The times of the steps on the way of one user that gets furthest. */
function furthestWay(
  own: Uint32Array,
  { times, labels }: Events,
  path: readonly number[],
  within: number,
  budget: Budget,
): number[] {
  // where each label is among the user's events
  const byLabel = new Map<number, number[]>(path.map((label) => [label, []]));
  for (let i = 0; i < own.length; i++) byLabel.get(labels[own[i] as number] as number)?.push(i);
  const places = path.map((label) => byLabel.get(label) as number[]);
  const timeAt = (place: number) => times[own[place] as number] as number;
  // behind which place of each step to look: ways that begin later cannot use earlier ones
  const ahead = new Array<number>(path.length).fill(0);
  let best: number[] = [];
  let tried = 0;
  for (const start of places[0] ?? []) {
    if (++tried % 4096 === 0) budget.check();
    const way = [timeAt(start)];
    let last = start;
    for (let step = 1; step < path.length; step++) {
      const at = places[step] as number[];
      let i = ahead[step] as number;
      while (i < at.length && (at[i] as number) <= last) i++;
      ahead[step] = i;
      if (i === at.length || timeAt(at[i] as number) - timeAt(start) > within) break;
      last = at[i] as number;
      way.push(timeAt(last));
    }
    if (way.length > best.length) best = way;
    if (best.length === path.length) break;
  }
  return best;
}

function median(values: readonly number[], { check }: Budget): number | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values);
  const middle = sorted.length >> 1;
  const high = nthSmallest(sorted, middle, check);
  if (sorted.length % 2 === 1) return high;
  // none before it is greater
  let low = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < middle; i++) low = Math.max(low, sorted[i] as number);
  return (low + high) / 2;
}
