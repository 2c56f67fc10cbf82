import type { Retention as RetentionResult } from '../responses.ts';
import type { Series } from '../storage/columns/column-store.ts';
import type { Budget } from './budget.ts';
import { startsOf, type WeekStart } from './calendar.ts';
import { type EventStep, labelOfStep, seriesOfSteps } from './event-step.ts';
import { growInto, NumberIndex } from './number-index.ts';
import type { RowStore } from './row-store.ts';
import {
  bucketOf,
  edgesOf,
  type Range,
  type RowQuery,
  rangeOf,
  type SelectedChunk,
  type Selection,
  select,
  seriesNamed,
  userOf,
} from './selection.ts';

/** A query for cohort retention. */
export interface RetentionQuery extends RowQuery {
  /** The event type of both steps as sent; undefined: each step names its type. */
  readonly type: string | undefined;
  /** The event that adds a user to a cohort. */
  readonly step: EventStep;
  /** The events that count as a return; undefined: any event of the type, or without one, any event. */
  readonly returnStep: EventStep | undefined;
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
export function retention(store: RowStore, query: RetentionQuery, budget: Budget): RetentionResult {
  const { step, returnStep, zone, period, periods, weekStart } = query;
  const firstSeries = seriesOfSteps(store, [step]);
  const returnSeries = seriesOfReturns(store, query);
  const seriesList = [...new Set([...firstSeries, ...returnSeries])];
  const whole = select(store, seriesList, query, budget);
  const { from, to } = whole;
  const edges = edgesOf(whole, { interval: { count: 1, unit: period, weekStart }, zone });
  const firstLabel = labelOfStep(store, step);
  const returnLabel = returnStep ? labelOfStep(store, returnStep) : -1;
  /** Selects the rows of some of the series. */
  const part = (series: readonly Series[]) =>
    series.length === seriesList.length ? whole : select(store, series, { ...query, from, to }, budget);

  // rows are only nearly in time order, so cohorts are known only after the first scan
  const firsts = part(firstSeries);
  const cohorts = new CohortUsers(store.userLimit, budget);
  for (const chunk of firsts.chunks()) cohorts.addFirsts(chunk, firsts, firstLabel);
  const { cohortOf, returnPeriods } = cohorts.close(edges);
  const returns = part(returnSeries);
  for (const chunk of returns.chunks()) cohorts.addReturns(chunk, returns, returnLabel, edges, periods);

  const starts = startsOf(edges, zone);
  const sizes = new Uint32Array(starts.length);
  const returned = new Uint32Array(starts.length * periods);
  cohortOf.forEach((cohort, index) => {
    (sizes[cohort] as number)++;
    const bits = returnPeriods[index] as number;
    for (let n = 1; n <= periods; n++) (returned[cohort * periods + n - 1] as number) += (bits >>> n) & 1;
  });
  return retentionOf(query, whole, starts, { sizes, returned });
}

/** The users of all cohorts: when each had the first event, and in which periods after that the user returned. */
class CohortUsers {
  readonly #budget: Budget;
  readonly #users: NumberIndex;
  #firstTimes = new Float64Array(64);
  #cohortOf = new Int32Array();
  /** Bit n: returned n periods after the first. */
  #returnPeriods = new Uint32Array();

  constructor(userLimit: number, budget: Budget) {
    this.#budget = budget;
    this.#users = new NumberIndex(userLimit, budget);
  }

  /** Adds the users of the selected events of a chunk. */
  addFirsts(
    { times, users, labels, dataMask }: SelectedChunk,
    { from, to, user, labelMask }: Selection,
    wanted: number,
  ): void {
    for (let i = 0; i < times.length; i++) {
      if (!isSelected(labels[i] as number, wanted, labelMask) || dataMask?.[i] === 0) continue;
      const time = times[i] as number;
      const userOfRow = users[i] as number;
      if (time < from || time >= to || (user >= 0 && userOfRow !== user)) continue;
      const knownUsers = this.#users.size;
      const index = this.#users.add(userOfRow);
      if (index === this.#firstTimes.length) {
        this.#budget.reserve(BYTES_PER_USER * index);
        this.#firstTimes = growInto(this.#firstTimes, new Float64Array(2 * index));
      }
      const firstTimes = this.#firstTimes;
      firstTimes[index] = index === knownUsers ? time : Math.min(time, firstTimes[index] as number);
    }
  }

  /** Ends the first scan. Returns the cohort of each user, and an array for {@link CohortUsers.addReturns}. */
  close(edges: Float64Array): { readonly cohortOf: Int32Array; readonly returnPeriods: Uint32Array } {
    const firstTimes = this.#firstTimes.subarray(0, this.#users.size);
    this.#cohortOf = Int32Array.from(firstTimes, (time) => bucketOf(edges, time, 0));
    this.#returnPeriods = new Uint32Array(firstTimes.length);
    return { cohortOf: this.#cohortOf, returnPeriods: this.#returnPeriods };
  }

  /** Adds the periods in which the users of the selected events of a chunk have returned. */
  addReturns(
    { times, users, labels, dataMask }: SelectedChunk,
    { from, to, labelMask }: Selection,
    wanted: number,
    edges: Float64Array,
    periods: number,
  ): void {
    const cohortOf = this.#cohortOf;
    const returnPeriods = this.#returnPeriods;
    let bucket = 0;
    for (let i = 0; i < times.length; i++) {
      if (!isSelected(labels[i] as number, wanted, labelMask) || dataMask?.[i] === 0) continue;
      const index = this.#users.find(users[i] as number);
      const time = times[i] as number;
      if (index < 0 || time < from || time >= to) continue;
      bucket = bucketOf(edges, time, bucket);
      const periodsLater = bucket - (cohortOf[index] as number);
      if (periodsLater < 1 || periodsLater > periods) continue;
      returnPeriods[index] = (returnPeriods[index] as number) | (1 << periodsLater);
    }
  }
}

/** The users of each cohort, and of them the users who returned: `periods` numbers per cohort. */
export interface Cohorts {
  readonly sizes: Uint32Array;
  readonly returned: Uint32Array;
}

/** Returns cohorts as they stand in the result. */
export function retentionOf(
  query: RetentionQuery,
  range: Range,
  starts: readonly string[],
  { sizes, returned }: Cohorts,
): RetentionResult {
  const { type, step, returnStep, zone, period, periods } = query;
  return {
    type: type ?? null,
    step: step.step,
    return_step: returnStep?.step ?? null,
    ...rangeOf(range, query, zone),
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

/** Returns the series whose events can count as a return. For a single user, only those in which the user may have rows. */
function seriesOfReturns(store: RowStore, query: RetentionQuery): Series[] {
  const { type, returnStep } = query;
  if (returnStep) return seriesOfSteps(store, [returnStep]);
  if (type !== undefined) return seriesNamed(store, 'analytics', type);
  const user = userOf(store, query);
  if (user === undefined) return [];
  return user < 0 ? store.seriesOf('analytics') : store.seriesWith('analytics', user);
}

/** Returns whether a row's label is the wanted one (-1: any), and passes the label filter. */
function isSelected(label: number, wanted: number, labelMask: Uint8Array | undefined): boolean {
  return (wanted < 0 || label === wanted) && (labelMask === undefined || labelMask[label] === 1);
}
