import { useContext } from 'preact/hooks';
import type { Address, Comparison } from './address.ts';
import {
  addDays,
  addSpan,
  adjacentRange,
  endOf,
  previousPeriod,
  type Range,
  type Span,
  sameDatesLastYear,
  sameWeekdaysBefore,
  spanOf,
  startOf,
  useZone,
  wallLength,
  type Zone,
} from './calendar.ts';
import { type Extent, useCatalog } from './catalog.ts';
import { useNavigation } from './navigation.ts';
import { EARLIEST, HOUR, type IntervalName, intervalFor, MINUTE, MONTH, possibleInterval, rangeNamed } from './time.ts';
import { QuerySessionContext } from './use-query.ts';

/** The range and interval that a view shows. */
export interface ShownRange extends Range {
  readonly interval: IntervalName;
  /** The length of the range; of the whole range if it is still in progress, such as today. */
  readonly span: Span;
  /** The period that the address compares the range with; the previous one if it compares with none. */
  readonly previous: Range;
}

/**
 * Returns the range selected in the address. It does not depend on the interval. Ranges of whole days start at local
 * midnight; those in progress end now. `all` is the range of all rows, extended to now.
 */
export function namedRange({ range, from, to, weekStart }: Address, now: Date, extent: Extent, zone: Zone): Range {
  if (from && to) return { from, to };
  const named = rangeNamed(range);
  if (!named) return { from: extent.from ?? EARLIEST, to: extent.to && extent.to > now ? extent.to : now };
  const { span, within, isOver } = named;
  if (within === undefined) return { from: addSpan(zone, now, span, -1), to: now };
  const end = new Date((isOver ? startOf : endOf)(within, zone, now.getTime(), weekStart));
  let start = addSpan(zone, end, span, -1);
  // twelve months before 29 February is the first of March, not the 28th of February
  if (addSpan(zone, start, span, 1) < end) start = new Date(addDays(zone, start.getTime(), 1));
  // a zone that crossed the date line has no such day
  for (let days = 2; start >= end; days++) start = new Date(addDays(zone, end.getTime(), -days));
  // at midnight, the new day is a minute long rather than empty
  const latest = new Date(Math.max(now.getTime(), start.getTime() + MINUTE));
  return { from: start, to: end < latest ? end : latest };
}

/** Returns the period that a range is compared with. */
export function comparedPeriod(comparison: Comparison, range: Range, span: Span, zone: Zone): Range {
  if (comparison === 'year') return sameDatesLastYear(range, span, zone);
  if (comparison === 'weekdays') return sameWeekdaysBefore(range, span, zone);
  return previousPeriod(range, span, zone);
}

/**
 * Returns the range selected in the address, with its interval and the period to compare it with.
 *
 * @param extent the range of all rows
 */
export function shownRange(address: Address, now: Date, extent: Extent, zone: Zone): ShownRange {
  const range = namedRange(address, now, extent, zone);
  const named = address.from === undefined ? rangeNamed(address.range) : undefined;
  const fixed = address.span === undefined ? undefined : parseSpan(address.span);
  const span = named?.span ?? fixed ?? spanOf(range, zone);
  // of the whole range, so that the interval stays the same all day
  const isPart = named?.within !== undefined || fixed !== undefined;
  const whole = isPart ? { from: range.from, to: addSpan(zone, range.from, span, 1) } : range;
  const length = wallLength(whole, span, zone);
  // February is shorter than MONTH, but must allow the interval of one month
  const longest = span.unit === 'months' ? Math.max(length, span.count * MONTH) : length;
  const automatic = named?.interval ?? intervalFor(length);
  const interval = address.interval === 'auto' ? automatic : possibleInterval(address.interval, longest);
  return { ...range, interval, span, previous: comparedPeriod(address.compare ?? 'previous', range, span, zone) };
}

/** Returns a fixed range that is shown and compared like the shown one, also later: as changes of the address. */
export function fixedRange({ from, to, span: { unit, count } }: ShownRange): Partial<Address> {
  const span = unit === 'milliseconds' ? `${Math.round(count / HOUR)}h` : `${count}${unit === 'days' ? 'd' : 'M'}`;
  return { range: 'custom', from, to, span };
}

/** Parses the length of a {@link fixedRange}. */
function parseSpan(text: string): Span {
  const count = Number.parseInt(text, 10);
  if (text.endsWith('h')) return { unit: 'milliseconds', count: count * HOUR };
  return { unit: text.endsWith('d') ? 'days' : 'months', count };
}

/** Returns the {@link shownRange} of the current address and time. */
export function useShownRange(): ShownRange {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { extent } = useCatalog();
  return shownRange(address, now, extent, useZone());
}

/** Returns the range before (-1) or after (1) the shown one. A range in progress counts as whole: before today is yesterday. */
export function pagedRange(shown: ShownRange, zone: Zone, direction: -1 | 1): Range {
  const { from, to, span } = shown;
  const whole = span.unit === 'milliseconds' ? { from, to } : { from, to: addSpan(zone, from, span, 1) };
  return adjacentRange(whole, span, zone, direction);
}
