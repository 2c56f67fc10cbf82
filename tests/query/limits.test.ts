import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { activity } from '../../src/query/activity.ts';
import { createBudget, QueryCanceledError, type QueryLimits, QueryTooLargeError } from '../../src/query/budget.ts';
import { counts } from '../../src/query/counts.ts';
import { funnel } from '../../src/query/funnel.ts';
import { names } from '../../src/query/names.ts';
import { type RetentionQuery, retention } from '../../src/query/retention.ts';
import { serialize } from '../../src/query/serialize.ts';
import { series } from '../../src/query/series.ts';
import * as reference from './reference-queries.ts';
import {
  type CountingStore,
  countingBudget,
  expectSame,
  LIMITS,
  type NewRow,
  stepsOf,
  TestDatabase,
} from './test-database.ts';

const FROM = Date.parse('2026-03-02T00:00:00Z') * 1000;
const MINUTE = 60e6;
/** Nearly a week: the maximum number of buckets, in minutes. */
const SPAN = 10_000 * MINUTE;
const LABELS = 300;
const NAMES = 2_000;

let database: TestDatabase;
beforeAll(async () => {
  database = new TestDatabase();
  const row = (kind: NewRow['kind'], i: number): NewRow => ({
    kind,
    user: `user ${i % 40}`,
    name: 'wide',
    label: `label ${i % LABELS} ${'ß'.repeat(100)}`,
    time: FROM + (i % 997) * 10 * MINUTE,
    value: i / 7,
  });
  for (const kind of ['metric', 'analytics'] as const) {
    await database.record(Array.from({ length: 3_000 }, (_, i) => row(kind, i)));
  }
  // one user with many names, and another with two of them
  await database.record(
    Array.from({ length: NAMES }, (_, i) => ({ ...row('metric', 0), user: 'many', name: `name ${i}` })),
  );
  await database.record([0, 1].map((i) => ({ ...row('metric', i), user: 'few', name: `name ${i}` })));
});
afterAll(() => database.close());

const ends = { from: FROM, to: FROM + SPAN, user: undefined };
const base = { ...ends, name: 'wide', zone: 'UTC', interval: { count: 1, unit: 'minute' } } as const;
const wide = { ...base, top: 1_000 };
const narrow = { ...base, interval: { count: 1, unit: 'day' }, top: 3 } as const;
const everything = { ...base, interval: undefined, top: undefined };

/** Runs a query with its own limits, and returns the result and the number of rows read. */
function run(
  query: (store: CountingStore, budget: ReturnType<typeof createBudget>) => unknown,
  limits: Partial<QueryLimits> = {},
) {
  const store = database.openStore();
  const budget = createBudget({ ...LIMITS, ...limits });
  try {
    return { text: serialize(query(store, budget), budget), rowsRead: store.rowsRead };
  } catch (error) {
    return { error, rowsRead: store.rowsRead };
  }
}

const QUERIES = {
  series: (store, budget) => series(store, { ...narrow }, budget),
  counts: (store, budget) => counts(store, { ...narrow }, budget),
  activity: (store, budget) => activity(store, { ...narrow }, budget),
  'activity with unique users': (store, budget) => activity(store, { ...narrow, uniqueUsers: true }, budget),
  names: (store, budget) => names(store, 'metric', undefined, budget),
  funnel: (store, budget) =>
    funnel(store, { ...base, type: 'wide', steps: stepsOf('wide', 'label 1', 'label 2'), within: 60 }, budget),
  retention: (store, budget) =>
    retention(
      store,
      {
        ...base,
        type: 'wide',
        step: stepsOf('wide', database.rows[0]?.label ?? '')[0],
        returnStep: undefined,
        period: 'day',
        periods: 30,
      },
      budget,
    ),
} satisfies Record<string, Parameters<typeof run>[0]>;

