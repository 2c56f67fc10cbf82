import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { ApiError } from '../../src/errors.ts';
import { parseRate } from '../../src/formats/rate.ts';
import { createRateLimit } from '../../src/ingest/rate-limit.ts';

describe('a token bucket', () => {
  test('never allows more than its capacity plus the refill', () => {
    const steps = fc.array(fc.tuple(fc.nat(5_000), fc.integer({ min: 1, max: 40 })), { maxLength: 200 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 100 }), (takes, amount) => {
        let clock = 0;
        const limit = createRateLimit('rows', { amount, window: 1 }, 50, () => clock);
        const full = Math.max(50, amount);
        let taken = 0;
        for (const [pause, wanted] of takes) {
          clock += pause;
          try {
            limit.take('u', wanted);
            taken += wanted;
          } catch (error) {
            // after Retry-After, the amount is available, because nothing else takes from the bucket
            const { retryAfter = 0 } = error as ApiError;
            clock += retryAfter * 1000;
            limit.take('u', wanted);
            taken += wanted;
          }
          expect(taken).toBeLessThanOrEqual(full + (clock / 1000) * amount + 1e-6);
        }
      }),
    );
  });

  test('is evicted if there are too many users', () => {
    const limit = createRateLimit('rows', { amount: 1, window: 3600 }, 1, () => 0);
    for (let i = 0; i < 250_000; i++) limit.take(`user-${i}`, 1);
    expect(() => limit.take('user-249999', 1)).toThrow(ApiError);
  });

  test('does not limit anything if the rate is off', () => {
    const limit = createRateLimit('rows', parseRate('off'), 1, () => 0);
    for (let i = 0; i < 1000; i++) limit.take('u', 1e9);
  });
});

describe('parseRate', () => {
  test.each([
    ['1000/s', { amount: 1000, window: 1 }],
    ['60/m', { amount: 60, window: 60 }],
    ['1/h', { amount: 1, window: 3600 }],
    ['OFF', undefined],
  ])('parses %s', (text, rate) => expect(parseRate(text)).toEqual(rate));
  test.each(['', '1000', '0/s', '-1/s', '1/d', '1.5/s', '1 / s', 'none'])('rejects %p', (text) =>
    expect(() => parseRate(text)).toThrow(RangeError),
  );
});
