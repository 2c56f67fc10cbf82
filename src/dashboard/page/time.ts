import { timeOf, timesOf } from '../../formats/time-zone.ts';
import { type Range, type Span, wallOf, type Zone } from './calendar.ts';

/** In milliseconds. */
export const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
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

/** Ranges that end now: name in the URL, label and length. */
export const RANGES = [
  { name: '1h', label: 'Last hour', span: hours(1) },
  { name: '6h', label: 'Last 6 hours', span: hours(6) },
  { name: '24h', label: 'Last 24 hours', span: hours(24) },
  { name: '7d', label: 'Last 7 days', span: days(7) },
  { name: '30d', label: 'Last 30 days', span: days(30) },
  { name: '90d', label: 'Last 90 days', span: days(90) },
  { name: '1y', label: 'Last year', span: { unit: 'months', count: 12 } satisfies Span },
] as const;

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

/** Returns the shortest interval that splits a range into at most {@link WANTED_BUCKETS} buckets. */
export function intervalFor(milliseconds: number): IntervalName {
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
