import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  type Address,
  COMPARISONS,
  KINDS,
  linkTo,
  OPERATORS,
  PERIODS,
  REFRESH_INTERVALS,
  readAddress,
  STATISTICS,
  VIEWS,
  WEEK_STARTS,
} from '../../src/dashboard/page/address.ts';
import { INTERVALS, RANGES } from '../../src/dashboard/page/time.ts';

const text = fc.string({ unit: 'grapheme', minLength: 0, maxLength: 20 });
const maybe = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined });
const ends = fc
  .tuple(fc.integer({ min: -8e12, max: 7e12 }), fc.integer({ min: 1, max: 1e11 }))
  .map(([from, length]) => ({
    ...{ range: 'custom', from: new Date(from), to: new Date(from + length) },
    span: [undefined, '7d', '1M', '24h'][length % 4],
  }));
const named = fc
  .constantFrom(...RANGES.map(({ name }) => name), 'all')
  .map((range) => ({ range, from: undefined, to: undefined, span: undefined }));
// a path may contain anything; one that ends in an operator's sign would read as that operator
const property = text
  .filter((path) => path !== '' && !/[!~]$/.test(path))
  .map((path): `data.${string}` => `data.${path}`);
const filter = fc.record({
  field: fc.oneof(fc.constant('label' as const), property),
  operator: fc.constantFrom(...OPERATORS),
  value: text,
});
const address: fc.Arbitrary<Address> = fc
  .tuple(
    fc.oneof(ends, named),
    fc.record({
      view: fc.constantFrom(...VIEWS),
      zone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kolkata'),
      interval: fc.constantFrom('auto' as const, ...INTERVALS.map(({ name }) => name)),
      refresh: fc.constantFrom(...REFRESH_INTERVALS),
      user: maybe(text.filter((user) => user !== '')),
      name: maybe(text),
      filters: fc.array(filter, { maxLength: 5 }),
      compare: maybe(fc.constantFrom(...COMPARISONS)),
      statistic: maybe(fc.constantFrom(...STATISTICS)),
      split: maybe(fc.constantFrom(...STATISTICS)),
      property: maybe(property),
      sum: maybe(property),
      logarithmic: fc.boolean(),
      capped: fc.boolean(),
      sort: maybe(fc.constantFrom('change', '-change', 'p95')),
      top: fc.integer({ min: 1, max: 1000 }),
      steps: fc.array(text, { maxLength: 20 }),
      within: fc.constantFrom('1h', '7d', '90s'),
      retention: maybe(text),
      returning: maybe(text),
      period: fc.constantFrom(...PERIODS),
      weekStart: fc.constantFrom(...WEEK_STARTS),
      board: maybe(text.filter((id) => id !== '')),
      boardRange: maybe(fc.constantFrom('7d', 'last-month', 'all')),
      kind: fc.constantFrom(...KINDS),
      live: fc.boolean(),
    }),
  )
  .map(([range, others]) => ({ ...range, ...others }));

test('round-trips every address through its URL', () => {
  fc.assert(
    fc.property(address, (chosen) => {
      expect(readAddress(linkTo(chosen).slice(1))).toEqual(chosen);
    }),
    { numRuns: 1000 },
  );
});

test('reads any query string as a valid address', () => {
  fc.assert(
    fc.property(fc.webQueryParameters(), fc.webQueryParameters(), (parameters, value) => {
      const names = ['view', 'range', 'from', 'to', 'tz', 'interval', 'refresh', 'top', 'within', 'split', 'kind'];
      const search = `?${parameters}&${names.map((name) => `${name}=${value}`).join('&')}`;
      const read = readAddress(search);
      expect(readAddress(linkTo(read).slice(1))).toEqual(read);
    }),
  );
  for (const tz of ['+05:30', 'Mars/Base', '']) expect(readAddress(`?tz=${tz}`).zone).toMatch(/^[A-Z]/);
  expect(readAddress('?from=-271821-04-20T00:00:00Z&to=2026-01-01T00:00:00Z').range).toBe('7d');
  expect(readAddress('?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z').range).toBe('7d');
  expect(readAddress('?within=0s').within).toBe('7d');
});
