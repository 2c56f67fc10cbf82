import { useContext } from 'preact/hooks';
import type { Address } from './address.ts';
import { addSpan, previousPeriod, type Range, type Span, spanOf, useZone, wallLength, type Zone } from './calendar.ts';
import { type Extent, useCatalog } from './catalog.ts';
import { useNavigation } from './navigation.ts';
import { EARLIEST, type IntervalName, intervalFor, MONTH, possibleInterval, RANGES } from './time.ts';
import { QuerySessionContext } from './use-query.ts';

/** The range and interval that a view shows. */
export interface ShownRange extends Range {
  readonly interval: IntervalName;
  readonly span: Span;
  /** The previous period, for comparison. */
  readonly previous: Range;
}

/**
 * Returns the range selected in the address. Its length does not depend on the interval. `all` is the range of all
 * rows, extended to now.
 */
export function namedRange({ range, from, to }: Address, now: Date, extent: Extent, zone: Zone): Range {
  if (from && to) return { from, to };
  const named = RANGES.find(({ name }) => name === range);
  if (named) return { from: addSpan(zone, now, named.span, -1), to: now };
  return { from: extent.from ?? EARLIEST, to: extent.to && extent.to > now ? extent.to : now };
}

/**
 * Returns the range selected in the address, with its interval and previous period.
 *
 * @param extent the range of all rows
 */
export function shownRange(address: Address, now: Date, extent: Extent, zone: Zone): ShownRange {
  const range = namedRange(address, now, extent, zone);
  const named = address.from === undefined ? RANGES.find(({ name }) => name === address.range) : undefined;
  const span = named?.span ?? spanOf(range, zone);
  const length = wallLength(range, span, zone);
  // February is shorter than MONTH, but must allow the interval of one month
  const longest = span.unit === 'months' ? Math.max(length, span.count * MONTH) : length;
  const interval = address.interval === 'auto' ? intervalFor(length) : possibleInterval(address.interval, longest);
  return { ...range, interval, span, previous: previousPeriod(range, span, zone) };
}

/** Returns the {@link shownRange} of the current address and time. */
export function useShownRange(): ShownRange {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { extent } = useCatalog();
  return shownRange(address, now, extent, useZone());
}
