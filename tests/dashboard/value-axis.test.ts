import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { layOut } from '../../src/dashboard/page/chart/panes.ts';
import { capOf, valueAxis } from '../../src/dashboard/page/chart/value-axis.ts';
import { COUNT, unitNamed } from '../../src/dashboard/page/units.ts';

const OPTIONS = { unit: COUNT, isZeroBased: true, isLogarithmic: false, isCapped: false };

test('an axis contains zero and every value, and has two to five ticks at round values', () => {
  const axis = valueAxis([120, 980], OPTIONS);
  expect(axis.ticks).toEqual([0, 250, 500, 750, 1_000]);
  expect(axis.placeOf(0)).toBe(0);
  expect(axis.base).toBe(0);
  expect(axis.startsAt).toBeUndefined();
  expect(valueAxis([-3, 5], OPTIONS)).toMatchObject({ ticks: [-2, 0, 2, 4] });
  expect(valueAxis([0, 0], OPTIONS).ticks).toEqual([0, 1]);
  expect(valueAxis([], OPTIONS).ticks[0]).toBe(0);
  expect(valueAxis([Number.MIN_VALUE], OPTIONS).ticks).toEqual([0, 1]);
  // no halves of an event
  expect(valueAxis([1, 2], OPTIONS).ticks).toEqual([0, 1, 2]);
  const value = fc.double({ noNaN: true, noDefaultInfinity: true });
  const flags = fc.tuple(fc.boolean(), fc.boolean(), fc.boolean());
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 20 }), flags, (values, isTrue) => {
      const [isZeroBased, isLogarithmic, isCapped] = isTrue;
      const { ticks, placeOf } = valueAxis(values, { unit: unitNamed(''), isZeroBased, isLogarithmic, isCapped });
      expect(ticks.length).toBeLessThanOrEqual(5);
      expect([...new Set(ticks)]).toEqual([...ticks]);
      for (const place of values.map(placeOf)) {
        if (place === null) continue;
        expect(place).toBeGreaterThanOrEqual(0);
        expect(place).toBeLessThanOrEqual(1);
      }
    }),
  );
});

test('a logarithmic axis is linear where the cap leaves no positive value', () => {
  const values = [-5, -5, -4, -4, -4, -3, -3, -3, 100];
  const axis = valueAxis(values, { ...OPTIONS, isLogarithmic: true, isCapped: true });
  expect(axis).toMatchObject({ cap: -3, above: 1, unplaced: 0 });
  expect(axis.ticks.length).toBeWithin(2, 6);
});

test('durations have ticks at round numbers of minutes and hours', () => {
  const ticks = (unit: string, max: number) => valueAxis([max], { ...OPTIONS, unit: unitNamed(unit) }).ticks;
  expect(ticks('s', 1_700)).toEqual([0, 600, 1_200, 1_800]);
  expect(ticks('ms', 500_000)).toEqual([0, 180_000, 360_000]);
  expect(ticks('s', 40_000)).toEqual([0, 10_800, 21_600, 32_400]);
  expect(ticks('s', 0.9)).toEqual([0, 0.25, 0.5, 0.75]);
});

test('an axis leaves zero out only if it may and the values are close to each other, and says so', () => {
  const options = { ...OPTIONS, unit: unitNamed('s'), isZeroBased: false };
  const close = valueAxis([0.7, 0.74], options);
  expect(close.startsAt).toBeGreaterThan(0.6);
  expect(close.startsAt).toBeLessThan(0.7);
  expect(valueAxis([0.3, 0.74], options).startsAt).toBeUndefined();
  expect(valueAxis([0.7, 0.74], { ...options, isZeroBased: true }).startsAt).toBeUndefined();
  const line = { label: 'p50', values: [0.7, 0.74], color: '--chart-1' } as const;
  const { notes, canFill } = layOut({ ...options, lines: [line], isShown: [true] });
  expect(notes).toEqual([expect.stringMatching(/^The axis starts at 0\.6\d* s, not at zero\.$/)]);
  expect(canFill).toEqual([false]);
});