describe.each(Object.entries(QUERIES))('%s', (_, query) => {
  test('returns a result of exactly the size limit, and rejects a larger one', () => {
    const { text = '' } = run(query);
    const bytes = Buffer.byteLength(text);
    expect(bytes).toBeGreaterThan(200);
    expect(run(query, { maxResultBytes: bytes })).toMatchObject({ text });
    expect(run(query, { maxResultBytes: bytes - 1 }).error).toBeInstanceOf(QueryTooLargeError);
  });

  test('stops at its deadline and when it is canceled', () => {
    expect(run(query, { timeoutMs: -1 }).error).toBeInstanceOf(QueryTooLargeError);
    expect(run(query, { isCanceled: () => true }).error).toBeInstanceOf(QueryCanceledError);
  });
});

describe('a result that exceeds the size limit', () => {
  test('because of its buckets is rejected before any row is read', () => {
    for (const query of [series, counts]) {
      const { error, rowsRead } = run((store, budget) => query(store, wide, budget), {
        maxResultBytes: 1e5,
      });
      expect(error).toBeInstanceOf(QueryTooLargeError);
      expect(rowsRead).toBe(0);
    }
    const top = { ...wide, top: 10 };
    for (const uniqueUsers of [false, true]) {
      const { error, rowsRead } = run((store, budget) => activity(store, { ...top, uniqueUsers }, budget), {
        maxResultBytes: 1e5,
      });
      expect(error).toBeInstanceOf(QueryTooLargeError);
      expect(rowsRead).toBe(0);
    }
  });

  test('because of its groups is rejected once the labels are known, before buckets are allocated', () => {
    for (const query of [series, counts]) {
      let reserved = 0;
      const store = database.openStore();
      const budget = createBudget(LIMITS);
      const counting = {
        ...budget,
        reserve(bytes: number) {
          reserved += bytes;
        },
      };
      expect(() => query(store, wide, counting)).toThrow(QueryTooLargeError);
      expect(store.rowsRead).toBe(3_000); // one scan for the labels
      expect(reserved).toBeLessThan(1e6); // three million buckets would need more
    }
  });

  test('because of its labels is rejected before rows are counted', () => {
    const query = { ...everything, top: 1_000 };
    const { error, rowsRead } = run((store, budget) => series(store, query, budget), { maxResultBytes: 40_000 });
    expect(error).toBeInstanceOf(QueryTooLargeError);
    expect(rowsRead).toBe(3_000);
  });
});

describe('an overview', () => {
  test('of a user reads only the series of that user, even if another user has many names', () => {
    const query = { ...narrow, user: 'few' };
    const overview = run((store, budget) => activity(store, query, budget));
    expectSame(JSON.parse(overview.text ?? ''), reference.activity(database.rows, query));
    expect(overview.rowsRead).toBeLessThan(10);
    const list = run((store, budget) => names(store, 'metric', 'few', budget));
    expectSame(JSON.parse(list.text ?? ''), reference.names(database.rows, 'metric', 'few'));
    expect(list.rowsRead).toBe(4);
  });

  test('of all users allocates buckets only for the most frequent names', () => {
    const budget = countingBudget();
    const query = { ...narrow, interval: base.interval, top: 2 };
    const text = serialize(activity(database.openStore(), query, budget), budget);
    expect(JSON.parse(text).metrics.other.names).toBe(NAMES + 1 - 2);
    expect(budget.reserved()).toBeLessThan(1e6); // 2,000 arrays would need 80 MB
  });

  test('with unique users needs memory for a few names at a time', () => {
    const budget = countingBudget();
    const query = { ...narrow, top: 1_000, uniqueUsers: true };
    const text = serialize(activity(database.openStore(), query, budget), budget);
    expectSame(JSON.parse(text), reference.activity(database.rows, query));
    expect(budget.reserved()).toBeLessThan(2e6);
  });
});

