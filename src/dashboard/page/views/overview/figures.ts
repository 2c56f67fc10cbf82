import type { Statistic } from '../../address.ts';
import type { Responses } from '../../api.ts';
import { alignEarlierBuckets } from '../../chart/buckets.ts';
import type { IntervalName } from '../../time.ts';
import { eventUnitOf, headlineOf, type Unit, type UnitSetting, unitOf, unitOfStatistic } from '../../units.ts';

export type Activity = Responses['/api/activity'];
export type Series = Responses['/api/metrics/series'];

const HOUR = 3_600_000;

/**
 * Returns the interval of the overview's chart: coarser than elsewhere, because it shows trends rather than times.
 *
 * @param interval that of the range
 * @param milliseconds the length of the range
 */
export function overviewInterval(interval: IntervalName, milliseconds: number): IntervalName {
  const hours = milliseconds / HOUR;
  if (hours <= 3 || hours > 184 * 24) return interval;
  return hours <= 12 ? '15m' : hours < 72 ? '1h' : '1d';
}

/** What is counted of events: unique users, or the events themselves if all are of one user. */
export type Basis = 'users' | 'events';

/** Counts of rows, with unique users if the query asked for them. */
type Counted = Pick<Activity['analytics'], 'count' | 'counts' | 'unique_users' | 'user_counts'>;

/** Returns the figure that stands for some counted rows. */
export function figureOf(counted: Counted, basis: Basis): number {
  return basis === 'users' ? (counted.unique_users ?? 0) : counted.count;
}

/** Returns {@link figureOf} each bucket. */
export function valuesOf(counted: Counted, basis: Basis): readonly number[] {
  return basis === 'users' ? (counted.user_counts ?? []) : counted.counts;
}

/** A line of a ranking: an event type or a metric with the figure that matters, now and before. */
export interface Ranked {
  readonly kind: 'event' | 'metric';
  readonly name: string;
  readonly unit: Unit;
  /** The statistic of a metric that is shown; of events, `count`. */
  readonly statistic: Statistic;
  /** Undefined: not loaded yet. */
  readonly now: number | null | undefined;
  /** The figure of the period before; undefined: not known. */
  readonly before: number | null | undefined;
  /** The figure per bucket. */
  readonly values: readonly (number | null)[];
  /** Number of rows that the figures are computed from, of both periods. */
  readonly rows: number;
}

/** Returns the event types of a range, the first ones first, with their figures of an earlier one. */
export function rankEvents({ analytics }: Activity, earlier: Activity | undefined, basis: Basis): Ranked[] {
  const before = new Map(earlier?.analytics.types.map((entry) => [entry.type, entry]));
  // a type that is not listed had no events, unless the list is incomplete
  const missing = earlier?.analytics.other.types === 0 ? 0 : undefined;
  return analytics.types.map((entry) => {
    const earlierEntry = before.get(entry.type);
    return {
      kind: 'event',
      name: entry.type,
      unit: eventUnitOf(entry.type),
      statistic: 'count',
      now: figureOf(entry, basis),
      before: earlierEntry ? figureOf(earlierEntry, basis) : missing,
      values: valuesOf(entry, basis),
      rows: entry.count + (earlierEntry?.count ?? 0),
    };
  });
}

/** Returns the event types that occur only in the earlier range. */
export function vanishedEvents({ analytics }: Activity, earlier: Activity | undefined, basis: Basis): Ranked[] {
  if (!earlier || analytics.other.types > 0) return [];
  const present = new Set(analytics.types.map(({ type }) => type));
  return earlier.analytics.types
    .filter(({ type }) => !present.has(type))
    .map((entry) => ({
      kind: 'event',
      name: entry.type,
      unit: eventUnitOf(entry.type),
      statistic: 'count',
      now: 0,
      before: figureOf(entry, basis),
      values: [],
      rows: entry.count,
    }));
}

/** A metric that the overview shows, with the statistic that says most about it. */
export interface ShownMetric {
  readonly name: string;
  readonly unit: Unit;
  readonly statistic: Statistic;
}

