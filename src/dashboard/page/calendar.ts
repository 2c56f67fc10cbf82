import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { type Zone as Offsets, offsetAt, timeOf, timesOf } from '../../formats/time-zone.ts';
import type { Responses } from './api.ts';

/*
 * Calendar arithmetic in a time zone. A local day can have 23, 24 or 25 hours, or not exist at all, so all arithmetic
 * in days, weeks and months is here. It uses the server's offsets, because buckets follow them and the browser's time
 * zone data may be older.
 *
 * Moments are milliseconds since 1970. A wall time is the local time, encoded as if it were UTC.
 */

const DAY = 86_400_000;

/** A time zone, with offsets in milliseconds. */
export interface Zone extends Offsets {
  readonly name: string;
}

export const UTC: Zone = { name: 'UTC', starts: [Number.NEGATIVE_INFINITY], offsets: [0] };

/** Converts a response of the server to a zone. */
export function zoneOf({ tz, offsets }: Responses['/api/zone']): Zone {
  return {
    name: tz,
    starts: offsets.map(({ from }) => (from === null ? Number.NEGATIVE_INFINITY : Date.parse(from))),
    offsets: offsets.map(({ offset_seconds }) => offset_seconds * 1000),
  };
}

export const ZoneContext = createContext<Zone>(UTC);

/** Returns the time zone of the page. */
export function useZone(): Zone {
  return useContext(ZoneContext);
}

/** Returns the wall time of a moment. */
export function wallOf(zone: Zone, moment: number): number {
  return moment + offsetAt(zone, moment);
}

/** Returns whether the wall time of a moment occurs twice, because clocks went back. */
export function isRepeated(zone: Zone, moment: number): boolean {
  return timesOf(zone, wallOf(zone, moment)).length > 1;
}

/**
 * Returns the calendar time of a moment: its wall time, except that the first moment of a day is always midnight, even
 * where clocks skip midnight.
 */
function calendarTimeOf(zone: Zone, moment: number): number {
  const wall = wallOf(zone, moment);
  const midnight = Math.floor(wall / DAY) * DAY;
  return timeOf(zone, midnight) === moment ? midnight : wall;
}

/** Returns the moment of a calendar time. If it occurs twice, the offset at `near` decides which one. */
function momentAt(zone: Zone, calendarTime: number, near: number): number {
  return timeOf(zone, calendarTime, calendarTime % DAY === 0 ? undefined : offsetAt(zone, near));
}

/** Returns the start of the next local day. */
export function nextDay(zone: Zone, moment: number): number {
  return timeOf(zone, (Math.floor(wallOf(zone, moment) / DAY) + 1) * DAY);
}

/** Periods of the calendar. */
export type CalendarPeriod = 'day' | 'week' | 'month' | 'year';

/** Returns the start of the local day, week, month or year that contains a moment. */
export function startOf(
  period: CalendarPeriod,
  zone: Zone,
  moment: number,
  weekStart: 'monday' | 'sunday' = 'monday',
): number {
  const midnight = Math.floor(wallOf(zone, moment) / DAY) * DAY;
  const date = new Date(midnight);
  if (period === 'week')
    date.setUTCDate(date.getUTCDate() - ((date.getUTCDay() + (weekStart === 'monday' ? 6 : 0)) % 7));
  if (period === 'month' || period === 'year') date.setUTCDate(1);
  if (period === 'year') date.setUTCMonth(0);
  return timeOf(zone, date.getTime());
}

/** Returns the end of the local day, week, month or year that contains a moment. */
export function endOf(
  period: CalendarPeriod,
  zone: Zone,
  moment: number,
  weekStart: 'monday' | 'sunday' = 'monday',
): number {
  if (period === 'day') return nextDay(zone, moment);
  const start = startOf(period, zone, moment, weekStart);
  if (period === 'week') return addDays(zone, start, 7);
  return addMonths(zone, start, period === 'month' ? 1 : 12);
}

/** Adds local days. A fraction of a day is a fraction of 24 hours of wall time. */
export function addDays(zone: Zone, moment: number, days: number): number {
  return momentAt(zone, calendarTimeOf(zone, moment) + days * DAY, moment);
}

/** Adds calendar months. The 31st becomes the last day of a shorter month. */
export function addMonths(zone: Zone, moment: number, months: number): number {
  const date = new Date(calendarTimeOf(zone, moment));
  const day = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(day, lastDay));
  return momentAt(zone, date.getTime(), moment);
}