test('cohort retention of a user across event types reads only the types of that user', async () => {
  const other = new TestDatabase();
  const event = (user: string, name: string, days: number): NewRow => ({
    ...{ kind: 'analytics', user, name, label: 'a', time: FROM + days * 1_440 * MINUTE, value: 0 },
  });
  await other.record([
    ...[0, 1, 2].map((days) => event('few', `type ${days}`, days)),
    ...Array.from({ length: 500 }, (_, i) => event('many', `type ${i + 2}`, i % 7)),
  ]);
  const store = other.openStore();
  const query: RetentionQuery = {
    ...{ from: undefined, to: undefined, user: 'few', zone: 'UTC', period: 'day', periods: 3 },
    ...{ type: undefined, step: { step: 'type 0', type: 'type 0', dataIndex: undefined }, returnStep: undefined },
  };
  const result = retention(store, query, createBudget(LIMITS));
  expectSame(result, reference.retention(other.rows, query));
  expect(result.cohorts[0]?.returned).toEqual([1, 1, null]);
  // four rows of three types, for the range and for returns, and one for the cohort
  expect(store.rowsRead).toBe(4 + 4 + 1);
  other.close();
});

describe('the totals of a range', () => {
  const statistics = ({ count, sum, avg, min, max, p50, p95, p99 }: Record<string, unknown>) => ({
    ...{ count, sum, avg, min, max, p50, p95, p99 },
  });

  test('do not depend on the interval, even if the range ends within buckets', () => {
    const range = { from: FROM + 12_345, to: FROM + SPAN - 99_999 };
    const of = (interval: { count: number; unit: 'minute' | 'hour' | 'day' | 'week' } | undefined, top?: number) => {
      const query = { ...everything, ...range, interval, top };
      const get = (text: string | undefined) => JSON.parse(text ?? '');
      return {
        metric: get(run((store, budget) => series(store, query, budget)).text),
        event: get(run((store, budget) => counts(store, query, budget)).text),
      };
    };
    const whole = of(undefined);
    expect(whole.metric.buckets).toEqual([{ start: whole.metric.from, ...statistics(whole.metric) }]);
    for (const unit of ['minute', 'hour', 'day', 'week'] as const) {
      const { metric, event } = of({ count: unit === 'minute' ? 5 : 1, unit });
      expect(statistics(metric)).toEqual(statistics(whole.metric));
      expect([event.count, event.unique_users]).toEqual([whole.event.count, whole.event.unique_users]);
      const { metric: grouped } = of({ count: 1, unit: unit === 'minute' ? 'day' : unit }, 5);
      expect(statistics(grouped)).toEqual(statistics(whole.metric));
      const parts: { count: number }[] = [...grouped.groups, grouped.other];
      expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(whole.metric.count);
    }
  });

  test('are exact where floating-point addition is not, also per bucket and group', async () => {
    const values = [1e16, 1, 1, 1, 1, -1e16, 1e300, 1e150, 1, -1e300, -1e150, 1e308, 1e308, 0.1, 0.1, 0.1];
    const labels = ['ulps', 'ulps', 'ulps', 'ulps', 'ulps', 'ulps', 'far', 'far', 'far', 'far', 'far', 'over', 'over'];
    const row = { kind: 'metric', user: 'exact', name: 'exact' } as const;
    const rows = values.map((value, i) => ({ ...row, label: labels[i] ?? 'tenths', time: FROM + i * MINUTE, value }));
    await database.record(rows);
    for (const interval of [undefined, { count: 1, unit: 'minute' }, { count: 1, unit: 'day' }] as const) {
      const query = { ...everything, name: 'exact', interval, top: 10 };
      const { text = '' } = run((store, budget) => series(store, query, budget));
      expectSame(JSON.parse(text), reference.series(database.rows, query));
      const { groups, sum, avg } = JSON.parse(text);
      const of = (label: string) => groups.find((group: { data_string: string }) => group.data_string === label);
      expect(of('ulps')).toMatchObject({ sum: 4 });
      expect(of('far')).toMatchObject({ sum: 1 });
      expect(of('over')).toMatchObject({ sum: Number.MAX_VALUE, sum_overflow: true, avg: 1e308 });
      expect(of('tenths')).toMatchObject({ avg: 0.1 });
      expect(of('tenths')).not.toHaveProperty('sum_overflow');
      expect([sum, avg]).toEqual([Number.MAX_VALUE, 1.25e307]);
    }
  });
});
