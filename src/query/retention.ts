import type { Retention as RetentionResult } from '../responses.ts';
import type { ColumnStore } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf, type WeekStart } from './calendar.ts';
import { growInto, NumberIndex } from './number-index.ts';
import { bucketOf, edgesOf, type Query, rangeOf, select, seriesNamed } from './selection.ts';

/** A query for cohort retention. */
export interface RetentionQuery extends Query {
  /** The `data_index` of the event that adds a user to a cohort. */
  readonly step: string;
  /** The `data_index` of events that count as a return; undefined: any event. */
  readonly returnStep: string | undefined;
  /** IANA name of the time zone whose calendar defines periods. */
  readonly zone: string;
  readonly period: Period;
  /** Number of periods after the first to report, from 1 to {@link MAX_PERIODS}. */
  readonly periods: number;
  /** First day of the week. Default: Monday. */
  readonly weekStart?: WeekStart | undefined;
}

/** The calendar unit of cohorts. */
export const PERIODS = ['day', 'week', 'month'] as const;
export type Period = (typeof PERIODS)[number];

/** Maximum number of periods, since the periods of a user are bits of one integer. */
export const MAX_PERIODS = 30;

/** Working memory per cohort user: time of the first event (two copies while the array grows), cohort, and periods. */
const BYTES_PER_USER = 2 * 8 + 4 + 4;

/**
 * Computes cohort retention. A user belongs to the cohort of the local day, week or month of their first event with `step`
 * in the range, and returns in period n with a matching event n periods later. Periods follow the local calendar,
 * including days of 23 or 25 hours; a date that clocks skip does not count as a day.
 */
export function retention(store: ColumnStore, query: RetentionQuery, budget: Budget): RetentionResult {
  const { step, returnStep, zone, period, periods, weekStart } = query;
  const seriesList = seriesNamed(store, 'analytics', query.name);
  const [series] = seriesList;
  const selection = select(store, seriesList, query, budget);
  const { from, to, user, labelMask } = selection;
  const edges = edgesOf(selection, { interval: { count: 1, unit: period, weekStart }, zone });
  // 0 if the series has no such label, because label numbers start at 1
  const labelOf = (text: string) => (series && store.label(series, text)) ?? 0;
  const firstLabel = labelOf(step);
  const returnLabel = returnStep === undefined ? -1 : labelOf(returnStep);

  // rows are only nearly in time order, so cohorts are known only after the first scan
  const cohortUsers = new NumberIndex(store.userLimit, budget);
  let firstTimes = new Float64Array(64);
  for (const { times, users, labels, dataMask } of selection.chunks()) {
    for (let i = 0; i < times.length; i++) {
      if (labels[i] !== firstLabel || (labelMask && labelMask[firstLabel] === 0) || dataMask?.[i] === 0) continue;
      const time = times[i] as number;
      const userOfRow = users[i] as number;
      if (time < from || time >= to || (user >= 0 && userOfRow !== user)) continue;
      const knownUsers = cohortUsers.size;
      const index = cohortUsers.add(userOfRow);
      if (index === firstTimes.length) {
        budget.reserve(BYTES_PER_USER * index);
        firstTimes = growInto(firstTimes, new Float64Array(2 * index));
      }
      firstTimes[index] = index === knownUsers ? time : Math.min(time, firstTimes[index] as number);
    }
  }
  const cohortOf = Int32Array.from(firstTimes.subarray(0, cohortUsers.size), (time) => bucketOf(edges, time, 0));

  // bit n: returned n periods after the first
  const returnPeriods = new Uint32Array(cohortUsers.size);
  for (const { times, users, labels, dataMask } of selection.chunks()) {
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      const label = labels[i] as number;
      if ((returnLabel >= 0 && label !== returnLabel) || (labelMask && labelMask[label] === 0) || dataMask?.[i] === 0)
        continue;
      const index = cohortUsers.find(users[i] as number);
      const time = times[i] as number;
      if (index < 0 || time < from || time >= to) continue;
      bucket = bucketOf(edges, time, bucket);
      const periodsLater = bucket - (cohortOf[index] as number);
      if (periodsLater < 1 || periodsLater > periods) continue;
      returnPeriods[index] = (returnPeriods[index] as number) | (1 << periodsLater);
    }
  }

  const starts = startsOf(edges, zone);
  const sizes = new Uint32Array(starts.length);
  const returned = new Uint32Array(starts.length * periods);
  cohortOf.forEach((cohort, index) => {
    (sizes[cohort] as number)++;
    const bits = returnPeriods[index] as number;
    for (let n = 1; n <= periods; n++) (returned[cohort * periods + n - 1] as number) += (bits >>> n) & 1;
  });
  return {
    type: query.name,
    step,
    return_step: returnStep ?? null,
    ...rangeOf(selection, query, zone),
    period,
    periods,
    ...(period === 'day' && { days: periods }),
    cohorts: starts.map((start, cohort) => ({
      start,
      users: sizes[cohort] as number,
      returned: Array.from(returned.subarray(cohort * periods, (cohort + 1) * periods), (count, i) =>
        cohort + i + 1 < starts.length ? count : null,
      ),
    })),
  };
}