/** A length of time: in calendar units, or in milliseconds if it is not a whole number of days. */
export type Span =
  | { readonly unit: 'months' | 'days'; readonly count: number }
  | { readonly unit: 'milliseconds'; readonly count: number };

/** A half-open time range. */
export interface Range {
  readonly from: Date;
  readonly to: Date;
}

/** Returns the length of a range: whole calendar months, whole days (from any time of day), or milliseconds. */
export function spanOf({ from, to }: Range, zone: Zone): Span {
  const [start, end] = [calendarTimeOf(zone, from.getTime()), calendarTimeOf(zone, to.getTime())];
  const days = (end - start) / DAY;
  if (days >= 1 && Number.isInteger(days)) {
    const [first, last] = [new Date(start), new Date(end)];
    if (start % DAY === 0 && first.getUTCDate() === 1 && last.getUTCDate() === 1) {
      const years = last.getUTCFullYear() - first.getUTCFullYear();
      return { unit: 'months', count: years * 12 + last.getUTCMonth() - first.getUTCMonth() };
    }
    return { unit: 'days', count: days };
  }
  return { unit: 'milliseconds', count: to.getTime() - from.getTime() };
}

/** Adds a span to a moment, a given number of times. */
export function addSpan(zone: Zone, moment: Date, { unit, count }: Span, times: number): Date {
  const at = moment.getTime();
  if (unit === 'months') return new Date(addMonths(zone, at, count * times));
  return new Date(unit === 'days' ? addDays(zone, at, count * times) : at + count * times);
}

/** Returns the length of a range in wall time, in milliseconds: a week is 168 hours even when clocks change. */
export function wallLength(range: Range, span: Span, zone: Zone): number {
  if (span.unit === 'milliseconds') return span.count;
  return calendarTimeOf(zone, range.to.getTime()) - calendarTimeOf(zone, range.from.getTime());
}

/**
 * Returns the period before a range: the one of the same length that ends where the range begins. A range that is still
 * in progress, and thus shorter than its span, is compared with the same part of the period before: the first days of
 * this month with the first days of the last one.
 */
export function previousPeriod(range: Range, span: Span, zone: Zone): Range {
  const { from, to } = range;
  if (to >= addSpan(zone, from, span, 1)) {
    const start = addSpan(zone, to, span, -2);
    return { from: start < from ? start : movedBy(zone, from, span, -1), to: from };
  }
  const end = addSpan(zone, to, span, -1);
  // the 31st has no counterpart in a shorter month, whose last day then belongs to the period as a whole
  const isLastDay = span.unit === 'months' && dayOfMonth(zone, end) < dayOfMonth(zone, to);
  const earlier = { from: movedBy(zone, from, span, -1), to: isLastDay ? new Date(nextDay(zone, end.getTime())) : end };
  const { to: latest } = nonEmpty(earlier, range);
  return { from: earlier.from, to: latest < from ? latest : from };
}

function dayOfMonth(zone: Zone, moment: Date): number {
  return new Date(wallOf(zone, moment.getTime())).getUTCDate();
}

/**
 * Returns the same dates of the year before. A range in milliseconds starts at the same date and time, and is as long:
 * where clocks change, its end can have no counterpart after the start.
 */
export function sameDatesLastYear({ from, to }: Range, span: Span, zone: Zone): Range {
  const start = addMonths(zone, from.getTime(), -12);
  if (span.unit === 'milliseconds') return rangeOf(start, to.getTime() - from.getTime());
  const end = addMonths(zone, to.getTime(), -12);
  // the 29th of February becomes the 28th, which can leave nothing of the range
  return { from: new Date(start), to: new Date(end > start ? end : nextDay(zone, start)) };
}

/**
 * Returns the closest earlier range on the same weekdays that does not overlap the given one. A range in milliseconds
 * starts on the same weekday at the same time, and is as long.
 */
