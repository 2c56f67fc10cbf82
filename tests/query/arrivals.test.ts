import { afterAll, expect, test } from 'bun:test';
import {
  type Arrivals,
  type ArrivalsQuery,
  quiet as listQuiet,
  type QuietQuery,
  type QuietSeries,
} from '../../src/query/arrivals.ts';
import { createBudget } from '../../src/query/budget.ts';
import { SERIES_PER_CHECK } from '../../src/storage/columns/series-reader.ts';
import { LIMITS, type NewRow, TestDatabase } from './test-database.ts';

const MINUTE = 60e6;
const HOUR = 60 * MINUTE;
const START = Date.UTC(2026, 5, 1) * 1000;

const database = new TestDatabase();
afterAll(() => database.close());

function row(name: string, user: string, time: number, kind: NewRow['kind'] = 'metric'): NewRow {
  return { kind, name, user, label: '', time, value: 1 };
}
const quiet = (query: Partial<QuietQuery>): QuietSeries[] =>
  JSON.parse(database.engine.queries.quiet({ from: 0, to: 1e18, limit: 10, maxNameLength: 200, named: [], ...query }));
const arrivals = (query: Partial<ArrivalsQuery>): Arrivals =>
  JSON.parse(
    database.engine.queries.arrivals({
      kind: 'metric',
      name: 'dense',
      from: START,
      to: START + 10 * HOUR,
      maxUsers: 10,
      ...query,
    }),
  );

/** Rows per minute of 12 users for six hours, without those from 2:05 to 3:20; and one row per hour of 3 users. */
const ROWS = [
  ...Array.from({ length: 360 }, (_, i) => row('dense', `u${i % 12}`, START + i * MINUTE)).filter(
    ({ time }) => time < START + 125 * MINUTE || time >= START + 200 * MINUTE,
  ),
  ...Array.from({ length: 4 }, (_, i) => row('sparse', `u${i % 3}`, START + i * HOUR, 'analytics')),
  row('x'.repeat(201), 'u', START),
];

// the rows are in the memtable first, then in sealed chunks, of which only the dense ones have summaries
test.each([false, true])('finds quiet series and how they arrived (sealed: %p)', async (isSealed) => {
  if (!isSealed) await database.record(ROWS);
  database.restart({ flushed: isSealed });
  const dense = { kind: 'metric', name: 'dense', firstAt: START, lastAt: START + 359 * MINUTE };
  const sparse = { kind: 'analytics', name: 'sparse', firstAt: START, lastAt: START + 3 * HOUR };
  expect(quiet({})).toEqual([dense, sparse] as QuietSeries[]);
  expect(quiet({ limit: 1 })).toEqual([dense] as QuietSeries[]);
  expect(quiet({ to: dense.lastAt })).toEqual([sparse] as QuietSeries[]);
  expect(quiet({ from: dense.lastAt })).toEqual([dense] as QuietSeries[]);
  const named = [{ kind: 'analytics', name: 'sparse' } as const, { kind: 'metric', name: 'none' } as const];
  expect(quiet({ named, from: dense.lastAt })).toEqual([sparse, dense] as QuietSeries[]);
  expect(quiet({ named })).toEqual([sparse, dense] as QuietSeries[]);

  // 2:04 to 3:20, in whole quarter hours: 2:00 to 3:30
  expect(arrivals({})).toEqual({ users: 10, longestGapSeconds: 5_400 });
  expect(arrivals({ maxUsers: 99 })).toEqual({ users: 12, longestGapSeconds: 5_400 });
  expect(arrivals({ from: START + 200 * MINUTE })).toEqual({ users: 10, longestGapSeconds: 1_800 });
  expect(arrivals({ to: START + 5 * MINUTE })).toEqual({ users: 5, longestGapSeconds: 0 });
  // 2:20 to 3:20, in whole quarter hours: the time before the first row counts if the series is older than the range
  expect(arrivals({ from: START + 140 * MINUTE }).longestGapSeconds).toBe(4_500);
  expect(arrivals({ from: START - 10 * HOUR }).longestGapSeconds).toBe(5_400);
  expect(arrivals({ kind: 'analytics', name: 'sparse' })).toEqual({ users: 3, longestGapSeconds: 4_500 });
  expect(arrivals({ name: 'none' })).toEqual({ users: 0, longestGapSeconds: 0 });
});

test('a scan of many series checks its limits', async () => {
  const many = new TestDatabase();
  try {
    await many.record(Array.from({ length: SERIES_PER_CHECK + 1 }, (_, i) => row(`n${i}`, 'u', START)));
    const store = many.openStore();
    let checks = 0;
    const budget = { ...createBudget(LIMITS), check: () => void checks++ };
    const query = { from: 0, to: 1e18, limit: 1, maxNameLength: 9, named: [] };
    expect([...listQuiet(store, query, budget)]).toHaveLength(1);
    expect(checks).toBe(5); // before the index is read, and twice per loop
  } finally {
    many.close();
  }
});
