import { useContext, useEffect, useState } from 'preact/hooks';
import type { Address } from '../../address.ts';
import { addDays, nextDay, type Range, useZone } from '../../calendar.ts';
import { useCatalog } from '../../catalog.ts';
import { useNavigation } from '../../navigation.ts';
import { namedRange, type ShownRange, useShownRange } from '../../shown-range.ts';
import { MINUTE } from '../../time.ts';
import { UnitsContext } from '../../units.ts';
import { QuerySessionContext, type QueryState, useQuery } from '../../use-query.ts';
import { chooseMetrics, overviewInterval, type Ranked, rankMetric, type Series, type ShownMetric } from './figures.ts';

/** Number of names of each kind that are queried. Changes are found among them. */
const TOP = 50;
/** The same where the result would be too large, because names are long. */
const FEW = 8;
/** How long ago an active user did something, at most. */
export const LIVE_MINUTES = 5;

/** How often the active users of 7 and 30 days are queried, in milliseconds. */
const LONG_RANGE_REFRESH_MS = 5 * MINUTE;

/** Returns the range that the overview shows, with its interval. */
export function useOverviewRange(): ShownRange {
  const { address } = useNavigation();
  const shown = useShownRange();
  const { from, to, interval } = shown;
  if (address.interval !== 'auto') return shown;
  return { ...shown, interval: overviewInterval(interval, to.getTime() - from.getTime()) };
}

/** Returns what identifies the period before: not its moments, which move with the clock. */
function comparisonOf({ range, from, to, compare }: Address) {
  return [range, from, to, compare];
}

/**
 * Queries the figures of the overview.
 *
 * @param isOneUser whether the page shows the rows of one user; unique users are then not counted
 */
export function useActivity(isOneUser: boolean) {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { extent } = useCatalog();
  const zone = useZone();
  const { from, to, interval, previous } = useOverviewRange();
  const { user, zone: tz, weekStart: week_start } = address;
  const subject = JSON.stringify([user, isOneUser]);
  const buckets = { interval, tz, week_start };
  const [top, setTop] = useState(TOP);
  const common = { top, user_id: user, unique_users: isOneUser ? undefined : 'true' };
  const today = { from: new Date(nextDay(zone, addDays(zone, now.getTime(), -1))), to: now };
  // long ranges change little in a few minutes, and take long to count in a large log
  const soon = new Date(Math.ceil(now.getTime() / LONG_RANGE_REFRESH_MS) * LONG_RANGE_REFRESH_MS);
  const days = (name: '7d' | '30d'): Range | undefined => {
    if (address.range === name) return undefined; // already queried
    return { ...namedRange({ ...address, range: name, from: undefined, to: undefined }, now, extent, zone), to: soon };
  };
  // rows of the future are not compared, and without earlier rows there is nothing to compare with
  const hasEarlier = address.range !== 'all' && extent.from !== undefined && extent.from < previous.to;
  const unlessOneUser = (range: Range | undefined) => (isOneUser || !range ? undefined : { ...range, ...common });

  const current = useQuery('/api/activity', { from, to, ...buckets, ...common }, subject);
  const isTooLarge = current.error?.status === 422 && top > FEW;
  useEffect(() => {
    if (isTooLarge) setTop(FEW);
  }, [isTooLarge]);
  const week = useQuery('/api/activity', unlessOneUser(days('7d')), subject, true);
  const month = useQuery('/api/activity', unlessOneUser(days('30d')), subject, true);
  return {
    current: isTooLarge ? { ...current, error: undefined } : current,
    earlier: useQuery(
      '/api/activity',
      hasEarlier ? { ...previous, ...buckets, ...common } : undefined,
      JSON.stringify([subject, comparisonOf(address)]),
    ),
    today: useQuery('/api/activity', unlessOneUser(today), subject),
    week: address.range === '7d' ? current : week,
    month: address.range === '30d' ? current : month,
    live: useQuery(
      '/api/activity',
      { from: new Date(now.getTime() - LIVE_MINUTES * MINUTE), to: now, ...common },
      subject,
    ),
    /** Whether there are rows to compare with. */
    hasEarlier,
    /** When recording began, if nothing was recorded in the earlier range. */
    beganAfter: address.range !== 'all' && extent.from && extent.from >= previous.to ? extent.from : undefined,
    /** When recording began, if that was within the earlier range. */
    beganWithin: hasEarlier && extent.from && extent.from > previous.from ? extent.from : undefined,
  };
}

/** Number of metrics shown. */
const METRICS = 6;

/** A metric with its series. */
export interface LoadedMetric {
  readonly metric: ShownMetric;
  readonly ranked: Ranked;
  readonly query: QueryState<Series>;
  readonly earlier: Series | undefined;
}

/**
 * Queries the series of the most important metrics.
 *
 * @param names the metrics in order of importance; undefined: not known yet
 */
export function useMetrics(names: readonly string[] | undefined, hasEarlier: boolean): readonly LoadedMetric[] {
  const settings = useContext(UnitsContext);
  const shown = chooseMetrics(names ?? [], settings, METRICS);
  // a fixed number of hooks
  const loaded = [
    useMetric(shown[0], hasEarlier),
    useMetric(shown[1], hasEarlier),
    useMetric(shown[2], hasEarlier),
    useMetric(shown[3], hasEarlier),
    useMetric(shown[4], hasEarlier),
    useMetric(shown[5], hasEarlier),
  ];
  return loaded.filter((metric) => metric !== undefined);
}

function useMetric(metric: ShownMetric | undefined, hasEarlier: boolean): LoadedMetric | undefined {
  const { address } = useNavigation();
  const { from, to, interval, previous } = useOverviewRange();
  const { user, zone: tz, weekStart: week_start } = address;
  const buckets = { interval, tz, week_start };
  const name = metric?.name;
  const subject = JSON.stringify([name, user]);
  const now = useQuery(
    '/api/metrics/series',
    name === undefined ? undefined : { name, from, to, ...buckets, user_id: user },
    subject,
  );
  const earlier = useQuery(
    '/api/metrics/series',
    name === undefined || !hasEarlier ? undefined : { name, ...previous, ...buckets, user_id: user },
    JSON.stringify([subject, comparisonOf(address)]),
  );
  if (!metric) return undefined;
  const before = hasEarlier ? earlier.value : undefined;
  return { metric, ranked: rankMetric(metric, now.value, before), query: now, earlier: before };
}
