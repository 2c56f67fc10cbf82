import { useContext } from 'preact/hooks';
import type { Address } from './address.ts';
import { AskingContext } from './answer.ts';
import { addSpan, periodBefore, type Range, type Span, spanOf, useZone, wallLength, type Zone } from './calendar.ts';
import { type Extent, useCatalog } from './catalog.ts';
import { usePlace } from './place.ts';
import { EARLIEST, type IntervalName, intervalFor, MONTH, possibleInterval, RANGES } from './time.ts';

/** The range and the buckets that a view shows. */
export interface ShownRange extends Range {
  readonly interval: IntervalName;
  readonly span: Span;
  /** The range to compare with: as long, and before it. */
  readonly before: Range;
}

/**
 * Returns the range that the address names, at this moment: exactly so long, whatever the buckets. `all` is that of
 * the rows, and goes on until now.
 */
export function namedRange({ range, from, to }: Address, now: Date, extent: Extent, zone: Zone): Range {
  if (from && to) return { from, to };
  const named = RANGES.find(({ name }) => name === range);
  if (named) return { from: addSpan(zone, now, named.span, -1), to: now };
  return { from: extent.from ?? EARLIEST, to: extent.to && extent.to > now ? extent.to : now };
}

/**
 * Returns the range that the address names, with its buckets.
 *
 * @param extent of the rows, for the range `all`
 */
export function shownRange(address: Address, now: Date, extent: Extent, zone: Zone): ShownRange {
  const range = namedRange(address, now, extent, zone);
  const named = address.from === undefined ? RANGES.find(({ name }) => name === address.range) : undefined;
  const span = named?.span ?? spanOf(range, zone);
  const length = wallLength(range, span, zone);
  // February is a month, too
  const longest = span.unit === 'months' ? Math.max(length, span.count * MONTH) : length;
  const interval = address.interval === 'auto' ? intervalFor(length) : possibleInterval(address.interval, longest);
  return { ...range, interval, span, before: periodBefore(range, span, zone) };
}

/** Returns the {@link shownRange} of the page's address and moment. */
export function useShownRange(): ShownRange {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  const { extent } = useCatalog();
  return shownRange(address, now, extent, useZone());
}
