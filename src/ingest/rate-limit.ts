import { LRUCache } from 'lru-cache';
import { ApiError } from '../errors.ts';
import type { Rate } from '../formats/rate.ts';

/** Buckets kept at once, about 10 MB; beyond it the one that was not used for longest is forgotten, full as it may be. */
const MAX_BUCKETS = 100_000;

/** Limits how much each of many takes. */
export interface RateLimit {
  /** @throws {ApiError} `rate_limited` if a bucket holds less than an amount */
  check(key: string, amount: number): void;
  /**
   * Takes an amount out of a bucket.
   *
   * @throws {ApiError} `rate_limited` if it holds less; nothing is taken then
   */
  take(key: string, amount: number): void;
}

/** An amount to take out of a bucket. */
export interface Withdrawal {
  readonly limit: RateLimit;
  readonly key: string;
  readonly amount: number;
}

/**
 * Takes several amounts out of different buckets.
 *
 * @throws {ApiError} `rate_limited` if one of them holds less; nothing is taken then
 */
export function takeAll(withdrawals: readonly Withdrawal[]): void {
  for (const { limit, key, amount } of withdrawals) limit.check(key, amount);
  for (const { limit, key, amount } of withdrawals) limit.take(key, amount);
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
  if (!rate) return { check() {}, take() {} };
  const { amount: quota, window } = rate;
  const full = Math.max(capacity, rate.amount);
  const perMillisecond = rate.amount / (rate.window * 1000);
  const buckets = new LRUCache<string, { level: number; at: number }>({ max: MAX_BUCKETS });

  /** Returns a bucket that holds an amount, filled up to now. */
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
