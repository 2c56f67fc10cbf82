import { LRUCache } from 'lru-cache';
import { Failure } from '../errors.ts';
import type { Rate } from '../formats/rate.ts';

/** Buckets kept at once, about 10 MB; beyond it the one that was not used for longest is forgotten, full as it may be. */
const MAX_BUCKETS = 100_000;

/** Limits how much each of many takes. */
export interface RateLimit {
  /**
   * Takes an amount out of somebody's bucket.
   *
   * @throws {Failure} `rate_limited` when there is less in it; then nothing is taken
   */
  take(key: string, amount: number): void;
}

/**
 * Token buckets: each starts full and fills again at the given rate, so that a pause is credited up to
 * the capacity. Libraries for HTTP count requests; what is limited here are rows, and a batch has many.
 *
 * @param name names the limit in the `RateLimit` header fields
 * @param rate undefined: no limit
 * @param capacity what a full bucket holds, at least; never less than the rate's amount
 * @param now a clock that never steps back, in milliseconds
 */
export function createRateLimit(name: string, rate: Rate | undefined, capacity: number, now: () => number): RateLimit {
  if (!rate) return { take() {} };
  const full = Math.max(capacity, rate.amount);
  const perMillisecond = rate.amount / (rate.window * 1000);
  const buckets = new LRUCache<string, { level: number; at: number }>({ max: MAX_BUCKETS });

  return {
    take(key, amount) {
      const time = now();
      let bucket = buckets.get(key);
      if (!bucket) {
        bucket = { level: full, at: time };
        buckets.set(key, bucket);
      }
      bucket.level = Math.min(full, bucket.level + (time - bucket.at) * perMillisecond);
      bucket.at = time;
      if (bucket.level < amount) {
        const seconds = Math.ceil((amount - bucket.level) / perMillisecond / 1000);
        throw new Failure('rate_limited', {
          retryAfter: seconds,
          quota: { name, ...rate, remaining: Math.floor(bucket.level) },
        });
      }
      bucket.level -= amount;
    },
  };
}
