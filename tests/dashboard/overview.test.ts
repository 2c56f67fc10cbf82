import { describe, expect, test } from 'bun:test';
import { COUNT } from '../../src/dashboard/page/units.ts';
import {
  type Activity,
  alignEarlierValues,
  biggestChanges,
  chooseMetrics,
  overviewInterval,
  type Ranked,
  rankEvents,
  vanishedEvents,
} from '../../src/dashboard/page/views/overview/figures.ts';

const range = { from: '2026-03-01T00:00:00Z', to: '2026-03-03T00:00:00Z' };

/** Returns the activity of event types, each with its number of users. */
function activityOf(users: Record<string, number>, otherTypes = 0): Activity {
  const counted = (count: number) => ({
    ...{ count: 3 * count, counts: [count, 2 * count] },
    ...{ unique_users: count, user_counts: [count, count] },
  });
  return {
    ...range,
    tz: 'UTC',
    starts: ['2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z'],
    metrics: { ...counted(0), names: [], other: { names: 0, ...counted(0) } },
    analytics: {
      ...counted(0),
      types: Object.entries(users).map(([type, count]) => ({ type, ...counted(count) })),
      other: { types: otherTypes, ...counted(0) },
    },
  };
}

describe('event types of the overview', () => {
  const now = activityOf({ view: 90, signup: 10 });
  const earlier = activityOf({ view: 60, gone: 20 });

  test('have the figure of the period before, which is zero for new types', () => {
    const figures = (basis: 'users' | 'events') =>
      rankEvents(now, earlier, basis).map(({ name, now: figure, before, values }) => [name, figure, before, ...values]);
    expect(figures('users')).toEqual([
      ['view', 90, 60, 90, 90],
      ['signup', 10, 0, 10, 10],
    ]);
    expect(figures('events')).toEqual([
      ['view', 270, 180, 90, 180],
      ['signup', 30, 0, 10, 20],
    ]);
  });

  test('have no known figure of the period before if its list is incomplete, or not loaded', () => {
    for (const before of [activityOf({ view: 60 }, 3), undefined]) {
      expect(rankEvents(now, before, 'users').find(({ name }) => name === 'signup')?.before).toBeUndefined();
    }
  });

  test('have vanished only if they would otherwise be listed', () => {
    expect(vanishedEvents(now, earlier, 'users')).toMatchObject([{ name: 'gone', now: 0, before: 20 }]);
    expect(vanishedEvents(activityOf({ view: 90 }, 1), earlier, 'users')).toEqual([]);
  });
});

describe('biggest changes', () => {
  const entry = (name: string, now: number | null, before: number | null, other: Partial<Ranked> = {}): Ranked => ({
    ...{ kind: 'event', name, unit: COUNT, statistic: 'count', now, before, values: [], rows: 1000 },
    ...other,
  });
  const names = (entries: readonly Ranked[], count = 9) => biggestChanges(entries, count).map(({ name }) => name);

  test('come first, whether up or down, and are limited in number', () => {
    const entries = [entry('up 20%', 1200, 1000), entry('halved', 500, 1000), entry('up 50%', 1500, 1000)];
    expect(names(entries)).toEqual(['halved', 'up 50%', 'up 20%']);
    expect(names(entries, 1)).toEqual(['halved']);
  });

  test('leave out counts that differ by chance, and small changes', () => {
    expect(names([entry('few', 5, 2), entry('same', 100, 100), entry('4%', 104_000, 100_000)])).toEqual([]);
    expect(names([entry('new', 40, 0), entry('gone', 0, 40)])).toEqual(['new', 'gone']);
  });

  test('leave out metrics with few values or without a value in either period', () => {
    const metric = { kind: 'metric', statistic: 'p50' } as const;
    expect(names([entry('slower', 2, 1, metric), entry('rare', 2, 1, { ...metric, rows: 12 })])).toEqual(['slower']);
    const revenue = (rows: number) => entry('revenue', 110, 100, { kind: 'metric', statistic: 'sum', rows });
    expect([100, 10_000].map((rows) => names([revenue(rows)]).length)).toEqual([0, 1]);
    expect(names([entry('none now', null, 1, metric), entry('none before', 1, null, metric)])).toEqual([]);
    expect(names([entry('sign', -2, 1, metric), entry('from zero', 1, 0, metric)])).toEqual(['sign']);
  });
});

test('the chart has at most a few dozen points for usual ranges', () => {
  const hours = (count: number) => overviewInterval('5m', count * 3_600_000);
  expect([1, 6, 24, 48, 7 * 24, 30 * 24, 90 * 24, 365 * 24].map(hours)).toEqual([
    ...['5m', '15m', '1h', '1h', '1d', '1d', '1d'],
    '5m',
  ] as ReturnType<typeof hours>[]);
});

test('the overview shows amounts first, then durations, each with the statistic that matters', () => {
  const names = ['queue_size', 'page_load_time', 'purchase_amount', 'api_latency_ms', 'refund_eur'];
  expect(chooseMetrics(names, [], 4).map(({ name, statistic }) => `${name} ${statistic}`)).toEqual([
    'purchase_amount sum',
    'refund_eur sum',
    'page_load_time p50',
    'api_latency_ms p50',
  ]);
});

test('values of an earlier range are aligned with the buckets they correspond to', () => {
  const now = activityOf({});
  const earlier = {
    from: '2026-02-27T00:00:00Z',
    to: '2026-03-01T00:00:00Z',
    starts: ['2026-02-27T00:00:00Z', '2026-02-28T00:00:00Z'],
  };
  expect(alignEarlierValues(now, earlier, [7, 8])).toEqual({ values: [7, 8], startsOf: earlier.starts });
});
