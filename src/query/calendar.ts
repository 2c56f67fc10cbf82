import { offsetAt, timeOf, type Zone } from '../formats/time-zone.ts';
import { formatTimestamp, formatWithOffset } from '../formats/timestamp.ts';
import { zoneNamed } from './zone-database.ts';

/** A length of buckets: so many of a unit of the calendar. */
export interface Interval {
  readonly count: number;
  readonly unit: 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';
}

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

/** Minutes or hours of a bucket must divide these, so that buckets begin anew at each midnight. */
const DIVIDES: Partial<Record<Interval['unit'], number>> = { minute: 1440, hour: 24 };

const MINUTE_US = 60_000_000;
/** A local day on the wall. */
const DAY_US = 1440 * MINUTE_US;
const EPOCH = Temporal.PlainDate.from('1970-01-01');
const FIRST_MONDAY = Temporal.PlainDate.from('1970-01-05');

/** More buckets than any chart has points. */
export const MAX_BUCKETS = 10_000;

/**
 * Reads an interval: a unit, with a number before it or not, such as `day`, `15m`, `1h` or `month`.
 *
 * @returns undefined when it is none, or when its minutes or hours do not fit into a day
 */
export function parseInterval(text: string): Interval | undefined {
  const [, digits = '1', name = '', plural] = /^(\d{1,4})?([a-zA-Z]+?)(s)?$/.exec(text) ?? [];
  const unit = plural && name.length < 3 ? undefined : UNITS.get(name);
  const count = Number(digits);
  if (!unit || count < 1 || (DIVIDES[unit] ?? count) % count !== 0) return undefined;
  return { count, unit };
}

/** Returns a zone by its name, which has been checked before. */
function zoneOf(name: string): Zone {
  const zone = zoneNamed(name);
  if (!zone) throw new Error('no such time zone');
  return zone;
}

/** Returns a time, in microseconds since 1970, as RFC 3339 in a time zone. */
export function formatInZone(microseconds: number, zone: string): string {
  if (zone === 'UTC') return formatTimestamp(microseconds);
  return formatWithOffset(microseconds, offsetAt(zoneOf(zone), microseconds));
}

/**
 * Cuts a range of time into buckets that follow the local calendar: days, weeks (from Monday), months and
 * years begin at local midnight, whatever daylight saving does; minutes and hours are counted from it, by
 * the clock on the wall where they are longer than an hour.
 *
 * @param from the start of the range, in microseconds since 1970
 * @param to its end, not in it
 * @param interval undefined: one bucket, from start to end
 * @returns the starts of the buckets, rising, and behind them the end of the last: the first start may lie
 *   before the range. Undefined when there would be more than {@link MAX_BUCKETS}
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
  for (const edge of edgesFrom(from, interval, zoneOf(zone))) {
    // a day, or an hour, that a change of the clocks leaves out begins with the next one
    if (edge <= (edges.at(-1) ?? Number.NEGATIVE_INFINITY)) continue;
    if (edge <= from) edges.length = 0;
    edges.push(edge);
    if (edge >= to) return Float64Array.from(edges);
    if (edges.length > MAX_BUCKETS) return undefined;
  }
  return undefined;
}

/**
 * The starts of buckets as text.
 *
 * @param edges what {@link bucketEdges} gave
 */
export function startsOf(edges: Float64Array, zone: string): string[] {
  return Array.from(edges.subarray(0, -1), (edge) => formatInZone(edge, zone));
}

/** The starts of buckets in microseconds since 1970, from one that is at or before the given time. */
function* edgesFrom(time: number, { count, unit }: Interval, zone: Zone): Generator<number> {
  const day = Math.floor((time + offsetAt(zone, time)) / DAY_US);
  if (unit === 'minute' || unit === 'hour') {
    const minutes = unit === 'hour' ? count * 60 : count;
    for (let i = day; ; i++) yield* withinDay(i, minutes, zone);
  }
  // dates, not times: a date that a change of the clocks leaves out must not shift those that follow
  const first = startOf(EPOCH.add({ days: day }), count, unit);
  for (let i = 0; ; i++) yield timeOf(zone, wallOf(first.add({ [`${unit}s`]: i * count })));
}

/** The starts of the buckets of a local day, counted from 1970, which may have more or less than 24 hours. */
function* withinDay(day: number, minutes: number, zone: Zone): Generator<number> {
  const start = timeOf(zone, day * DAY_US);
  const end = timeOf(zone, (day + 1) * DAY_US);
  if (minutes <= 60) {
    for (let at = start; at < end; at += minutes * MINUTE_US) yield at;
    return;
  }
  if (start === end) return; // the zone leaves the day out
  yield start;
  for (let minute = minutes; minute < 1440; minute += minutes) yield timeOf(zone, day * DAY_US + minute * MINUTE_US);
}

/** The start of the calendar's unit in which a day lies; several are counted from the year 1970. */
function startOf(date: Temporal.PlainDate, count: number, unit: Interval['unit']): Temporal.PlainDate {
  const first =
    unit === 'week'
      ? date.subtract({ days: date.dayOfWeek - 1 })
      : unit === 'month'
        ? date.with({ day: 1 })
        : unit === 'year'
          ? date.with({ month: 1, day: 1 })
          : date;
  const origin = unit === 'week' ? FIRST_MONDAY : EPOCH;
  const key = `${unit}s` as 'days' | 'weeks' | 'months' | 'years';
  const passed = origin.until(first, { largestUnit: key })[key];
  const over = ((passed % count) + count) % count;
  return first.subtract({ [key]: over });
}

/** The midnight of a date on the wall. */
function wallOf(date: Temporal.PlainDate): number {
  return EPOCH.until(date, { largestUnit: 'days' }).days * DAY_US;
}
