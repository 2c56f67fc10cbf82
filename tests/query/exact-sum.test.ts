import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { exactSum } from '../../src/storage/columns/exact-sum.ts';
import { nearest, exactSum as reference } from './reference-queries.ts';

const sumOf = (...values: number[]) => exactSum(Float64Array.from(values), () => {});

describe('a sum', () => {
  test.each([
    [[1e16, 1, 1, 1, 1, -1e16], 4],
    [[1e300, 1e150, 1, -1e300, -1e150], 1],
    [[0.1, 0.1, 0.1], 0.30000000000000004],
    [[5e-324, 5e-324, -5e-324], 5e-324],
    [[-1284.0647937087247], -1284.0647937087247],
    [[Number.MAX_VALUE, Number.MAX_VALUE, -Number.MAX_VALUE, -Number.MAX_VALUE, 1], 1],
    [[-0], 0],
    // halfway between two doubles, and then a little more or less
    [[1, 2 ** -53], 1],
    [[1, 2 ** -53, 2 ** -150], 1 + 2 ** -52],
    [[1, 2 ** -53, -(2 ** -150)], 1],
    [[1, -(2 ** -54), -(2 ** -150)], 1 - 2 ** -53],
    [[1 + 2 ** -52, 2 ** -53, -(2 ** -800)], 1 + 2 ** -52],
    [[-1, -(2 ** -53), -(2 ** -1000)], -1 - 2 ** -52],
    [[1, -1], 0],
  ])('of %p is %p', (values, sum) => {
    expect(sumOf(...values)).toMatchObject({ sum, overflow: false });
  });

  test('is exact and rounded once, for any finite values in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 40 }),
        (values) => {
          const exact = nearest(reference(values), 1n);
          const { sum, overflow } = sumOf(...values);
          expect(overflow).toBe(!Number.isFinite(exact));
          expect(sum).toBe(overflow ? Math.sign(exact) * Number.MAX_VALUE : exact + 0);
          expect(sumOf(...values.toReversed()).sum).toBe(sum);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe('a sum of many values', () => {
  /** Values of every magnitude, whose sum does not fit in three doubles, followed by all but one of them negated. */
  const spread = Array.from({ length: 6_000 }, (_, i) => (i + 1) * 2 ** (((i * 37) % 1_900) - 1_000));
  const values = [...spread, ...spread.slice(1).map((value) => -value)];

  test('of very different magnitudes is exact and can be interrupted', () => {
    let checks = 0;
    const sum = exactSum(Float64Array.from(values), () => {
      checks++;
    });
    expect(sum).toEqual({ sum: spread[0] as number, overflow: false, mean: nearest(reference(values), 11_999n) });
    expect(checks).toBeGreaterThan(2);
    const late = () => {
      throw new Error('late');
    };
    expect(() => exactSum(Float64Array.from(values), late)).toThrow('late');
  });
});

describe('a mean', () => {
  test('is within one unit in the last place of the exact quotient, for any finite values in any order', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ noNaN: true, noDefaultInfinity: true, max: 1e300, min: -1e300 }), {
          minLength: 1,
          maxLength: 40,
        }),
        (values) => {
          const exact = nearest(reference(values), BigInt(values.length));
          const { mean } = sumOf(...values);
          expect(Math.abs(mean - exact)).toBeLessThanOrEqual(Math.max(Math.abs(exact) * Number.EPSILON, 5e-324));
          expect(sumOf(...values.toReversed()).mean).toBe(mean);
        },
      ),
      { numRuns: 2_000 },
    );
  });

  test.each([
    [[0.1, 0.1, 0.1], 0.1],
    [[1.7e308, 1.7e308], 1.7e308],
    [[-1.7e308, -1.7e308, -1.7e308], -1.7e308],
    [[Number.MAX_VALUE, Number.MAX_VALUE, 0], (Number.MAX_VALUE / 3) * 2],
  ])('of %p is %p', (values, mean) => {
    expect(sumOf(...values).mean).toBe(mean);
  });
});

test('Math.sumPrecise rounds negative sums incorrectly in this runtime', () => {
  // if this fails, Bun has fixed it: remove the workaround in preciseSum
  expect(Math.sumPrecise([-1284.0647937087247])).not.toBe(-1284.0647937087247);
});
