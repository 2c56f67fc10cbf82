import { describe, expect, test } from 'bun:test';
import { UTC } from '../../src/dashboard/page/calendar.ts';
import { averagesOf, cohortsOf, nextPeriod } from '../../src/dashboard/page/steps/cohorts.ts';
import { formatPoints, indexOfBiggestLoss, withDropOff } from '../../src/dashboard/page/steps/drop-off.ts';
import {
  exampleFunnel,
  likelyFirstType,
  parseStep,
  titleOfStep,
  writeStep,
} from '../../src/dashboard/page/steps/step.ts';
import { parseStep as parseOnServer } from '../../src/http/event-step.ts';

describe('a step', () => {
  const steps = [
    { type: 'signup', label: undefined },
    { type: 'page_view', label: '/pricing' },
    { type: 'page_view', label: '' },
    { type: '', label: 'a:b' },
    { type: 'a:b\\c', label: 'd\\:e' },
    { type: 'ends with \\', label: undefined },
    { type: '\\\\:', label: 'x\ny' },
  ];
  test.each(steps)('is written as the query routes read it: %j', (step) => {
    const text = writeStep(step);
    const { type, dataIndex } = parseOnServer(text, undefined);
    expect({ type, label: dataIndex }).toEqual(step);
    expect(parseStep(text)).toEqual(step);
  });

  test('has a title without escapes', () => {
    expect(titleOfStep({ type: 'a:b', label: '/x' })).toBe('a:b: /x');
    expect(titleOfStep({ type: '', label: '' })).toBe('(empty): (empty)');
  });

  test('is suggested by its name for the first step of retention', () => {
    expect(likelyFirstType(['page_view', 'user_signed_up', 'sign_up'])).toBe('sign_up');
    expect(likelyFirstType(['page_view', 'Signup'])).toBe('Signup');
    expect(likelyFirstType(['page_view', 'purchase'])).toBe('page_view');
    expect(likelyFirstType([])).toBeUndefined();
  });
});

describe('drop-off', () => {
  const step = (users: number, median_seconds: number | null = null) => ({
    ...{ step: 's', type: 's', data_index: null, users, median_seconds },
    ...{ conversion: users / 100, conversion_from_previous: null },
  });
  test('is counted from the previous step', () => {
    const figures = withDropOff([step(100), step(60), step(50), step(50)]);
    expect(figures.map(({ lost }) => lost)).toEqual([0, 40, 10, 0]);
    expect(figures.map(({ lostPart }) => lostPart)).toEqual([null, 0.4, 10 / 60, 0]);
    expect(indexOfBiggestLoss(figures)).toBe(1);
  });

  test('is nowhere if nobody is lost or nobody began', () => {
    expect(indexOfBiggestLoss(withDropOff([step(5), step(5)]))).toBe(-1);
    expect(indexOfBiggestLoss(withDropOff([step(0), step(0)]))).toBe(-1);
    expect(withDropOff([step(0), step(0)])[1]?.lostPart).toBeNull();
  });

  test('changes in points, with a real minus sign', () => {
    expect(formatPoints(0.5, 0.479)).toBe('+2.1 points');
    expect(formatPoints(0.479, 0.5)).toBe('−2.1 points');
    expect(formatPoints(0.51, 0.5)).toBe('+1.0 point');
    expect(formatPoints(0.5, 0.5)).toBe('±0.0 points');
    expect(formatPoints(null, 0.5)).toBeUndefined();
  });
});

describe('cohorts', () => {
  const at = (text: string) => Date.parse(`${text}Z`);
  test.each([
    ['day', 'monday', '2026-03-31T10:00', '2026-04-01T00:00'],
    ['week', 'monday', '2026-03-29T10:00', '2026-03-30T00:00'], // a Sunday
    ['week', 'monday', '2026-03-30T00:00', '2026-04-06T00:00'],
    ['week', 'sunday', '2026-03-29T00:00', '2026-04-05T00:00'],
    ['week', 'sunday', '2026-03-28T23:59', '2026-03-29T00:00'],
    ['week', 'monday', '1969-12-31T12:00', '1970-01-05T00:00'],
    ['month', 'monday', '2026-12-31T23:59', '2027-01-01T00:00'],
    ['month', 'monday', '2026-02-01T00:00', '2026-03-01T00:00'],
  ] as const)('the %s after one that begins on %s ends as the calendar says: %s', (period, weekStart, from, next) => {
    expect(nextPeriod(UTC, at(from), period, weekStart)).toBe(at(next));
  });

  const retention = (to: string) => ({
    ...{ type: null, step: 'a', return_step: null, from: '2026-03-01T00:00:00Z', to, tz: 'UTC' },
    ...{ period: 'day' as const, periods: 2 },
    cohorts: [
      { start: '2026-03-01T00:00:00Z', users: 10, returned: [5, 2] },
      { start: '2026-03-02T00:00:00Z', users: 0, returned: [0, null] },
      { start: '2026-03-03T00:00:00Z', users: 30, returned: [null, null] },
    ],
  });

  test('without users are left out, and the newest is first', () => {
    const { cohorts } = cohortsOf(retention('2026-03-04T00:00:00Z'), UTC, 'monday');
    expect(cohorts.map(({ index }) => index)).toEqual([2, 0]);
  });

  test('are averaged by their users, without periods that are not over', () => {
    const whole = cohortsOf(retention('2026-03-04T00:00:00Z'), UTC, 'monday');
    expect(averagesOf(whole.cohorts, whole.isOver, 2)).toEqual([
      { returned: 5, users: 10, cohorts: 1 },
      { returned: 2, users: 10, cohorts: 1 },
    ]);
    const part = cohortsOf(retention('2026-03-03T23:59:00Z'), UTC, 'monday');
    expect(averagesOf(part.cohorts, part.isOver, 2)).toEqual([{ returned: 5, users: 10, cohorts: 1 }, undefined]);
  });
});

test('the example of a funnel follows the order that names tell, otherwise the numbers of users', () => {
  const typesOf = (types: string[]) => exampleFunnel(types, 3).map(({ type }) => type);
  expect(typesOf(['page_view', 'add_to_cart', 'tutorial_step', 'signup'])).toEqual([
    'page_view',
    'signup',
    'tutorial_step',
  ]);
  expect(typesOf(['b', 'signup', 'a', 'c'])).toEqual(['b', 'signup', 'a']);
  expect(typesOf([])).toEqual([]);
});
