import { useContext } from 'preact/hooks';
import type { Address } from './address.ts';
import { AskingContext } from './answer.ts';
import type { Listed } from './api.ts';
import { usePlace } from './place.ts';
import {
  type IntervalName,
  intervalFor,
  periodBefore,
  possibleInterval,
  RANGES,
  type Range,
  startOfBucket,
} from './time.ts';

/** The range and the buckets that a view shows. */
export interface ShownRange {
  readonly from: Date;
  readonly to: Date;
  readonly interval: IntervalName;
  /** The range to compare with: as long, and before it. */
  readonly before: Required<Range>;
}

/** When the first and the last of some rows happened. */
export function extentOf(listed: readonly Listed[]): Range {
  let first = Number.POSITIVE_INFINITY;
  let last = Number.NEGATIVE_INFINITY;
  for (const { first_seen, last_seen } of listed) {
    first = Math.min(first, Date.parse(first_seen));
    last = Math.max(last, Date.parse(last_seen));
  }
  // half-open: the last row is in it
  return listed.length === 0 ? {} : { from: new Date(first), to: new Date(last + 1) };
}

/** The range that the address names, at this moment; `all` is that of the rows, and goes on until now. */
export function namedRange({ range, from, to }: Address, now: Date, extent: Range): Required<Range> {
  if (from && to) return { from, to };
  const named = RANGES.find(({ name }) => name === range);
  if (named) return { from: new Date(now.getTime() - named.length), to: now };
  return { from: extent.from ?? now, to: extent.to && extent.to > now ? extent.to : now };
}

/**
 * The range that the address names, with its buckets. Unless it has ends of its own it begins with a whole bucket,
 * so that the first one is not low for being cut.
 *
 * @param extent of the rows, for the range `all`
 */
export function shownRange(address: Address, now: Date, extent: Range): ShownRange {
  const { zone } = address;
  const named = namedRange(address, now, extent);
  const { to } = named;
  const length = to.getTime() - named.from.getTime();
  const interval = address.interval === 'auto' ? intervalFor(length) : possibleInterval(address.interval, length);
  const from = address.range === 'custom' ? named.from : startOfBucket(named.from, interval, zone);
  return { from, to, interval, before: periodBefore({ from, to }, length, interval, zone) };
}

/** {@link shownRange} of the page's address and moment. */
export function useShownRange(extent: Range): ShownRange {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  return shownRange(address, now, extent);
}
