import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBudget } from '../../src/query/budget.ts';
import { serialize } from '../../src/query/serialize.ts';
import { series } from '../../src/query/series.ts';
import { RunSelection } from '../../src/query/sorted-runs.ts';
import { exactSum, sumInThreeParts } from '../../src/storage/columns/exact-sum.ts';
import { mergeHours } from '../../src/storage/columns/merged-hours.ts';
import { runJob } from '../../src/storage/job.ts';
import { generator } from './random-data.ts';
import * as reference from './reference-queries.ts';
import { expectSame, LIMITS, type NewRow, type Query, TestDatabase } from './test-database.ts';

/*
 * Charts that are computed from the summaries of chunks. A chunk has them if its rows are dense: see columns/summary.ts.
 */

/** Stands for a sum that does not fit in three doubles. */
const NO_SUM = [Number.NaN, Number.NaN, Number.NaN] as const;
const MINUTE = 60e6;
const HOUR = 60 * MINUTE;
const START = Date.parse('2026-03-28T20:00:00Z') * 1000;

/** Values of many distributions: with many equal ones, far outliers, and of every magnitude. */
const value = fc.oneof(
  fc.integer({ min: -3, max: 3 }),
  fc.double({ min: -1e6, max: 1e6, noNaN: true }),
  fc.oneof({ weight: 20, arbitrary: fc.double({ min: 0, max: 1, noNaN: true }) }, fc.constant(1e300)),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
);

test('finds the values at every rank of sorted runs', () => {
  const repetitions = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 300 }));
  const run = fc.tuple(fc.array(value, { minLength: 1, maxLength: 20 }), repetitions);
  fc.assert(
    fc.property(fc.array(run, { minLength: 1, maxLength: 12 }), (patterns) => {
      const sources = patterns.map(([pattern, repetitions]) =>
        Float64Array.from(
          { length: pattern.length * repetitions },
          (_, i) => (pattern[i % pattern.length] as number) + Math.floor(i / pattern.length) * 0.25,
        ).sort(),
      );
      const runs = {
        sources,
        sourceOf: Uint32Array.from(sources, (_, i) => i),
        starts: new Uint32Array(sources.length),
        ends: Uint32Array.from(sources, ({ length }) => length),
      };
      const sorted = Float64Array.from(sources.flatMap((values) => [...values])).sort();
      const last = sorted.length - 1;
      const ranks = [0, 0.01, 0.25, 0.5, 0.95, 0.99, 1].map((fraction) => Math.floor(fraction * last));
      const found = new Float64Array(2 * ranks.length);
      new RunSelection(runs, () => {}).find(0, sources.length, ranks, found);
      expect([...found].map((value) => value + 0)).toEqual(
        ranks.flatMap((rank) => [rank, Math.min(rank + 1, last)]).map((rank) => (sorted[rank] as number) + 0),
      );
    }),
  );
});

test('merges the values of hours up to each start', () => {
  const hour = fc.record({
    number: fc.integer({ min: -5, max: 60 }),
    values: fc.array(value, { minLength: 1, maxLength: 8 }),
    removed: fc.integer({ min: 0, max: 2 }), // NaN at the end of the hour
  });
  fc.assert(
    fc.property(
      fc.uniqueArray(hour, { selector: ({ number }) => number, minLength: 1, maxLength: 30 }),
      fc.uniqueArray(fc.integer({ min: -6, max: 61 }), { maxLength: 6 }),
      (unordered, unorderedStarts) => {
        const all = unordered.toSorted((a, b) => a.number - b.number);
        const starts = unorderedStarts.toSorted((a, b) => a - b);
        const sorted = all.flatMap(({ values, removed }) => [
          ...Float64Array.from(values).sort(),
          ...Array<number>(removed).fill(Number.NaN),
        ]);
        const lengths = all.map(({ values, removed }) => values.length + removed);
        const firsts = lengths.map((_, i) => lengths.slice(0, i).reduce((sum, length) => sum + length, 0));
        const sumOf = (values: readonly number[]) => sumInThreeParts(Float64Array.from(values)) ?? NO_SUM;
        const merged = mergeHours(
          {
            numbers: Int32Array.from(all, ({ number }) => number),
            starts: Uint32Array.from(firsts),
            ends: Uint32Array.from(firsts, (first, i) => first + (all[i]?.values.length ?? 0)),
            sums: Float64Array.from(all.flatMap(({ values }) => sumOf(values))),
            sorted: Float64Array.from(sorted),
          },
          starts,
        );
        const parts = [Number.NEGATIVE_INFINITY, ...starts]
          .map((start, i) => all.filter(({ number }) => number >= start && number < (starts[i] ?? Infinity)))
          .filter(({ length }) => length > 0);
        expect([...merged.numbers]).toEqual(parts.map(([first]) => first?.number ?? 0));
        for (const [i, part] of parts.entries()) {
          const values = Float64Array.from(part.flatMap(({ values }) => values)).sort();
          expect(merged.sorted.subarray(merged.starts[i], merged.ends[i])).toEqual(values);
          const sum = merged.sums.subarray(3 * i, 3 * i + 3);
          if (Number.isNaN(sum[0])) expect(sumInThreeParts(values)).toBeUndefined();
          else expect(exactSum(sum, () => {})).toMatchObject({ sum: exactSum(values, () => {}).sum });
        }
      },
    ),
    { numRuns: 1_000 },
  );
});