export function sameWeekdaysBefore({ from, to }: Range, span: Span, zone: Zone): Range {
  const end = span.unit === 'milliseconds' ? to : addSpan(zone, from, span, 1);
  const weeks = Math.max(1, Math.ceil(wallLength({ from, to: end }, span, zone) / (7 * DAY)));
  if (span.unit !== 'milliseconds') return shiftRange({ from, to }, { unit: 'days', count: 7 * weeks }, zone, -1);
  const weeksBefore = (count: number) =>
    rangeOf(addDays(zone, from.getTime(), -7 * count), to.getTime() - from.getTime());
  const closest = weeksBefore(weeks);
  // a week in which clocks go forward is shorter than others
  return closest.to <= from ? closest : weeksBefore(weeks + 1);
}

/** Returns a moved range. Where clocks go back, nothing can be left of a short one: then it is as long as the original. */
function nonEmpty(moved: Range, { from, to }: Range): Range {
  return moved.from < moved.to ? moved : rangeOf(moved.from.getTime(), to.getTime() - from.getTime());
}

function rangeOf(start: number, length: number): Range {
  return { from: new Date(start), to: new Date(start + length) };
}

/**
 * Returns the range before (-1) or after (1) the given one. A range that is not in calendar units moves by half its
 * length, so the two overlap.
 */
export function adjacentRange(range: Range, span: Span, zone: Zone, direction: -1 | 1): Range {
  return span.unit === 'milliseconds'
    ? moveRange(range, span, zone, direction / 2)
    : shiftRange(range, span, zone, direction);
}

/** Moves a range by a fraction of its length, rounded to whole days or months if it is at least one. */
export function moveRange(range: Range, span: Span, zone: Zone, fraction: number): Range {
  const { unit } = span;
  const count = span.count * fraction;
  if (unit === 'milliseconds') return shiftRange(range, { unit, count }, zone, 1);
  if (unit === 'months' && Math.abs(count) >= 1) return shiftRange(range, { unit, count: Math.round(count) }, zone, 1);
  const days = unit === 'months' ? (wallLength(range, span, zone) / DAY) * fraction : count;
  return shiftRange(range, { unit: 'days', count: Math.abs(days) >= 1 ? Math.round(days) : days }, zone, 1);
}

function shiftRange(range: Range, span: Span, zone: Zone, times: number): Range {
  return nonEmpty({ from: movedBy(zone, range.from, span, times), to: addSpan(zone, range.to, span, times) }, range);
}

/** Adds a span to the start of a range, twice if a zone that crossed the date line has no such day. */
function movedBy(zone: Zone, start: Date, span: Span, times: number): Date {
  const moved = addSpan(zone, start, span, times);
  return moved.getTime() === start.getTime() ? addSpan(zone, start, span, 2 * times) : moved;
}

/** Returns a range about twice as long around the given one, in the same unit. */
export function zoomOut({ from, to }: Range, span: Span, zone: Zone): Range {
  const { unit, count } = span;
  // extend an odd count more into the past, where the rows are
  const [before, after] =
    unit === 'milliseconds' ? [count / 2, count / 2] : [Math.ceil(count / 2), Math.floor(count / 2)];
  const end = addSpan(zone, to, { unit, count: after }, 1);
  // where clocks go back, a range in progress can end in the hour that is there twice
  return { from: addSpan(zone, from, { unit, count: before }, -1), to: end > to ? end : to };
}

/** Returns the middle half of a range, approximately: cut by whole months or days if it contains at least three. */
export function zoomIn({ from, to }: Range, span: Span, zone: Zone): Range {
  const quarter = (): Span => {
    const { unit, count } = span;
    if (unit === 'milliseconds') return { unit, count: count / 4 };
    if (unit === 'months' && count >= 3) return { unit, count: Math.round(count / 4) };
    const days = unit === 'months' ? wallLength({ from, to }, span, zone) / DAY : count;
    return { unit: 'days', count: days >= 3 ? Math.round(days / 4) : days / 4 };
  };
  const inner = { from: addSpan(zone, from, quarter(), 1), to: addSpan(zone, to, quarter(), -1) };
  if (inner.from < inner.to) return inner;
  // a range in progress can be shorter than half of its span
  const length = to.getTime() - from.getTime();
  return { from: new Date(from.getTime() + length / 4), to: new Date(to.getTime() - length / 4) };
}

/** Formats a UTC offset as in RFC 3339, such as `+05:30`. Appends seconds if there are any. */
export function formatOffset(offset: number): string {
  const time = new Date(Math.abs(offset)).toISOString();
  return (offset < 0 ? '-' : '+') + (offset % 60_000 === 0 ? time.slice(11, 16) : time.slice(11, 19));
}
