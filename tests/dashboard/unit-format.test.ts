import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { columnFormatter, formatExact, formatFigure, tickFormatter } from '../../src/dashboard/page/unit-format.ts';
import { COUNT, FRACTION, unitNamed, unitOf } from '../../src/dashboard/page/units.ts';

const figures = (unit: string, ...values: (number | null)[]) => values.map((v) => formatFigure(v, unitNamed(unit)));

test('figures have three significant digits and their unit', () => {
  expect([0, 9_025, 12_480, 509_512, 2e9, -1_896, 0.71234, null].map((v) => formatFigure(v, COUNT))).toEqual([
    '0',
    '9,025',
    '12.5k',
    '510k',
    '2B',
    '−1,896',
    '0.712',
    '–',
  ]);
  expect(figures('ms', 84, 84.25, 999, 1_250, 0.02, 372_000)).toEqual([
    '84 ms',
    '84.3 ms',
    '999 ms',
    '1.25 s',
    '20 µs',
    '6 m 12 s',
  ]);
  expect(figures('s', 0.71, 0.0421, 12.44, 59.96, 60, 372, 3_600, 7_500, 90_000, 9e6, -372)).toEqual([
    ...['0.71 s', '42.1 ms', '12.4 s', '1 m', '1 m', '6 m 12 s', '1 h', '2 h 5 m', '1 d 1 h', '104 d', '−6 m 12 s'],
  ]);
  expect(figures('bytes', 0, 812, 48_100, 1.5e9, -2_000)).toEqual([
    '0 bytes',
    '812 bytes',
    '48.1 kB',
    '1.5 GB',
    '−2 kB',
  ]);
  expect(figures('kB', 48.1)).toEqual(['48.1 kB']);
  expect(figures('€', 38.2, 38, 1_234.56, 266_012, 0.004, -5.5)).toEqual([
    '€38.20',
    '€38',
    '€1,235',
    '€266k',
    '€0.004',
    '−€5.50',
  ]);
  expect(figures('%', 71.234, 0)).toEqual(['71.2%', '0%']);
  expect(formatFigure(0.25, FRACTION)).toBe('25%');
  expect(figures('jobs', 12, 12_000)).toEqual(['12 jobs', '12k jobs']);
});

test('zero has the unit that values are recorded in', () => {
  expect(['ms', 's', 'min', 'µs', 'bytes', '€', '%'].flatMap((unit) => figures(unit, 0))).toEqual([
    ...['0 ms', '0 s', '0 s', '0 µs', '0 bytes', '€0', '0%'],
  ]);
});

test('extreme figures stay short', () => {
  for (const unit of ['', 's', 'ns', 'bytes', '€', '%', 'jobs']) {
    for (const value of [1.7976931348623157e308, -1e300, 5e-324, 1e-9, 1e15]) {
      expect(formatFigure(value, unitNamed(unit)).length).toBeLessThan(20);
      expect(columnFormatter([value, 1], unitNamed(unit))(value).length).toBeLessThan(24);
      expect(tickFormatter([0, value], unitNamed(unit))(value).length).toBeLessThan(20);
    }
  }
});

test('exact figures keep every digit, in the unit they are recorded in', () => {
  expect(formatExact(1_234_567.891, unitNamed('ms'))).toBe('1,234,567.891 ms');
  expect(formatExact(0.1 + 0.2, COUNT)).toBe('0.30000000000000004');
  expect(formatExact(-12_480, COUNT)).toBe('−12,480');
  expect(formatExact(1e21, unitNamed('€'))).toBe('1E21 EUR');
  expect(formatExact(1e-7, unitNamed('s'))).toBe('1E−7 s');
  fc.assert(
    fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (value) => {
      expect(Number(formatExact(value, COUNT).replaceAll(',', '').replaceAll('−', '-')) === value).toBe(true);
    }),
  );
});

const column = (unit: string, ...values: (number | null)[]) => values.map(columnFormatter(values, unitNamed(unit)));

test('the cells of a column share their unit and decimals', () => {
  expect(column('s', 0.712, 12.5, 1, null)).toEqual(['0.71 s', '12.50 s', '1.00 s', '–']);
  expect(column('ms', 84, 1_250, 9)).toEqual(['84 ms', '1,250 ms', '9 ms']);
  expect(column('ms', 84.25, 12_250, 0.002)).toEqual(['84.3 ms', '12,250.0 ms', '<0.1 ms']);
  expect(column('bytes', 48_123, 912, 1_200_000)).toEqual(['48.1 kB', '0.9 kB', '1,200.0 kB']);
  expect(column('€', 38.2, 5, 12.999)).toEqual(['€38.20', '€5.00', '€13.00']);
  expect(column('€', 12_345.6, 9_999.5)).toEqual(['€12,346', '€10,000']);
  expect(column('', 3, 12_345)).toEqual(['3', '12,345']);
  expect(column('', -0.001, 1.5, 2.25)).toEqual(['>−0.01', '1.50', '2.25']);
  expect(column('s', 372, 5, 7_500)).toEqual(['6 m 12 s', '5 s', '2 h 5 m']);
  expect(column('', 1, 1e300)).toEqual(['1', '1E300']);
  expect(columnFormatter([], unitNamed('s'))(null)).toBe('–');
});

test('ticks are short, carry the unit and differ', () => {
  const ticks = (unit: string, ...values: number[]) => values.map(tickFormatter(values, unitNamed(unit)));
  expect(ticks('', 0, 600, 1_200)).toEqual(['0', '600', '1,200']);
  expect(ticks('', 0, 12_500, 25_000)).toEqual(['0', '12.5k', '25k']);
  expect(ticks('ms', 0, 500, 1_000, 1_500)).toEqual(['0', '0.5 s', '1.0 s', '1.5 s']);
  expect(ticks('s', 0, 0.25, 0.5)).toEqual(['0', '0.25 s', '0.50 s']);
  expect(ticks('s', 0, 300, 600)).toEqual(['0', '5 m', '10 m']);
  expect(ticks('bytes', 0, 50_000, 100_000)).toEqual(['0', '50 kB', '100 kB']);
  expect(ticks('€', 0, 100, 200)).toEqual(['€0', '€100', '€200']);
  expect(ticks('%', 0, 25, 50)).toEqual(['0', '25%', '50%']);
  expect([0, 0.25, 0.5].map(tickFormatter([0, 0.25, 0.5], FRACTION))).toEqual(['0', '25%', '50%']);
  expect(ticks('s', 0.1, 0.2, 0.3)).toEqual(['0.1 s', '0.2 s', '0.3 s']);
  expect(tickFormatter([0, 2], unitOf('page_load_time'))(2)).toBe('2 s');
});
