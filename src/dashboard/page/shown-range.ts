import { useContext } from 'preact/hooks';
import { type Address, usePlace } from './address.ts';
import { AskingContext } from './answer.ts';
import type { Listed } from './api.ts';
import { type IntervalName, intervalFor, possibleInterval, RANGES, type Range, startOfBucket } from './time.ts';

/** The range and the buckets that a view shows. */
export interface ShownRange {
  readonly from: Date;
  readonly to: Date;
  readonly interval: IntervalName;
}

/** When the first and the last of some rows happened. */
export function extentOf(listed: readonly Listed[]): Range {
  if (listed.length === 0) return {};
  const first = Math.min(...listed.map(({ first_seen }) => Date.parse(first_seen)));
  const last = Math.max(...listed.map(({ last_seen }) => Date.parse(last_seen)));
  // half-open: the last row is in it
  return { from: new Date(first), to: new Date(last + 1) };
}

/**
 * The range that the address names, at this moment. Ranges that end now begin with a whole bucket, so that the
 * first one is not low for being cut.
 *
 * @param extent of the rows, for the range `all`
 */
export function shownRange(address: Address, now: Date, extent: Range): ShownRange {
  const named = RANGES.find(({ name }) => name === address.range);
  const to = address.to ?? (named ? now : (extent.to ?? now));
  const from = address.from ?? (named ? new Date(now.getTime() - named.length) : (extent.from ?? to));
  const length = to.getTime() - from.getTime();
  const interval = address.interval === 'auto' ? intervalFor(length) : possibleInterval(address.interval, length);
  return { from: named ? startOfBucket(from, interval, address.zone) : from, to, interval };
}

/** {@link shownRange} of the page's address and moment. */
export function useShownRange(extent: Range): ShownRange {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  return shownRange(address, now, extent);
}
