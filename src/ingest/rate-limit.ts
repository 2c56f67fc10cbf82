import { LRUCache } from 'lru-cache';
import { ApiError } from '../errors.ts';
import type { Rate } from '../formats/rate.ts';

/** Maximum number of buckets, about 10 MB. Beyond it, the least recently used one is evicted, even if it is not full. */
const MAX_BUCKETS = 100_000;

/** A rate limit per key, such as per user. */
export interface RateLimit {
  /**
   * Checks that a bucket contains an amount.
   *
   * @throws {ApiError} `rate_limited` if it contains less
   */
  check(key: string, amount: number): void;
  /**
   * Takes an amount from a bucket.
   *
   * @throws {ApiError} `rate_limited` if it contains less; nothing is taken
   */
  take(key: string, amount: number): void;
}

/**
 * Creates a rate limit with token buckets. A bucket starts full and refills at the given rate up to its capacity.
 * Rate-limit libraries for HTTP count requests; this limit counts rows, of which a batch contains many.
 *
 * @param name the name of the limit in the `RateLimit` header fields
 * @param rate undefined for no limit
 * @param capacity minimum capacity of a bucket; the actual capacity is never less than the rate's amount
 * @param now returns the time of a monotonic clock in milliseconds
 */
export function createRateLimit(name: string, rate: Rate | undefined, capacity: number, now: () => number): RateLimit {
  if (!rate) return { check() {}, take() {} };
  const { amount: quota, window } = rate;
  const full = Math.max(capacity, rate.amount);
  const perMillisecond = rate.amount / (rate.window * 1000);
  const buckets = new LRUCache<string, { level: number; at: number }>({ max: MAX_BUCKETS });

  /** Refills a bucket up to now, and returns it if it contains an amount. */
  function bucketWith(key: string, amount: number) {
    const time = now();
    let bucket = buckets.get(key);
    if (!bucket) {
      bucket = { level: full, at: time };
      buckets.set(key, bucket);
    }
    bucket.level = Math.min(full, bucket.level + (time - bucket.at) * perMillisecond);
    bucket.at = time;
    if (bucket.level >= amount) return bucket;
    throw new ApiError('rate_limited', {
      retryAfter: Math.ceil((amount - bucket.level) / perMillisecond / 1000),
      quota: { name, amount: quota, window, remaining: Math.floor(bucket.level) },
    });
  }

  return {
    check: (key, amount) => void bucketWith(key, amount),
    take(key, amount) {
      bucketWith(key, amount).level -= amount;
    },
  };
}