test('a cap cuts off outliers, counts them and says so', () => {
  const values = [1, 2, 2, 3, 3, 3, 4, 4, 5, 90, 400];
  expect(capOf(values)).toBe(5);
  expect(capOf([1, 2, 3, 4, 5, 6, 7, 8, 9])).toBeUndefined();
  expect(capOf([1, 1, 100])).toBeUndefined();
  expect(capOf([2, 2, 2, 2, 2, 2, 2, 2, 100])).toBe(2);
  const line = { label: 'x', values, color: '--chart-1' } as const;
  const capped = layOut({ ...OPTIONS, isCapped: true, lines: [line], isShown: [true] });
  expect(capped.notes).toEqual(['2 values above 5 cut off at the top.']);
  expect(capped.heights[0]?.slice(-2)).toEqual([1, 1]);
  expect(capped.heights[0]?.[8]).toBeGreaterThan(0.9);
  expect(layOut({ ...OPTIONS, lines: [line], isShown: [true] }).notes).toEqual([]);
  const even = { ...line, values: [1, 2, 3] };
  expect(layOut({ ...OPTIONS, isCapped: true, lines: [even], isShown: [true] }).notes).toEqual([
    'No outliers to cut off.',
  ]);
});

test('a logarithmic axis has ticks at powers of ten, and says which values it cannot show', () => {
  const axis = valueAxis([1, 10, 1_000, 100_000], { ...OPTIONS, isLogarithmic: true });
  expect(axis.ticks).toEqual([1, 100, 10_000]);
  const place = (value: number) => axis.placeOf(value) ?? Number.NaN;
  expect(place(100) - place(10)).toBeCloseTo(place(100_000) - place(10_000), 9);
  expect(axis.placeOf(0)).toBeNull();
  expect(valueAxis([1, 11], { ...OPTIONS, isLogarithmic: true }).ticks).toEqual([1, 2, 5, 10]);
  expect(valueAxis([3, 4], { ...OPTIONS, isLogarithmic: true }).ticks.length).toBeGreaterThan(1);
  const line = { label: 'x', values: [0, 0, 10, null], color: '--chart-1' } as const;
  const options = { ...OPTIONS, isLogarithmic: true, isShown: [true] };
  expect(layOut({ ...options, lines: [line] }).notes).toEqual([
    'Logarithmic axis.',
    '2 values of zero or less cannot be shown on it.',
  ]);
  // a missing bar says zero
  expect(layOut({ ...options, lines: [{ ...line, shape: 'bars' }] }).notes).toEqual(['Logarithmic axis.']);
  expect(layOut({ ...options, lines: [line] }).heights[0]?.slice(0, 2)).toEqual([null, null]);
});

test('a line in a pane of its own is as high as its pane, however small its values', () => {
  const events = { label: 'Events', values: [90_000, 50_000], color: '--chart-1', shape: 'bars' } as const;
  const users = { label: 'Users', values: [12, 6], color: '--chart-3', pane: 1 } as const;
  const both = layOut({ ...OPTIONS, lines: [events, users], isShown: [true, true] });
  expect(both.panes).toBe(2);
  const [upper = [], lower = []] = both.heights;
  expect(Math.min(...upper.map(Number))).toBeGreaterThan(Math.max(...lower.map(Number)));
  expect(lower[0]).toBeGreaterThan(0.2);
  expect(both.bases).toEqual([0.4, 0]);
  // a hidden line leaves its room to the others
  const one = layOut({ ...OPTIONS, lines: [events, users], isShown: [false, true] });
  expect(one.panes).toBe(1);
  expect(one.heights[1]?.[0]).toBeGreaterThan(0.9);
  expect(one.heights[0]).toEqual([null, null]);
});
