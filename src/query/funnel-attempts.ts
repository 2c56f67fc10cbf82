import type { Funnel as FunnelResult } from '../responses.ts';
import type { Budget } from './budget.ts';
import type { EventStep } from './event-step.ts';
import { growInto } from './number-index.ts';
import { nthSmallest } from './percentiles.ts';

/** The working memory of an event in {@link Events}: its time, steps and `seq`. */
export function bytesPerEvent(stepCount: number, hasSeqs: boolean): number {
  return 8 + (stepCount <= 8 ? 1 : 4) + (hasSeqs ? 8 : 0);
}

/** The events of a part of the users, user by user. */
export class Events {
  readonly times: Float64Array;
  /** The steps that each event matches, as bits. */
  readonly steps: Uint8Array | Uint32Array;
  /** undefined: the events of each user are in commit order. */
  readonly seqs: Float64Array | undefined;
  /** Buffers for the indices of one user's events. */
  readonly order: Uint32Array;
  readonly spare: Uint32Array;

  /**
   * @param capacity number of events in the largest part
   * @param mostOfUser number of events of the most active user
   */
  constructor(capacity: number, mostOfUser: number, stepCount: number, hasSeqs: boolean, budget: Budget) {
    budget.reserve(bytesPerEvent(stepCount, hasSeqs) * capacity + 2 * 4 * mostOfUser);
    this.times = new Float64Array(capacity);
    this.steps = stepCount <= 8 ? new Uint8Array(capacity) : new Uint32Array(capacity);
    this.seqs = hasSeqs ? new Float64Array(capacity) : undefined;
    this.order = new Uint32Array(mostOfUser);
    this.spare = new Uint32Array(mostOfUser);
  }

  add(index: number, time: number, steps: number, seq: number): void {
    this.times[index] = time;
    this.steps[index] = steps;
    if (this.seqs) this.seqs[index] = seq;
  }
}

/** Counts the users who reach each step of a funnel, attempt by attempt. */
export class FunnelTally {
  readonly #withinUs: number;
  readonly #budget: Budget;
  /** The number of users who reached each step. */
  readonly #reached: number[];
  /** The times between each step and the previous one, in seconds. */
  readonly #gaps: readonly NumberList[];

  /** @param withinUs the longest time from the first step to the last, in microseconds */
  constructor(stepCount: number, withinUs: number, budget: Budget) {
    this.#withinUs = withinUs;
    this.#budget = budget;
    this.#reached = new Array<number>(stepCount).fill(0);
    this.#gaps = this.#reached.map(() => new NumberList(budget));
  }

