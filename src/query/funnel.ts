import type { Funnel as FunnelResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { newPairs, type Pairs, sortByUser } from './distinct-users.ts';
import { nthSmallest } from './percentiles.ts';
import { type Query, rangeOf, type Selection, select, seriesNamed } from './selection.ts';

/** A query for conversion through a sequence of steps. */
export interface FunnelQuery extends Query {
  /** The `data_index` of each step, in order. */
  readonly steps: readonly string[];
  /** The conversion window: the longest time from the first step to the last, in seconds. */
  readonly within: number;
}

/**
 * Counts the users who reach each step of a funnel. An attempt starts with an event of the first step and continues
 * with the earliest later event of each next step, up to `within` after the start. Of a user's attempts, the longest
 * counts; among equally long ones, the first. Events in the same microsecond are in commit order.
 */
export function funnel(store: ColumnStore, query: FunnelQuery, budget: Budget): FunnelResult {
  const { steps, within } = query;
  const seriesList = seriesNamed(store, 'analytics', query.name);
  const [series] = seriesList;
  const selection = select(store, seriesList, query, budget);
  // 0 if the series has no such label, because label numbers start at 1
  const path = steps.map((step) => (series && store.label(series, step)) ?? 0);
  const events = eventsOf(selection, path, budget);

  const reached = new Array<number>(steps.length).fill(0);
  const gaps: number[][] = steps.map(() => []);
  for (const userEvents of byUser(events, budget)) {
    const attempt = longestAttempt(userEvents, events, path, within * 1e6, budget);
    attempt.forEach((time, step) => {
      (reached[step] as number)++;
      if (step > 0) gaps[step]?.push((time - (attempt[step - 1] as number)) / 1e6);
    });
  }

  const first = reached[0] ?? 0;
  return {
    type: query.name,
    ...rangeOf(selection, query, 'UTC'),
    within_seconds: within,
    steps: steps.map((step, i) => {
      const users = reached[i] as number;
      const previous = i === 0 ? users : (reached[i - 1] as number);
      return {
        step,
        users,
        conversion: first === 0 ? null : users / first,
        conversion_from_previous: previous === 0 ? null : users / previous,
        median_seconds: median(gaps[i] as number[], budget),
      };
    }),
  };
}

/** The events of a funnel's steps, in commit order. */
interface Events {
  /** The users, each with the index of the event in the other arrays. */
  readonly pairs: Pairs;
  readonly times: Float64Array;
  readonly labels: Uint32Array;
}

/**
 * Working memory per event: user and index, twice for sorting; time and label; its position among the user's events of
 * that label; and the time since the previous step.
 */
const BYTES_PER_EVENT = 2 * 8 + 8 + 4 + 8 + 8;

/** Reads the events with the labels of the steps. Counts them first, so that no array has to grow. */
function eventsOf(selection: Selection, path: readonly number[], budget: Budget): Events {
  let count = 0;
  forEachEvent(selection, path, () => {
    count++;
  });
  budget.reserve(BYTES_PER_EVENT * count);
  const events = { pairs: newPairs(count), times: new Float64Array(count), labels: new Uint32Array(count) };
  let index = 0;
  forEachEvent(selection, path, (user, time, label) => {
    events.pairs.users[index] = user;
    events.pairs.values[index] = index;
    events.times[index] = time;
    events.labels[index++] = label;
  });
  return events;
}

function forEachEvent(
  { from, to, user, labelMask, chunks }: Selection,
  path: readonly number[],
  visit: (user: number, time: number, label: number) => void,
): void {
  const wanted = new Set(labelMask ? path.filter((label) => labelMask[label] === 1) : path);
  // the low bits rule out most labels, faster than the set
  const mayBeWanted = new Uint8Array(1024);
  for (const label of path) mayBeWanted[label & 1023] = 1;
  for (const { times, users, labels, dataMask } of chunks()) {
    for (let i = 0; i < labels.length; i++) {
      const label = labels[i] as number;
      if (mayBeWanted[label & 1023] === 0 || !wanted.has(label) || dataMask?.[i] === 0) continue;
      const time = times[i] as number;
      const userOfRow = users[i] as number;
      if (time >= from && time < to && (user < 0 || userOfRow === user)) visit(userOfRow, time, label);
    }
  }
}

/** Yields the indices of each user's events, sorted by time. */
function* byUser({ pairs, times }: Events, budget: Budget): Generator<Uint32Array> {
  const size = times.length;
  const [{ users, values: indices }] = sortByUser(pairs, newPairs(size), size, budget);
  for (let start = 0, end = 0, usersDone = 0; start < size; start = end) {
    while (end < size && users[end] === users[start]) end++;
    if (usersDone++ % 1024 === 0) budget.check();
    const userEvents = indices.subarray(start, end);
    sortByTime(userEvents, times, budget);
    yield userEvents;
  }
}

/**
 * Sorts the indices of events by time. Stable, so events at the same time stay in commit order. A natural merge sort,
 * since events arrive nearly in time order.
 */
function sortByTime(indices: Uint32Array, times: Float64Array, budget: Budget): void {
  const endOfRun = (array: Uint32Array, start: number): number => {
    let end = start + 1;
    while (
      end < array.length &&
      (times[array[end - 1] as number] as number) <= (times[array[end] as number] as number)
    ) {
      end++;
    }
    return end;
  };
  if (endOfRun(indices, 0) >= indices.length) return;
  let from = indices;
  let to: Uint32Array = new Uint32Array(indices.length);
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
  if (from !== indices) indices.set(from);
}

/** Returns the times of the steps in a user's longest attempt. */
function longestAttempt(
  userEvents: Uint32Array,
  { times, labels }: Events,
  path: readonly number[],
  within: number,
  budget: Budget,
): number[] {
  // positions of each label among the user's events
  const byLabel = new Map<number, number[]>(path.map((label) => [label, []]));
  for (let i = 0; i < userEvents.length; i++) byLabel.get(labels[userEvents[i] as number] as number)?.push(i);
  const positionsOfStep = path.map((label) => byLabel.get(label) as number[]);
  const timeAt = (position: number) => times[userEvents[position] as number] as number;
  // where to resume the search for each step: attempts that start later cannot use earlier events
  const resumeAt = new Array<number>(path.length).fill(0);
  let best: number[] = [];
  let tried = 0;
  for (const start of positionsOfStep[0] ?? []) {
    if (++tried % 4096 === 0) budget.check();
    const attempt = [timeAt(start)];
    let last = start;
    for (let step = 1; step < path.length; step++) {
      const positions = positionsOfStep[step] as number[];
      let i = resumeAt[step] as number;
      while (i < positions.length && (positions[i] as number) <= last) i++;
      resumeAt[step] = i;
      if (i === positions.length || timeAt(positions[i] as number) - timeAt(start) > within) break;
      last = positions[i] as number;
      attempt.push(timeAt(last));
    }
    if (attempt.length > best.length) best = attempt;
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
  // no value before it is greater
  let low = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < middle; i++) low = Math.max(low, sorted[i] as number);
  return (low + high) / 2;
}
