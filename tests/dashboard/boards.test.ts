import { describe, expect, test } from 'bun:test';
import { Value } from '@sinclair/typebox/value';
import { BoardChart } from '../../src/board-bodies.ts';
import { type Address, COMPARISONS, DEFAULTS } from '../../src/dashboard/page/address.ts';
import { chartOf, storedRange } from '../../src/dashboard/page/boards/pin.ts';
import { comparedPeriod, namedRange, shownRange } from '../../src/dashboard/page/shown-range.ts';
import { RANGES } from '../../src/dashboard/page/time.ts';
import { comparedRange, resolveRange } from '../../src/query/chart-range.ts';
import { zoneNamed as serverZoneNamed } from '../../src/query/zone-database.ts';
import { zoneNamed as pageZone } from './zones.ts';

const NOW = [
  '2026-03-29T10:30:15Z',
  '2026-03-31T22:30:00Z',
  '2026-01-01T00:00:00Z',
  '2028-02-29T12:00:00Z',
  '2026-10-25T01:30:00Z',
];
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Asia/Kolkata'];
const EXTENT = { from: new Date('2024-01-01T00:00:00Z'), to: new Date('2025-01-01T00:00:00Z') };

const address = (changes: Partial<Address>): Address => ({ ...DEFAULTS, ...changes });
const serverZone = (name: string) => {
  const found = serverZoneNamed(name);
  if (!found) throw new Error(`no such zone: ${name}`);
  return found;
};

describe('a pinned range', () => {
  const cases = ZONES.flatMap((zone) => RANGES.flatMap(({ name }) => NOW.map((now) => [name, zone, now] as const)));
  test.each(cases)('%s in %s at %s is the same on a board as in its view', (range, zone, now) => {
    for (const weekStart of ['monday', 'sunday'] as const) {
      const shown = address({ range, zone, weekStart });
      const { from, to } = namedRange(shown, new Date(now), EXTENT, pageZone(zone));
      const resolved = resolveRange(storedRange(shown), Date.parse(now) * 1000, serverZone(zone), weekStart);
      expect(new Date((resolved.from ?? 0) / 1000)).toEqual(from);
      // at midnight, the page shows a minute of the new day
      if (to.getTime() - from.getTime() > 60_000) expect(new Date((resolved.to ?? 0) / 1000)).toEqual(to);
    }
  });

  test('all time has no bounds, and a custom range keeps its own', () => {
    expect(storedRange(address({ range: 'all' }))).toEqual({ all: true });
    const [from, to] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-01-02T00:00:00Z')];
    expect(storedRange(address({ range: 'custom', from, to }))).toEqual({
      from: from.toISOString(),
      to: to.toISOString(),
    });
  });

  const comparisons = ['today', 'yesterday', '7d', '30d', 'this-week', 'last-week'].flatMap((range) =>
    COMPARISONS.flatMap((compare) => ZONES.map((zone) => [range, compare, zone] as const)),
  );
  test.each(comparisons)('%s compared with %s in %s is compared with the same period', (range, compare, zone) => {
    const now = '2026-03-18T10:30:00Z';
    const shown = shownRange(address({ range, zone, compare }), new Date(now), EXTENT, pageZone(zone));
    const expected = comparedPeriod(compare, shown, shown.span, pageZone(zone));
    const stored = { range: storedRange(address({ range, zone })), compare };
    const resolved = resolveRange(stored.range, Date.parse(now) * 1000, serverZone(zone), 'monday');
    const compared = comparedRange(stored, resolved, serverZone(zone));
    expect({ from: new Date((compared?.from ?? 0) / 1000), to: new Date((compared?.to ?? 0) / 1000) }).toEqual({
      from: expected.from,
      to: expected.to,
    });
  });
});

describe('a pinned chart', () => {
  const interval = { interval: '1d' } as const;
  test('has the parameters of its view, and what the API accepts', () => {
    const views: Partial<Address>[] = [
      { view: 'metric', name: 'load', split: 'p95', filters: [{ field: 'label', operator: '~=', value: '/a' }] },
      {
        ...{ view: 'event', name: '', property: 'data.plan', split: 'count', sum: 'data.amount', compare: 'weekdays' },
        filters: [{ field: 'data.plan', operator: '!=', value: 'free' }],
      },
      { view: 'funnel', steps: ['a', 'b:c'], compare: 'previous', user: 'ada' },
      { view: 'retention', retention: 'a', returning: 'b', period: 'week' },
    ];
    for (const view of views) {
      const chart = chartOf(address({ ...view, live: true, board: 'x' }), interval, []);
      expect([...Value.Errors(BoardChart, chart)]).toEqual([]);
      expect(chart?.view).not.toMatch(/live|board/);
    }
    expect(chartOf(address(views[0] ?? {}), interval, [])?.query.parameters).toEqual({
      ...{ name: 'load', interval: '1d', week_start: 'monday', tz: 'UTC' },
      ...{ group_by: 'data_string', top: '5', 'data_string~': ['/a'] },
    });
    expect(chartOf(address(views[1] ?? {}), interval, [])).toMatchObject({
      title: '(empty) by plan',
      query: {
        compare: 'weekdays',
        parameters: { type: '', sum: 'data.amount', group_by: 'data.plan', 'data.plan!': ['free'] },
      },
    });
    // the API compares funnels with nothing
    expect(chartOf(address(views[2] ?? {}), interval, [])?.query).toMatchObject({ parameters: { user_id: 'ada' } });
    expect(chartOf(address(views[2] ?? {}), interval, [])?.query.compare).toBeUndefined();
  });

  test('does not exist for other views, or without what it shows', () => {
    for (const view of [
      { view: 'overview' },
      { view: 'records' },
      { view: 'metric' },
      { view: 'funnel', steps: ['a'] },
    ] as const) {
      expect(chartOf(address(view), interval, [])).toBeUndefined();
    }
  });

  test('is named after what it shows', () => {
    const titleOf = (changes: Partial<Address>) => chartOf(address(changes), interval, [])?.title;
    expect(titleOf({ view: 'metric', name: 'api_ms' })).toBe('api_ms: median');
    expect(titleOf({ view: 'metric', name: 'amount_eur' })).toBe('amount_eur: sum');
    expect(titleOf({ view: 'metric', name: 'x', statistic: 'max' })).toBe('x: max');
    expect(titleOf({ view: 'event', name: 'signup' })).toBe('signup');
    expect(titleOf({ view: 'funnel', steps: ['a', 'b:c'] })).toBe('a → b: c');
    expect(titleOf({ view: 'retention', retention: 'signup' })).toBe('Retention after signup');
    expect(titleOf({ view: 'event', name: 'x'.repeat(500) })?.length).toBe(200);
  });
});
