import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { valuesAt } from '../../src/query/percentiles.ts';

/** Values of many distributions: uniform, with far outliers, with few distinct values, and of every magnitude. */
const value = fc.oneof(
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.oneof({ weight: 50, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) }, fc.constant(1e300)),
  fc.integer({ min: -3, max: 3 }),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

test('returns the values at ranks of the sorted order for any distribution', () => {
  fc.assert(
    fc.property(
      fc.array(value, { minLength: 1, maxLength: 40 }),
      fc.integer({ min: 1, max: 300 }),
      (pattern, repetitions) => {
        // repeated, so that most inputs are too large to be sorted as a whole
        const values = Float64Array.from(
          { length: pattern.length * repetitions },
          (_, i) => (pattern[i % pattern.length] as number) + 0,
        );
        const sorted = Float64Array.from(values).sort();
        const ranks = [0, 0.5, 0.95, 0.99, 1].map((fraction) => Math.floor(fraction * (values.length - 1)));
        const found = valuesAt(values, ranks, sorted[0] as number, sorted.at(-1) as number);
        expect(found).toEqual(ranks.map((rank) => sorted[rank] as number));
      },
    ),
  );
});

test('returns the values at ranks of a hundred thousand distinct values', () => {
  const values = Float64Array.from({ length: 100_000 }, (_, i) => Math.sin(i) * 1e9);
  const sorted = Float64Array.from(values).sort();
  const ranks = [0, 1, 49_999, 50_000, 99_998, 99_999];
  expect(valuesAt(values, ranks, sorted[0] as number, sorted.at(-1) as number)).toEqual(
    ranks.map((rank) => sorted[rank] as number),
  );
});
