import type { Retention as RetentionResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf } from './calendar.ts';
import { grown, NumberIndex } from './number-index.ts';
import { bucketOf, edgesOf, type Query, rangeOf, select } from './selection.ts';

/** Who comes back after a step. */
export interface RetentionQuery extends Query {
  /** What `data_index` is of the event that makes a user one of a cohort. */
  readonly step: string;
  /** What it is of the events that count as coming back; undefined: anything. */
  readonly returnStep: string | undefined;
  /** The zone whose calendar days follow, by its IANA name. */
  readonly zone: string;
  /** How many days later to look for users, 1 to {@link MAX_DAYS}. */
  readonly days: number;
}

/** Days at most: a user's are the bits of one number. */
export const MAX_DAYS = 30;

/** Working memory per user of a cohort: the first time, as long again while it grows, the cohort and its days. */
const BYTES_PER_USER = 2 * 8 + 4 + 4;

/**
 * Returns who comes back. A user is in the cohort of the local day of the first event with `step` in the
 * range, and has come back n days later with an event on that day. Days are those of the local calendar,
 * also where they have 23 or 25 hours; a date that a change of the clocks leaves out is no day.
 */
export function retention(store: ColumnStore, query: RetentionQuery, budget: Budget): RetentionResult {
  const { step, returnStep, zone, days } = query;
  const selection = select(store, 'analytics', query, budget);
  const { from, to, user, series } = selection;
  const edges = edgesOf(selection, { interval: { count: 1, unit: 'day' }, zone });
  // 0, which no label has, where the series lacks it
  const labelOf = (text: string) => (series && store.label(series, text)) ?? 0;
  const begins = labelOf(step);
  const returns = returnStep === undefined ? -1 : labelOf(returnStep);

  // rows come only nearly in the order of time: who is in which cohort is known after all of them
  const people = new NumberIndex(store.userLimit, budget);
  let first = new Float64Array(64);
  for (const { times, users, labels } of selection.chunks()) {
    for (let i = 0; i < times.length; i++) {
      if (labels[i] !== begins) continue;
      const time = times[i] as number;
      const who = users[i] as number;
      if (time < from || time >= to || (user >= 0 && who !== user)) continue;
      const known = people.size;
      const index = people.add(who);
      if (index === first.length) {
        budget.reserve(BYTES_PER_USER * index);
        first = grown(first, new Float64Array(2 * index));
      }
      first[index] = index === known ? time : Math.min(time, first[index] as number);
    }
  }
  const cohortOf = Int32Array.from(first.subarray(0, people.size), (time) => bucketOf(edges, time, 0));

  // bit n: came back n days after the first
  const cameBack = new Uint32Array(people.size);
  for (const { times, users, labels } of selection.chunks()) {
    let day = 0;
    for (let i = 0; i < times.length; i++) {
      if (returns >= 0 && labels[i] !== returns) continue;
      const index = people.find(users[i] as number);
      const time = times[i] as number;
      if (index < 0 || time < from || time >= to) continue;
      day = bucketOf(edges, time, day);
      const later = day - (cohortOf[index] as number);
      if (later < 1 || later > days) continue;
      cameBack[index] = (cameBack[index] as number) | (1 << later);
    }
  }

  const starts = startsOf(edges, zone);
  const sizes = new Uint32Array(starts.length);
  const returned = new Uint32Array(starts.length * days);
  cohortOf.forEach((cohort, index) => {
    (sizes[cohort] as number)++;
    const bits = cameBack[index] as number;
    for (let later = 1; later <= days; later++) (returned[cohort * days + later - 1] as number) += (bits >>> later) & 1;
  });
  return {
    type: query.name,
    step,
    return_step: returnStep ?? null,
    ...rangeOf(selection, query, zone),
    days,
    cohorts: starts.map((start, cohort) => ({
      start,
      users: sizes[cohort] as number,
      returned: Array.from(returned.subarray(cohort * days, (cohort + 1) * days), (count, i) =>
        cohort + i + 1 < starts.length ? count : null,
      ),
    })),
  };
}