  /**
   * Counts the longest attempt of a user.
   *
   * @param order the indices of the user's events; sorted by this function
   */
  addUser(order: Uint32Array, events: Events): void {
    sortByTime(order, events.spare.subarray(0, order.length), events, this.#budget);
    const attempt = longestAttempt(order, events, this.#reached.length, this.#withinUs, this.#budget);
    attempt.forEach((time, step) => {
      (this.#reached[step] as number)++;
      if (step > 0) this.#gaps[step]?.push((time - (attempt[step - 1] as number)) / 1e6);
    });
  }

  /** Counts users who reach only the first step. */
  addUsersOfFirstStep(users: number): void {
    (this.#reached[0] as number) += users;
  }

  /** Returns the steps as they stand in the result. Call it once. */
  result(steps: readonly EventStep[]): FunnelResult['steps'] {
    const first = this.#reached[0] ?? 0;
    return steps.map(({ step, type, dataIndex }, i) => {
      const users = this.#reached[i] as number;
      const previous = i === 0 ? users : (this.#reached[i - 1] as number);
      return {
        step,
        type,
        data_index: dataIndex ?? null,
        users,
        conversion: first === 0 ? null : users / first,
        conversion_from_previous: previous === 0 ? null : users / previous,
        median_seconds: median((this.#gaps[i] as NumberList).values(), this.#budget),
      };
    });
  }
}

/**
 * Sorts the indices of events by time, and events at the same time by commit order. A natural merge sort, since the
 * events of a series arrive nearly in time order.
 *
 * @param spare a buffer as long as the indices
 */
function sortByTime(indices: Uint32Array, spare: Uint32Array, { times, seqs }: Events, budget: Budget): void {
  /** Returns whether an event precedes another that follows it in the array. */
  const precedes = (first: number, second: number): boolean => {
    const time = times[first] as number;
    const later = times[second] as number;
    return time < later || (time === later && (!seqs || (seqs[first] as number) < (seqs[second] as number)));
  };
  const endOfRun = (array: Uint32Array, start: number): number => {
    let end = start + 1;
    while (end < array.length && precedes(array[end - 1] as number, array[end] as number)) end++;
    return end;
  };
  if (endOfRun(indices, 0) >= indices.length) return;
  let from = indices;
  let to = spare;
  for (let runs = 2; runs > 1; ) {
    budget.check();
    runs = 0;
    for (let start = 0, end = 0; start < from.length; start = end, runs++) {
      const middle = endOfRun(from, start);
      end = middle < from.length ? endOfRun(from, middle) : middle;
      for (let at = start, left = start, right = middle; at < end; at++) {
        const takesLeft = right === end || (left < middle && precedes(from[left] as number, from[right] as number));
        to[at] = from[takesLeft ? left++ : right++] as number;
      }
    }
    [from, to] = [to, from];
  }
  if (from !== indices) indices.set(from);
}

/**
 * Returns the times of the steps in a user's longest attempt.
 *
 * @param order the indices of the user's events, sorted by time
 */
function longestAttempt(
  order: Uint32Array,
  { times, steps }: Events,
  stepCount: number,
  within: number,
  budget: Budget,
): number[] {
  const timeAt = (position: number) => times[order[position] as number] as number;
  const matches = (position: number, step: number) =>
    ((steps[order[position] as number] as number) & (1 << step)) !== 0;
  // where to resume the search for each step: attempts that start later cannot use earlier events
  const resumeAt = new Array<number>(stepCount).fill(0);
  let best: number[] = [];
  let attempt: number[] = [];
  for (let start = 0; start < order.length && best.length < stepCount; start++) {
    if (start % 4096 === 4095) budget.check();
    if (!matches(start, 0)) continue;
    attempt.length = 0;
    attempt.push(timeAt(start));
    for (let step = 1, last = start; step < stepCount; step++) {
      let next = Math.max(resumeAt[step] as number, last + 1);
      while (next < order.length && !matches(next, step)) next++;
      resumeAt[step] = next;
      if (next === order.length || timeAt(next) - timeAt(start) > within) break;
      last = next;
      attempt.push(timeAt(last));
    }
    if (attempt.length > best.length) [best, attempt] = [attempt, best];
  }
  return best;
}

/** A list of numbers that grows within the budget. */
class NumberList {
  readonly #budget: Budget;
  #values = new Float64Array(16);
  #size = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  push(value: number): void {
    if (this.#size === this.#values.length) {
      this.#budget.reserve(8 * 2 * this.#size);
      this.#values = growInto(this.#values, new Float64Array(2 * this.#size));
      this.#budget.reserve(-8 * this.#size);
    }
    this.#values[this.#size++] = value;
  }

  /** Returns the numbers, without copying them. */
  values(): Float64Array {
    return this.#values.subarray(0, this.#size);
  }
}

/** Returns the median of values, and reorders them; null if there are none. */
function median(sorted: Float64Array, { check }: Budget): number | null {
  if (sorted.length === 0) return null;
  const middle = sorted.length >> 1;
  const high = nthSmallest(sorted, middle, check);
  if (sorted.length % 2 === 1) return high;
  // no value before it is greater
  let low = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < middle; i++) low = Math.max(low, sorted[i] as number);
  return (low + high) / 2;
}