/** Numbers whose sums round, cancel or overflow. */
const VALUES = [0.1, 0.2, 0.3, -0.1, 1e16, -1e16, 1, 3, 1e-300, 1.5, 2.5];
const EXTREME_VALUES = [1.7e308, -1.7e308, 1e308, 5e-324, 2 ** 1000, -(2 ** 1000), 1, 2 ** -600];

/** Returns rows of a few hours, dense enough for summaries. Some are late. */
function denseRows(
  random: (below: number) => number,
  count: number,
  hours: number,
  values: readonly number[],
): NewRow[] {
  return Array.from({ length: count }, (_, i) => {
    const time = START + Math.floor((i / count) * hours * HOUR) - (random(10) === 0 ? random(3 * HOUR) : 0);
    return {
      kind: random(4) === 0 ? 'analytics' : 'metric',
      user: `user ${random(4)}`,
      name: 'load time',
      label: 'label',
      // microseconds, at and around full hours
      time: random(20) === 0 ? Math.floor(time / HOUR) * HOUR - random(2) : time,
      value: values[random(values.length)] as number,
    };
  });
}

const end = fc.oneof(
  fc.constant(undefined),
  fc.integer({ min: -2, max: 40 }).map((hours) => START + hours * HOUR),
  fc.integer({ min: -2, max: 160 }).map((quarters) => START + quarters * 15 * MINUTE),
  fc.integer({ min: -2 * HOUR, max: 40 * HOUR }).map((offset) => START + offset),
);
const query = fc
  .record({
    run: fc.constantFrom('series' as const, 'series' as const, 'activity' as const),
    from: end,
    to: end,
    zone: fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kolkata', 'Asia/Kathmandu', 'America/St_Johns'),
    interval: fc.option(
      fc.record({
        count: fc.constantFrom(1, 1, 2, 6),
        unit: fc.constantFrom('minute' as const, 'hour' as const, 'hour' as const, 'day' as const, 'week' as const),
      }),
      { nil: undefined, freq: 4 },
    ),
  })
  .map(({ run, ...query }): Query => {
    const common = { ...query, user: undefined };
    return run === 'series' ? { run, ...common, name: 'load time', top: undefined } : { run, ...common, top: 5 };
  });

test('charts from summaries equal those from rows, to the last bit of each sum', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 1e6 }),
      fc.array(fc.constantFrom('record', 'record', 'seal', 'erase', 'rebuild', 'restart'), {
        minLength: 2,
        maxLength: 6,
      }),
      fc.constantFrom(VALUES, VALUES, EXTREME_VALUES),
      fc.array(query, { minLength: 6, maxLength: 6 }),
      async (seed, steps, values, queries) => {
        const random = generator(seed);
        const database = new TestDatabase();
        await database.record(denseRows(random, 600 + random(600), 1 + random(30), values));
        database.restart({ flushed: true });
        for (const step of steps) {
          if (step === 'record') await database.record(denseRows(random, 20 + random(400), 1 + random(36), values));
          else if (step === 'seal') database.restart({ flushed: true });
          else if (step === 'restart') database.restart({ flushed: false });
          else if (step === 'rebuild') runJob(database.engine.maintenance.rebuild());
          else database.erase(`user ${random(4)}`);
        }
        // the hours of a chunk are merged once two queries in a row want the same parts of it
        for (const query of queries) for (let i = 0; i < 3; i++) database.check(query, true);
        const changed = queries.slice(0, 2);
        database.erase('user 0');
        for (const query of changed) for (let i = 0; i < 3; i++) database.check(query, true);
        database.close();
      },
    ),
    { numRuns: 12 },
  );
});

test('a chart by hour reads only the rows in the hours that the range cuts', async () => {
  const database = new TestDatabase();
  await database.record(denseRows(generator(7), 3_000, 20, VALUES));
  database.restart({ flushed: true });
  await database.record(denseRows(generator(8), 100, 2, VALUES));
  const rowsReadBy = (from: number, to: number, zone = 'UTC') => {
    const store = database.openStore();
    const query = { name: 'load time', user: undefined, top: undefined, zone, from, to };
    const hourly = { ...query, interval: { count: 1, unit: 'hour' } } as const;
    const budget = createBudget(LIMITS);
    const result = serialize(series(store, hourly, budget), budget);
    expectSame(JSON.parse(result), reference.series(database.rows, hourly));
    return store.rowsRead;
  };
  const metrics = database.rows.filter(({ kind }) => kind === 'metric').length;
  const unsealed = database.rows.slice(3_000).filter(({ kind }) => kind === 'metric').length;
  expect(rowsReadBy(START - 5 * HOUR, START + 30 * HOUR)).toBe(0);
  expect(rowsReadBy(START + 1, START + 30 * HOUR)).toBe(metrics); // cuts an hour of both chunks
  expect(rowsReadBy(START + 3 * HOUR, START + 9 * HOUR)).toBe(0);
  expect(rowsReadBy(START + 3 * HOUR, START + 9 * HOUR, 'Europe/Berlin')).toBe(0);
  expect(rowsReadBy(START + 3 * HOUR + 1, START + 9 * HOUR)).toBe(metrics - unsealed);
  expect(rowsReadBy(START + 3 * HOUR, START + 9 * HOUR, 'Asia/Kolkata')).toBe(2 * (metrics - unsealed));
  database.close();
});
