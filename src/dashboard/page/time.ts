import { timeOf, timesOf } from '../../formats/time-zone.ts';
import { type CalendarPeriod, type Range, type Span, wallOf, type Zone } from './calendar.ts';

/** In milliseconds. */
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** Approximate length of a month. */
export const MONTH = 30 * DAY;

/** Limits of a range. The server rejects earlier timestamps; the end is arbitrary. */
export const EARLIEST = new Date(Date.UTC(1700, 0));
export const LATEST = new Date(Date.UTC(2200, 0));

/** Clamps a range to {@link EARLIEST} and {@link LATEST}. Extends it to at least a minute, the shortest interval. */
export function clampRange({ from, to }: Range): Range {
  const missing = Math.max(0, MINUTE - (to.getTime() - from.getTime())) / 2;
  return {
    from: new Date(Math.max(EARLIEST.getTime(), from.getTime() - missing)),
    to: new Date(Math.min(LATEST.getTime(), to.getTime() + missing)),
  };
}

const hours = (count: number): Span => ({ unit: 'milliseconds', count: count * HOUR });
const days = (count: number): Span => ({ unit: 'days', count });
const months = (count: number): Span => ({ unit: 'months', count });

/** A range with a name. */
export interface RangeName {
  /** The name in the URL. */
  readonly name: string;
  readonly label: string;
  readonly span: Span;
  /**
   * The calendar period in which the range ends. Its days are whole, except that none is later than now. Undefined: the
   * range ends now, whatever the time of day.
   */
  readonly within?: CalendarPeriod;
  /** Whether the range ends at the start of that period rather than at its end. */
  readonly isOver?: true;
  /** The interval of its buckets; default: {@link intervalFor} its length. */
  readonly interval?: IntervalName;
}

/** Ranges that end with now or with a calendar period. */
export const RANGES = [
  { name: '1h', label: 'Last hour', span: hours(1) },
  { name: '6h', label: 'Last 6 hours', span: hours(6) },
  { name: '24h', label: 'Last 24 hours', span: hours(24) },
  { name: '7d', label: 'Last 7 days', span: days(7), within: 'day', interval: '1d' },
  { name: '28d', label: 'Last 28 days', span: days(28), within: 'day' },
  { name: '30d', label: 'Last 30 days', span: days(30), within: 'day' },
  { name: '90d', label: 'Last 90 days', span: days(90), within: 'day' },
  { name: '1y', label: 'Last 12 months', span: months(12), within: 'day' },
  { name: 'today', label: 'Today', span: days(1), within: 'day', interval: '1h' },
  { name: 'yesterday', label: 'Yesterday', span: days(1), within: 'day', isOver: true, interval: '1h' },
  { name: 'this-week', label: 'This week', span: days(7), within: 'week', interval: '1d' },
  { name: 'last-week', label: 'Last week', span: days(7), within: 'week', isOver: true, interval: '1d' },
  { name: 'this-month', label: 'This month', span: months(1), within: 'month' },
  { name: 'last-month', label: 'Last month', span: months(1), within: 'month', isOver: true },
  { name: 'this-year', label: 'This year', span: months(12), within: 'year' },
] as const satisfies readonly RangeName[];

/** Returns the range with a name. */
export function rangeNamed(name: string): RangeName | undefined {
  return RANGES.find((range) => range.name === name);
}

/** Bucket intervals: name in the query routes, label, and approximate length in milliseconds. */
export const INTERVALS = [
  { name: '1m', label: '1 minute', length: MINUTE },
  { name: '5m', label: '5 minutes', length: 5 * MINUTE },
  { name: '15m', label: '15 minutes', length: 15 * MINUTE },
  { name: '30m', label: '30 minutes', length: 30 * MINUTE },
  { name: '1h', label: '1 hour', length: HOUR },
  { name: '3h', label: '3 hours', length: 3 * HOUR },
  { name: '6h', label: '6 hours', length: 6 * HOUR },
  { name: '12h', label: '12 hours', length: 12 * HOUR },
  { name: '1d', label: '1 day', length: DAY },
  { name: '1w', label: '1 week', length: 7 * DAY },
  { name: '1M', label: '1 month', length: MONTH },
  { name: '1y', label: '1 year', length: 365 * DAY },
] as const;

export type IntervalName = (typeof INTERVALS)[number]['name'];

/** Maximum number of buckets chosen automatically. More do not make a line clearer. */
const WANTED_BUCKETS = 180;

/** Maximum number of buckets in a response of the query routes. */
const MAX_BUCKETS = 10_000;

/** Lengths of the ranges that are split into days. Anything shorter mostly shows that people sleep at night. */
const DAILY = { from: 14 * DAY, to: 180 * DAY };

/**
 * Returns the interval that suits a range: days for {@link DAILY} ranges, otherwise the shortest one that splits it into
 * at most {@link WANTED_BUCKETS} buckets.
 */
export function intervalFor(milliseconds: number): IntervalName {
  if (milliseconds >= DAILY.from && milliseconds <= DAILY.to) return '1d';
  return INTERVALS.find(({ length }) => milliseconds / length <= WANTED_BUCKETS)?.name ?? '1y';
}

/**
 * Returns the wanted interval, or the nearest one that is not longer than the range and does not exceed the bucket
 * limit of the query routes.
 */
export function possibleInterval(wanted: IntervalName, milliseconds: number): IntervalName {
  const last = INTERVALS.findLastIndex(({ length }) => length <= Math.max(milliseconds, MINUTE));
  const first = Math.min(
    last,
    INTERVALS.findIndex(({ name }) => name === wanted),
  );
  const fits = INTERVALS.find(({ length }, i) => i >= first && milliseconds / length < MAX_BUCKETS - 2);
  return fits?.name ?? '1y';
}

/** Formats the wall time of a moment for a `datetime-local` input: `2026-03-01T14:05`. */
export function wallTime(moment: Date, zone: Zone): string {
  return new Date(wallOf(zone, moment.getTime())).toISOString().slice(0, 16);
}

/**
 * Parses a wall time.
 *
 * @returns the moments it occurs at, or the moment of the change if clocks skip it; empty if the text is not a time
 */
export function momentsOfWall(text: string, zone: Zone): Date[] {
  const wall = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? Date.parse(`${text.slice(0, 16)}Z`) : Number.NaN;
  if (Number.isNaN(wall)) return [];
  const moments = timesOf(zone, wall);
  return (moments.length > 0 ? moments : [timeOf(zone, wall)]).map((moment) => new Date(moment));
}

/** Returns the time zones that the browser supports, UTC first. */
export function timeZones(): string[] {
  return [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])];
}

/** Returns whether a text is the name of a time zone. */
export function isTimeZone(name: string): boolean {
  // browsers accept offsets such as +05:30; the query routes do not
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** Returns the time zone of the browser. */
export function browserTimeZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}

/** Returns the day a week begins with in the browser's locale; Monday if the browser does not tell. */
export function browserWeekStart(): 'monday' | 'sunday' {
  const locale = new Intl.Locale(Intl.DateTimeFormat().resolvedOptions().locale) as Intl.Locale & {
    getWeekInfo?: () => { firstDay: number };
    weekInfo?: { firstDay: number };
  };
  const { firstDay } = locale.getWeekInfo?.() ?? locale.weekInfo ?? { firstDay: 1 };
  return firstDay === 7 ? 'sunday' : 'monday';
}
