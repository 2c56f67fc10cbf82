import { expect, test } from 'bun:test';
import { previousOf } from '../../src/dashboard/page/chart/line.ts';
import { groupText, groupValue } from '../../src/dashboard/page/views/event/groups.ts';

test('the value of a group is what its filter matches; events without the property have none', () => {
  const of = (value: unknown) => [
    groupValue({ 'data.plan': value }, 'data.plan'),
    groupText({ 'data.plan': value }, 'data.plan'),
  ];
  expect(of('pro')).toEqual(['pro', 'pro']);
  expect(of('')).toEqual(['', '(empty)']);
  expect(of(2.5)).toEqual(['2.5', '2.5']);
  expect(of(false)).toEqual(['false', 'false']);
  expect(of(null)).toEqual([undefined, '(none)']);
  expect(groupText({}, 'data.plan')).toBe('(none)');
  // a text like the placeholder is still a value
  expect(of('(none)')[0]).toBe('(none)');
  if (typeof JSON.rawJSON === 'function')
    expect(of(JSON.rawJSON('12345678901234567890'))[0]).toBe('12345678901234567890');
});

test('the line of a previous period says which one, keeps its unit, and stands out from bars', () => {
  const bars = { label: 'Events', values: [1, 2], color: '--chart-1', shape: 'bars', pane: 1 } as const;
  const before = [{ start: '2026-03-01T00:00:00Z', count: 5 }, undefined];
  expect(previousOf(bars, before, ({ count }) => count, 'year')).toMatchObject({
    label: 'Events, previous year',
    previousOf: 'Events',
    values: [5, null],
    startsOf: ['2026-03-01T00:00:00Z', undefined],
    shape: 'dashed',
    color: '--ink-2',
    pane: 1,
  });
  expect(previousOf({ ...bars, shape: 'line' }, before, ({ count }) => count).color).toBe('--chart-1');
});
