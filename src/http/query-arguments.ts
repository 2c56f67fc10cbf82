import type { WeekStart } from '../query/calendar.ts';
import type { FunnelQuery } from '../query/funnel.ts';
import type { RetentionQuery } from '../query/retention.ts';
import type { BucketQuery } from '../query/selection.ts';
import { parseStep } from './event-step.ts';
import type { Values } from './parameters.ts';
import {
  BUCKETS,
  COHORTS,
  EVENT_FILTERS,
  GROUP_BY_EVENT,
  groupBy,
  LABEL,
  labelFilter,
  NAME,
  RANGE,
  RETURN_STEP,
  STEP,
  STEPS,
  SUM,
  TYPE,
  TYPE_OF_STEPS,
  USER_ID,
  WITHIN,
} from './query-parameters.ts';

/*
 * The parameters of the queries that charts show, and the arguments of the query engine for them. The query routes and the
 * charts of boards share them.
 */

export const DEFAULT_TOP = 10;
const DEFAULT_WITHIN_SECONDS = 7 * 86_400;
const DEFAULT_PERIODS = 14;

export const SERIES = {
  name: NAME,
  ...RANGE,
  ...BUCKETS,
  group_by: groupBy('data_string'),
  ...LABEL.metric,
  user_id: USER_ID,
};
export const COUNTS = {
  type: TYPE,
  ...RANGE,
  ...BUCKETS,
  group_by: GROUP_BY_EVENT,
  sum: SUM,
  ...EVENT_FILTERS,
  user_id: USER_ID,
};
export const FUNNEL = {
  type: TYPE_OF_STEPS,
  step: STEPS,
  ...RANGE,
  within: WITHIN,
  ...EVENT_FILTERS,
  user_id: USER_ID,
};
export const RETENTION = {
  type: TYPE_OF_STEPS,
  step: STEP,
  return_step: RETURN_STEP,
  ...RANGE,
  tz: BUCKETS.tz,
  week_start: BUCKETS.week_start,
  ...COHORTS,
  ...EVENT_FILTERS,
  user_id: USER_ID,
};

/** Returns the interval of a query, with the first day of its weeks. */
export function intervalOf({
  interval,
  week_start: weekStart,
}: {
  readonly interval: BucketQuery['interval'];
  readonly week_start: WeekStart | undefined;
}): BucketQuery['interval'] {
  return interval && { ...interval, weekStart };
}

/**
 * Returns the argument of a query for a series.
 *
 * @param user the user whose rows it reads; undefined: all users
 */
export function seriesArgument(query: Values<typeof SERIES>, user: string | undefined): BucketQuery {
  const { name, from, to, tz: zone = 'UTC', top = DEFAULT_TOP, group_by } = query;
  return {
    ...{ name, from, to, interval: intervalOf(query), labels: labelFilter(query), zone, user },
    ...{ properties: undefined, sum: undefined, groupBy: undefined },
    top: group_by === undefined ? undefined : top,
  };
}

/** Returns the argument of a query for counts, as {@link seriesArgument} does. */
export function countsArgument(query: Values<typeof COUNTS>, user: string | undefined): BucketQuery {
  const { type: name, from, to, tz: zone = 'UTC', top = DEFAULT_TOP, group_by, sum } = query;
  return {
    ...{ name, from, to, interval: intervalOf(query), labels: labelFilter(query), zone, user, sum },
    properties: query['data.PATH'],
    top: group_by === undefined ? undefined : top,
    groupBy: typeof group_by === 'object' ? group_by : undefined,
  };
}

/** Returns the argument of a query for a funnel, as {@link seriesArgument} does. */
export function funnelArgument(query: Values<typeof FUNNEL>, user: string | undefined): FunnelQuery {
  const { type, step, within = DEFAULT_WITHIN_SECONDS, from, to } = query;
  const steps = step.map((each) => parseStep(each, type));
  return { from, to, type, steps, within, labels: labelFilter(query), properties: query['data.PATH'], user };
}

/** Returns the argument of a query for cohort retention, as {@link seriesArgument} does. */
export function retentionArgument(query: Values<typeof RETENTION>, user: string | undefined): RetentionQuery {
  const { from, to, type, tz: zone = 'UTC', period = 'day', days } = query;
  const step = parseStep(query.step, type);
  const returnStep = query.return_step === undefined ? undefined : parseStep(query.return_step, type);
  const periods = query.periods ?? days ?? DEFAULT_PERIODS;
  return {
    ...{ from, to, type, step, returnStep, zone, period, periods, labels: labelFilter(query), user },
    properties: query['data.PATH'],
    weekStart: query.week_start,
  };
}
