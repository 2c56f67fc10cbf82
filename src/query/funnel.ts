import type { ColumnStore } from '../storage/columns/column-store.ts';
import { type Budget, type Query, rangeOf, select } from './selection.ts';

/** Who gets through an order of steps. */
export interface FunnelQuery extends Query {
  /** What `data_index` is at each step, in order. */
  readonly steps: readonly string[];
  /** How long after the first step the last may come, in seconds. */
  readonly within: number;
}

/** Users at one step. */
export interface FunnelStep {
  readonly step: string;
  /** How many got there, through all steps before. */
  readonly users: number;
  /** The part of the first step's users; null where there are none. */
  readonly conversion: number | null;
  /** The part of the users at the step before; null where there are none. */
  readonly conversion_from_previous: number | null;
  /** The median time from the step before, in seconds; null at the first step, and where nobody got. */
  readonly median_seconds: number | null;
}

/** A funnel. */
export interface FunnelResult {
  readonly type: string;
  /** The range, RFC 3339, in UTC; null where no row could give it. */
  readonly from: string | null;
  readonly to: string | null;
  readonly tz: string;
  readonly within_seconds: number;
  readonly steps: readonly FunnelStep[];
}

/**
 * Engine for an order of steps. A user's way begins at an event of the first step; each further step is
 * the earliest later event of that step, not after the way's beginning by more than `within`. Of a user's
 * ways the one counts that gets furthest, and of equals the first. Of events at the same microsecond the
 * one that was stored first is the earlier.
 */
export function funnel(store: ColumnStore, question: FunnelQuery, budget: Budget): FunnelResult {
  const { steps, within } = question;
  const selection = select(store, 'analytics', question, budget);
  const { from, to, user, series } = selection;
  const stepsOf = new Map<number, number[]>();
  steps.forEach((text, step) => {
    const label = series && store.label(series, text);
    if (label !== undefined) stepsOf.set(label, [...(stepsOf.get(label) ?? []), step]);
  });
  const wanted = new Uint8Array(store.labelLimit);
  for (const label of stepsOf.keys()) wanted[label] = 1;

  const who: number[] = [];
  const when: number[] = [];
  const what: number[] = [];
  for (const { times, users, labels } of selection.chunks()) {
    for (let i = 0; i < times.length; i++) {
      if (wanted[labels[i] as number] === 0) continue;
      const time = times[i] as number;
      if (time < from || time >= to || (user >= 0 && users[i] !== user)) continue;
      who.push(users[i] as number);
      when.push(time);
      what.push(labels[i] as number);
    }
  }

  const reached = new Array<number>(steps.length).fill(0);
  const gaps: number[][] = steps.map(() => []);
  for (const events of byUser(who, store.userLimit)) {
    // stable: what was stored first stays first
    events.sort((a, b) => (when[a] as number) - (when[b] as number));
    const way = furthestWay(
      events,
      when,
      (event) => stepsOf.get(what[event] as number) ?? [],
      steps.length,
      within * 1e6,
    );
    way.forEach((time, step) => {
      (reached[step] as number)++;
      if (step > 0) gaps[step]?.push((time - (way[step - 1] as number)) / 1e6);
    });
  }

  const first = reached[0] ?? 0;
  return {
    type: question.name,
    ...rangeOf(selection, question, 'UTC'),
    within_seconds: within,
    steps: steps.map((step, i) => {
      const users = reached[i] as number;
      const before = i === 0 ? users : (reached[i - 1] as number);
      return {
        step,
        users,
        conversion: first === 0 ? null : users / first,
        conversion_from_previous: before === 0 ? null : users / before,
        median_seconds: median(gaps[i] as number[]),
      };
    }),
  };
}

/** The positions of events, user by user, in the order in which they were given. */
function* byUser(who: readonly number[], userLimit: number): Generator<number[]> {
  const starts = new Uint32Array(userLimit + 1);
  for (const user of who) (starts[user + 1] as number)++;
  for (let user = 0; user < userLimit; user++) (starts[user + 1] as number) += starts[user] as number;
  const events = new Uint32Array(who.length);
  const next = starts.slice();
  who.forEach((user, event) => {
    events[(next[user] as number)++] = event;
  });
  for (let user = 0; user < userLimit; user++) {
    const start = starts[user] as number;
    const end = starts[user + 1] as number;
    if (end > start) yield Array.from(events.subarray(start, end));
  }
}

/** The times of the steps on the way of one user that gets furthest. */
function furthestWay(
  events: readonly number[],
  when: readonly number[],
  stepsOf: (event: number) => readonly number[],
  steps: number,
  within: number,
): number[] {
  // the places of each step among the user's events
  const places: number[][] = Array.from({ length: steps }, () => []);
  events.forEach((event, place) => {
    for (const step of stepsOf(event)) places[step]?.push(place);
  });
  const timeAt = (place: number) => when[events[place] as number] as number;
  // behind which place of each step to look: ways that begin later cannot use earlier ones
  const ahead = new Array<number>(steps).fill(0);
  let best: number[] = [];
  for (const start of places[0] ?? []) {
    const way = [timeAt(start)];
    let last = start;
    for (let step = 1; step < steps; step++) {
      const at = places[step] as number[];
      let i = ahead[step] as number;
      while (i < at.length && (at[i] as number) <= last) i++;
      ahead[step] = i;
      if (i === at.length || timeAt(at[i] as number) - timeAt(start) > within) break;
      last = at[i] as number;
      way.push(timeAt(last));
    }
    if (way.length > best.length) best = way;
    if (best.length === steps) break;
  }
  return best;
}

function median(values: number[]): number | null {
  if (values.length === 0) return null;
  values.sort((a, b) => a - b);
  const middle = values.length >> 1;
  const high = values[middle] as number;
  return values.length % 2 === 1 ? high : (high + (values[middle - 1] as number)) / 2;
}
