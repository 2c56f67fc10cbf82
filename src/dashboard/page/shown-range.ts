import { useContext } from 'preact/hooks';
import type { Address } from './address.ts';
import { AskingContext } from './answer.ts';
import { useCatalog } from './catalog.ts';
import { usePlace } from './place.ts';
import {
  EARLIEST,
  type IntervalName,
  intervalFor,
  periodBefore,
  possibleInterval,
  RANGES,
  type Range,
} from './time.ts';

/** The range and the buckets that a view shows. */
export interface ShownRange {
  readonly from: Date;
  readonly to: Date;
  readonly interval: IntervalName;
  /** The range to compare with: as long, and before it. */
  readonly before: Required<Range>;
}

/**
 * Returns the range that the address names, at this moment: exactly so long, whatever the buckets. `all` is that of
 * the rows, and goes on until now.
 */
export function namedRange({ range, from, to }: Address, now: Date, extent: Range): Required<Range> {
  if (from && to) return { from, to };
  const named = RANGES.find(({ name }) => name === range);
  if (named) return { from: new Date(now.getTime() - named.length), to: now };
  return { from: extent.from ?? EARLIEST, to: extent.to && extent.to > now ? extent.to : now };
}

/**
 * Returns the range that the address names, with its buckets.
 *
 * @param extent of the rows, for the range `all`
 */
export function shownRange(address: Address, now: Date, extent: Range): ShownRange {
  const { from, to } = namedRange(address, now, extent);
  const length = to.getTime() - from.getTime();
  const interval = address.interval === 'auto' ? intervalFor(length) : possibleInterval(address.interval, length);
  return { from, to, interval, before: periodBefore({ from, to }, address.zone) };
}

/** Returns the {@link shownRange} of the page's address and moment. */
export function useShownRange(): ShownRange {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  const { extent } = useCatalog();
  return shownRange(address, now, extent);
}
