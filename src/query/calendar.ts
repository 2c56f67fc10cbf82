import { offsetAt, timeOf, type Zone } from '../formats/time-zone.ts';
import { formatTimestamp, formatWithOffset, RFC3339_RANGE } from '../formats/timestamp.ts';
import { zoneNamed } from './zone-database.ts';

/** The length of a bucket: a number of calendar units. */
export interface Interval {
  readonly count: number;
  readonly unit: 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';
  /** First day of the week. Default: Monday. */
  readonly weekStart?: WeekStart | undefined;
}

export const WEEK_STARTS = ['monday', 'sunday'] as const;
export type WeekStart = (typeof WEEK_STARTS)[number];

const UNITS: ReadonlyMap<string, Interval['unit']> = new Map([
  ['m', 'minute'],
  ['min', 'minute'],
  ['minute', 'minute'],
  ['h', 'hour'],
  ['hour', 'hour'],
  ['d', 'day'],
  ['day', 'day'],
  ['w', 'week'],
  ['week', 'week'],
  ['M', 'month'],
  ['mo', 'month'],
  ['month', 'month'],
  ['y', 'year'],
  ['year', 'year'],
]);

/** Units per day. The `count` of an interval must divide this, so that buckets restart at each local midnight. */
const UNITS_PER_DAY: Partial<Record<Interval['unit'], number>> = { minute: 1440, hour: 24 };

const MINUTE_US = 60_000_000;
/** A local day in wall time. */
const DAY_US = 1440 * MINUTE_US;
const EPOCH = Temporal.PlainDate.from('1970-01-01');
/** The start of the first full week of 1970, by the first day of the week. */
const FIRST_WEEK = { monday: Temporal.PlainDate.from('1970-01-05'), sunday: Temporal.PlainDate.from('1970-01-04') };

/** Maximum number of buckets, more than any chart can show. */
export const MAX_BUCKETS = 10_000;

/**
 * Parses an interval: a unit with an optional number before it, such as `day`, `15m`, `1h` or `month`.
 *
 * @returns undefined if the text is not an interval, or its minutes or hours do not divide a day
 */
export function parseInterval(text: string): Interval | undefined {
  const [, digits = '1', name = '', plural] = /^(\d{1,4})?([a-zA-Z]+?)(s)?$/.exec(text) ?? [];
  const unit = plural && name.length < 3 ? undefined : UNITS.get(name);
  const count = Number(digits);
  if (!unit || count < 1 || (UNITS_PER_DAY[unit] ?? count) % count !== 0) return undefined;
  return { count, unit };
}

/** Returns the zone with a name that has already been validated. */
function zoneOf(name: string): Zone {
  const zone = zoneNamed(name);
  if (!zone) throw new Error('no such time zone');
  return zone;
}

/** Formats a time, in microseconds since 1970, as RFC 3339 in a time zone. */
export function formatInZone(microseconds: number, zone: string): string {
  if (zone === 'UTC') return formatTimestamp(microseconds);
  return formatWithOffset(microseconds, offsetAt(zoneOf(zone), microseconds));
}

/**
 * Splits a time range into buckets that follow the local calendar. Days, weeks, months and years start at
 * local midnight, regardless of daylight saving time. Minutes and hours are counted from midnight: buckets of up to an
 * hour by elapsed time, longer ones by wall time.
 *
 * @param from the start of the range, in microseconds since 1970
 * @param to the end of the range, exclusive
 * @param interval undefined: one bucket for the whole range
 * @returns the starts of the buckets, ascending, followed by the end of the last bucket; the first start may be before
 *   the range. Undefined if there would be more than {@link MAX_BUCKETS}
 */
export function bucketEdges(
  from: number,
  to: number,
  interval: Interval | undefined,
  zone: string,
): Float64Array | undefined {
  if (to <= from) return new Float64Array(0);
  if (!interval) return Float64Array.of(from, to);
  const edges: number[] = [];
  for (const start of edgesFrom(from, interval, zoneOf(zone))) {
    const edge = Math.max(start, RFC3339_RANGE.first); // a bucket of many years can start before
    // a day or hour skipped by a clock change is an empty bucket that starts with the next one: drop it
    if (edge <= (edges.at(-1) ?? Number.NEGATIVE_INFINITY)) continue;
    if (edge <= from) edges.length = 0;
    edges.push(edge);
    if (edge >= to) return Float64Array.from(edges);
    if (edges.length > MAX_BUCKETS) return undefined;
  }
  return undefined;
}

/**
 * Formats the starts of buckets as RFC 3339.
 *
 * @param edges as returned by {@link bucketEdges}
 */
export function startsOf(edges: Float64Array, zone: string): string[] {
  return Array.from(edges.subarray(0, -1), (edge) => formatInZone(edge, zone));
}

/** Yields ascending bucket starts, in microseconds since 1970. The first one is at or before a time. */
function* edgesFrom(time: number, interval: Interval, zone: Zone): Generator<number> {
  const { count, unit } = interval;
  const day = Math.floor((time + offsetAt(zone, time)) / DAY_US);
  if (unit === 'minute' || unit === 'hour') {
    const minutes = unit === 'hour' ? count * 60 : count;
    for (let i = day; ; i++) yield* withinDay(i, minutes, zone);
  }
  // count in dates, not times, so that a skipped date does not shift later ones
  const first = startOf(EPOCH.add({ days: day }), interval);
  for (let i = 0; ; i++) yield timeOf(zone, wallOf(first.add({ [`${unit}s`]: i * count })));
}

/** Yields the bucket starts within a local day, given in days since 1970. The day may be shorter or longer than 24 hours. */
function* withinDay(day: number, minutes: number, zone: Zone): Generator<number> {
  const start = timeOf(zone, day * DAY_US);
  const end = timeOf(zone, (day + 1) * DAY_US);
  if (minutes <= 60) {
    for (let at = start; at < end; at += minutes * MINUTE_US) yield at;
    return;
  }
  if (start === end) return; // the zone skips this day
  yield start;
  for (let minute = minutes; minute < 1440; minute += minutes) yield timeOf(zone, day * DAY_US + minute * MINUTE_US);
}

/** Returns the start of the bucket that contains a date. Buckets of several units are counted from 1970. */
export function startOf(date: Temporal.PlainDate, { count, unit, weekStart = 'monday' }: Interval): Temporal.PlainDate {
  const first =
    unit === 'week'
      ? date.subtract({ days: weekStart === 'sunday' ? date.dayOfWeek % 7 : date.dayOfWeek - 1 })
      : unit === 'month'
        ? date.with({ day: 1 })
        : unit === 'year'
          ? date.with({ month: 1, day: 1 })
          : date;
  const origin = unit === 'week' ? FIRST_WEEK[weekStart] : EPOCH;
  const key = `${unit}s` as 'days' | 'weeks' | 'months' | 'years';
  const elapsed = origin.until(first, { largestUnit: key })[key];
  const excess = ((elapsed % count) + count) % count;
  return first.subtract({ [key]: excess });
}

/** Returns the midnight of a date as a wall time. */
export function wallOf(date: Temporal.PlainDate): number {
  return EPOCH.until(date, { largestUnit: 'days' }).days * DAY_US;
}
