import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import { type Zone as Offsets, offsetAt, timeOf, timesOf } from '../../formats/time-zone.ts';
import type { Answers } from './api.ts';

/*
 * The calendar of a time zone. A local day has 23, 24 or 25 hours, or does not exist: whatever moves by days, weeks
 * or months moves here. The offsets are the server's, because the buckets follow them; the browser's may be older.
 *
 * Moments are milliseconds since 1970. A wall time is what a clock on the wall shows, as if it showed UTC.
 */

const DAY = 86_400_000;

/** A time zone: its offsets are in milliseconds. */
export interface Zone extends Offsets {
  readonly name: string;
}

export const UTC: Zone = { name: 'UTC', starts: [Number.NEGATIVE_INFINITY], offsets: [0] };

/** Returns the zone that the server describes. */
export function zoneOf({ tz, offsets }: Answers['/api/zone']): Zone {
  return {
    name: tz,
    starts: offsets.map(({ from }) => (from === null ? Number.NEGATIVE_INFINITY : Date.parse(from))),
    offsets: offsets.map(({ offset_seconds }) => offset_seconds * 1000),
  };
}

export const ZoneContext = createContext<Zone>(UTC);

/** Returns the zone that the page shows times in. */
export function useZone(): Zone {
  return useContext(ZoneContext);
}

/** Returns the wall time of a moment. */
export function wallOf(zone: Zone, moment: number): number {
  return moment + offsetAt(zone, moment);
}

/** Returns whether clocks show the wall time of a moment twice. */
export function isRepeated(zone: Zone, moment: number): boolean {
  return timesOf(zone, wallOf(zone, moment)).length > 1;
}

/**
 * Returns the place of a moment in the calendar: its wall time, but midnight for the first moment of a day, also
 * where clocks skip midnight.
 */
function placeOf(zone: Zone, moment: number): number {
  const wall = wallOf(zone, moment);
  const midnight = Math.floor(wall / DAY) * DAY;
  return timeOf(zone, midnight) === moment ? midnight : wall;
}

/** Returns the moment at a place in the calendar; `near` gives its offset where the place exists twice. */
function momentAt(zone: Zone, place: number, near: number): number {
  return timeOf(zone, place, place % DAY === 0 ? undefined : offsetAt(zone, near));
}

/** Returns the first moment of the local day after the one in which a moment lies. */
export function nextDay(zone: Zone, moment: number): number {
  return timeOf(zone, (Math.floor(wallOf(zone, moment) / DAY) + 1) * DAY);
}

/** Moves a moment by local days; a part of a day is one of 24 hours on the wall. */
export function addDays(zone: Zone, moment: number, days: number): number {
  return momentAt(zone, placeOf(zone, moment) + days * DAY, moment);
}

/** Moves a moment by months of the calendar; from the 31st to the last day of a shorter month. */
export function addMonths(zone: Zone, moment: number, months: number): number {
  const place = new Date(placeOf(zone, moment));
  const day = place.getUTCDate();
  place.setUTCDate(1);
  place.setUTCMonth(place.getUTCMonth() + months);
  const lastDay = new Date(Date.UTC(place.getUTCFullYear(), place.getUTCMonth() + 1, 0)).getUTCDate();
  place.setUTCDate(Math.min(day, lastDay));
  return momentAt(zone, place.getTime(), moment);
}

/** A length of time: in the calendar's units, or in milliseconds where it has nothing to do with the calendar. */
export type Span =
  | { readonly unit: 'months' | 'days'; readonly count: number }
  | { readonly unit: 'milliseconds'; readonly count: number };

/** A range of time, half-open. */
export interface Range {
  readonly from: Date;
  readonly to: Date;
}

/** Returns the length of a range: whole months, whole days from any time of day to the same one, or milliseconds. */
export function spanOf({ from, to }: Range, zone: Zone): Span {
  const [start, end] = [placeOf(zone, from.getTime()), placeOf(zone, to.getTime())];
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

/** Moves a moment by a number of spans. */
export function addSpan(zone: Zone, moment: Date, { unit, count }: Span, times: number): Date {
  const at = moment.getTime();
  if (unit === 'months') return new Date(addMonths(zone, at, count * times));
  return new Date(unit === 'days' ? addDays(zone, at, count * times) : at + count * times);
}

/** Returns how long a range is by the clock on the wall, in milliseconds: a week is 168 hours whatever clocks do. */
export function wallLength(range: Range, span: Span, zone: Zone): number {
  if (span.unit === 'milliseconds') return span.count;
  return placeOf(zone, range.to.getTime()) - placeOf(zone, range.from.getTime());
}

/** Returns the range as long as the given one that ends where it begins. */
export function periodBefore({ from, to }: Range, span: Span, zone: Zone): Range {
  return { from: addSpan(zone, to, span, -2), to: from };
}

/**
 * Returns the range before (-1) or after (1) the given one. A range that is none of the calendar's moves by half of
 * its length, so that both have a part in common.
 */
export function pageOf(range: Range, span: Span, zone: Zone, direction: -1 | 1): Range {
  return span.unit === 'milliseconds'
    ? movedBy(range, span, zone, direction / 2)
    : shifted(range, span, zone, direction);
}

/** Moves a range by a part of its length: by whole days where that is a day at least, otherwise by the wall clock. */
export function movedBy(range: Range, span: Span, zone: Zone, part: number): Range {
  const { unit } = span;
  const count = span.count * part;
  if (unit === 'milliseconds') return shifted(range, { unit, count }, zone, 1);
  if (unit === 'months' && Math.abs(count) >= 1) return shifted(range, { unit, count: Math.round(count) }, zone, 1);
  const days = unit === 'months' ? (wallLength(range, span, zone) / DAY) * part : count;
  return shifted(range, { unit: 'days', count: Math.abs(days) >= 1 ? Math.round(days) : days }, zone, 1);
}

function shifted({ from, to }: Range, span: Span, zone: Zone, times: number): Range {
  return { from: addSpan(zone, from, span, times), to: addSpan(zone, to, span, times) };
}

/** Returns a range about twice as long, around the given one: of the calendar's units if that is. */
export function zoomedOut({ from, to }: Range, span: Span, zone: Zone): Range {
  const { unit, count } = span;
  // more before than after: rows are in the past
  const [before, after] =
    unit === 'milliseconds' ? [count / 2, count / 2] : [Math.ceil(count / 2), Math.floor(count / 2)];
  return { from: addSpan(zone, from, { unit, count: before }, -1), to: addSpan(zone, to, { unit, count: after }, 1) };
}

/** Returns the middle of a range, about half as long: of whole months or days if there are enough of them. */
export function zoomedIn({ from, to }: Range, span: Span, zone: Zone): Range {
  const part = (): Span => {
    const { unit, count } = span;
    if (unit === 'milliseconds') return { unit, count: count / 4 };
    if (unit === 'months' && count >= 3) return { unit, count: Math.round(count / 4) };
    const days = unit === 'months' ? wallLength({ from, to }, span, zone) / DAY : count;
    return { unit: 'days', count: days >= 3 ? Math.round(days / 4) : days / 4 };
  };
  return { from: addSpan(zone, from, part(), 1), to: addSpan(zone, to, part(), -1) };
}

/** Writes an offset from UTC as RFC 3339 does, such as `+05:30`; with seconds where it has any. */
export function formatOffset(offset: number): string {
  const time = new Date(Math.abs(offset)).toISOString();
  return (offset < 0 ? '-' : '+') + (offset % 60_000 === 0 ? time.slice(11, 16) : time.slice(11, 19));
}