/**
 * Returns the metrics to show. Amounts of money come first, then durations, then the others, each in the given order,
 * because amounts and durations are what people ask for.
 *
 * @param names in order of importance
 */
export function chooseMetrics(
  names: readonly string[],
  settings: readonly UnitSetting[],
  count: number,
): readonly ShownMetric[] {
  const all = names.map((name): ShownMetric => {
    const unit = unitOf(name, settings);
    const statistic = headlineOf(unit);
    return { name, unit: unitOfStatistic(unit, statistic), statistic };
  });
  const importance = ({ unit }: ShownMetric) => (unit.isAmount ? 0 : unit.kind === 'duration' ? 1 : 2);
  return [...all.entries()]
    .sort(([i, a], [j, b]) => importance(a) - importance(b) || i - j)
    .slice(0, count)
    .map(([, metric]) => metric);
}

/** Returns a metric with its figures. */
export function rankMetric(metric: ShownMetric, now: Series | undefined, earlier: Series | undefined): Ranked {
  const { statistic } = metric;
  return {
    ...metric,
    kind: 'metric',
    now: now?.[statistic],
    before: earlier?.[statistic],
    values: now?.buckets.map((bucket) => bucket[statistic]) ?? [],
    rows: (now?.count ?? 0) + (earlier?.count ?? 0),
  };
}

/** Minimum relative change that is worth a mention. */
const MIN_CHANGE = 0.05;
/** Minimum number of values of a metric in both periods together; figures of fewer say little. */
const MIN_VALUES = 40;
/**
 * Relative change of a metric that is likely chance, times the square root of its number of values: two standard
 * deviations, for sums of values that vary as much as their mean, and for medians of values that vary half as much.
 */
const CHANCE = { sum: 5.7, other: 2.5 };
/** Weighs against small counts, which change a lot by chance. */
const SMALL_COUNT = 5;

/**
 * Returns the entries whose figures changed most, the largest change first. Leaves out changes that are likely chance:
 * of counts, those within two standard deviations; of metrics, those that are small for their number of values.
 */
export function biggestChanges(entries: readonly Ranked[], count: number): Ranked[] {
  const scored = entries.flatMap((entry) => {
    const score = scoreOf(entry);
    return score > 0 ? [{ entry, score }] : [];
  });
  return scored
    .sort((a, b) => b.score - a.score)
    .slice(0, count)
    .map(({ entry }) => entry);
}

/** Returns the size of a change; 0 if it is not worth a mention. */
function scoreOf({ kind, now, before, rows, statistic }: Ranked): number {
  if (now === undefined || now === null || before === undefined || before === null) return 0;
  const difference = Math.abs(now - before);
  const change = difference / Math.max(Math.abs(now), Math.abs(before));
  if (!(change >= MIN_CHANGE)) return 0;
  if (kind === 'event') {
    if (difference ** 2 < 4 * (now + before)) return 0; // two standard deviations of Poisson counts
    return Math.abs(Math.log((now + SMALL_COUNT) / (before + SMALL_COUNT)));
  }
  const chance = (statistic === 'sum' ? CHANCE.sum : CHANCE.other) / Math.sqrt(rows);
  if (rows < MIN_VALUES || change < chance || before === 0) return 0;
  return now * before > 0 ? Math.abs(Math.log(now / before)) : change;
}

/** Returns the values of an earlier range, each at the bucket that it corresponds to, and the starts of their buckets. */
export function alignEarlierValues(
  now: Buckets,
  earlier: Buckets,
  values: readonly (number | null)[],
): { values: (number | null)[]; startsOf: (string | undefined)[] } {
  const bucketed = ({ from, to, starts }: Buckets) => ({
    from,
    to,
    buckets: starts.map((start, i) => ({ start, value: values[i] ?? null })),
  });
  const aligned = alignEarlierBuckets(bucketed(now), bucketed(earlier));
  return {
    values: aligned.map((bucket) => bucket?.value ?? null),
    startsOf: aligned.map((bucket) => bucket?.start),
  };
}

type Buckets = Pick<Activity, 'from' | 'to' | 'starts'>;
