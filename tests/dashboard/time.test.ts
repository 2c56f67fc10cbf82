import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { COMPARISONS, DEFAULTS } from '../../src/dashboard/page/address.ts';
import { addSpan, endOf, type Range, startOf, wallOf, type Zone } from '../../src/dashboard/page/calendar.ts';
import { comparedPeriod, pagedRange, shownRange } from '../../src/dashboard/page/shown-range.ts';
import {
  intervalFor,
  momentsOfWall,
  possibleInterval,
  RANGES,
  rangeNamed,
  wallTime,
} from '../../src/dashboard/page/time.ts';
import { zoneNamed } from './zones.ts';

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Africa/Cairo',
  'America/Santiago',
  'Pacific/Chatham',
  'Pacific/Apia',
].map(zoneNamed);
const zone = fc.constantFrom(...ZONES);
const [EARLIEST, LATEST] = [Date.UTC(2010, 0), Date.UTC(2027, 0)];
/** Close to a change of some zone's clocks, or a whole number of days from it. */
const nearChange = fc
  .tuple(
    fc.constantFrom(...ZONES.flatMap(({ starts }) => starts.filter((at) => at > EARLIEST && at < LATEST))),
    fc.constantFrom(0, 1, 2, 7, 28, 30, 365, 366),
    fc.oneof(fc.constantFrom(0, 60_000, -60_000, 3_600_000), fc.integer({ min: -7_200_000, max: 7_200_000 })),
  )
  .map(([change, days, ms]) => new Date(change + days * 86_400_000 + ms));
const moment = fc.oneof(fc.date({ min: new Date(EARLIEST), max: new Date(LATEST), noInvalidDate: true }), nearChange);

test('converts a wall time back to its moment, or to both moments if it occurs twice', () => {
  fc.assert(
    fc.property(moment, zone, (at, tz) => {
      const minute = new Date(Math.floor(at.getTime() / 60_000) * 60_000);
      const text = wallTime(minute, tz);
      expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d$/);
      expect(momentsOfWall(text, tz)).toContainEqual(minute);
    }),
    { numRuns: 2000 },
  );
  expect(momentsOfWall('2025-10-26T02:30', zoneNamed('Europe/Berlin')).map((at) => at.toISOString())).toEqual([
    '2025-10-26T00:30:00.000Z',
    '2025-10-26T01:30:00.000Z',
  ]);
  expect(momentsOfWall('soon', zoneNamed('UTC'))).toEqual([]);
});

test('chooses an interval that is no longer than the range and within the bucket limit', () => {
  expect(possibleInterval('1y', 3_600_000)).toBe('1h');
  expect(possibleInterval('1m', 365 * 86_400_000)).toBe('1h');
  expect(possibleInterval('5m', 86_400_000)).toBe('5m');
  expect(possibleInterval('1m', 10)).toBe('1m');
});

test('starts ranges of days and months by the calendar, and ranges of hours by elapsed time', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const now = new Date('2025-10-28T11:30:00Z'); // 12:30 in Berlin, two days after the clocks went back
  const walls = Object.fromEntries(
    RANGES.map(({ name }) => {
      const { from, previous } = shownRange({ ...DEFAULTS, range: name }, now, {}, berlin);
      const wall = (at: Date) => new Date(wallOf(berlin, at.getTime())).toISOString().slice(0, 16);
      return [name, [wall(from), wall(previous.from)]];
    }),
  );
  expect(walls).toEqual({
    '1h': ['2025-10-28T11:30', '2025-10-28T10:30'],
    '6h': ['2025-10-28T06:30', '2025-10-28T00:30'],
    '24h': ['2025-10-27T12:30', '2025-10-26T12:30'],
    '7d': ['2025-10-22T00:00', '2025-10-15T00:00'],
    '28d': ['2025-10-01T00:00', '2025-09-03T00:00'],
    '30d': ['2025-09-29T00:00', '2025-08-30T00:00'],
    '90d': ['2025-07-31T00:00', '2025-05-02T00:00'],
    '1y': ['2024-10-29T00:00', '2023-10-29T00:00'],
    today: ['2025-10-28T00:00', '2025-10-27T00:00'],
    yesterday: ['2025-10-27T00:00', '2025-10-26T00:00'],
    'this-week': ['2025-10-27T00:00', '2025-10-20T00:00'],
    'last-week': ['2025-10-20T00:00', '2025-10-13T00:00'],
    'this-month': ['2025-10-01T00:00', '2025-09-01T00:00'],
    'last-month': ['2025-09-01T00:00', '2025-08-01T00:00'],
    'this-year': ['2025-01-01T00:00', '2024-01-01T00:00'],
  });
});

test('chooses the same interval for a range in which clocks change', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const intervals = (now: string, interval: 'auto' | '1d') =>
    RANGES.map(({ name }) => shownRange({ ...DEFAULTS, range: name, interval }, new Date(now), {}, berlin).interval);
  for (const interval of ['auto', '1d'] as const) {
    const usual = intervals('2025-09-20T12:00:00Z', interval);
    for (const now of ['2025-10-28T12:00:00Z', '2026-03-30T12:00:00Z']) expect(intervals(now, interval)).toEqual(usual);
  }
  const day = { ...DEFAULTS, range: 'custom', interval: '1d' } as const;
  const short = { from: new Date('2026-03-28T23:00:00Z'), to: new Date('2026-03-29T22:00:00Z') };
  expect(shownRange({ ...day, ...short }, new Date(), {}, berlin).interval).toBe('1d');
  // clocks skipped midnight
  const late = { from: new Date('2018-11-04T03:00:00Z'), to: new Date('2018-11-05T02:00:00Z') };
  expect(shownRange({ ...day, ...late }, new Date(), {}, zoneNamed('America/Sao_Paulo')).interval).toBe('1d');
  const february = { from: new Date('2026-01-31T23:00:00Z'), to: new Date('2026-02-28T23:00:00Z') };
  expect(shownRange({ ...day, ...february, interval: '1M' }, new Date(), {}, berlin).interval).toBe('1M');
});

const walls = (tz: Zone, { from, to }: Range) =>
  [from, to].map((at) => new Date(wallOf(tz, at.getTime())).toISOString().slice(0, 16));

test('splits weeks by their names and two weeks to half a year into days, and a day by its name into hours', () => {
  const day = 86_400_000;
  expect([13, 14, 30, 180, 181].map((days) => intervalFor(days * day))).toEqual(['3h', '1d', '1d', '1d', '1w']);
  const berlin = zoneNamed('Europe/Berlin');
  const intervals = (now: string) =>
    [
      'today',
      'yesterday',
      '24h',
      '7d',
      'this-week',
      'last-week',
      '28d',
      '30d',
      'this-month',
      'last-month',
      '90d',
      'this-year',
    ].map((range): string => shownRange({ ...DEFAULTS, range }, new Date(now), {}, berlin).interval);
  const expected = ['1h', '1h', '15m', '1d', '1d', '1d', '1d', '1d', '1d', '1d', '1d', '1w'];
  // however little of the range has passed
  for (const now of ['2026-01-01T00:00:30+01:00', '2025-10-26T23:59:00+01:00', '2026-03-29T12:00:00+02:00']) {
    expect(intervals(now)).toEqual(expected);
  }
});

test('names ranges after the calendar of the zone, weeks from the chosen first day', () => {
  const now = new Date('2025-10-27T00:30:00Z'); // Sunday evening in New York, Monday in Berlin
  const shown = (range: string, tz: string, weekStart: 'monday' | 'sunday') => {
    const inZone = zoneNamed(tz);
    return walls(inZone, shownRange({ ...DEFAULTS, range, weekStart }, now, {}, inZone));
  };
  expect(shown('this-week', 'Europe/Berlin', 'monday')).toEqual(['2025-10-27T00:00', '2025-10-27T01:30']);
  expect(shown('this-week', 'Europe/Berlin', 'sunday')).toEqual(['2025-10-26T00:00', '2025-10-27T01:30']);
  expect(shown('this-week', 'America/New_York', 'monday')).toEqual(['2025-10-20T00:00', '2025-10-26T20:30']);
  expect(shown('last-week', 'America/New_York', 'sunday')).toEqual(['2025-10-19T00:00', '2025-10-26T00:00']);
  expect(shown('yesterday', 'America/New_York', 'monday')).toEqual(['2025-10-25T00:00', '2025-10-26T00:00']);
  expect(shown('last-month', 'Europe/Berlin', 'monday')).toEqual(['2025-09-01T00:00', '2025-10-01T00:00']);
});

test('the last 12 months are never longer than that, also before a leap day', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const shown = shownRange({ ...DEFAULTS, range: '1y' }, new Date('2020-02-28T08:00:00+01:00'), {}, berlin);
  expect(walls(berlin, shown)).toEqual(['2019-03-01T00:00', '2020-02-28T08:00']);
});

test('skips a day that a zone never had', () => {
  const apia = zoneNamed('Pacific/Apia');
  const now = new Date('2011-12-30T12:00:00Z'); // the 31st; there was no 30th
  const shown = shownRange({ ...DEFAULTS, range: 'yesterday' }, now, {}, apia);
  expect(walls(apia, shown)).toEqual(['2011-12-29T00:00', '2011-12-31T00:00']);
});

test('compares a range in progress with the same part of the period before', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const previous = (range: string, now: string, compare: 'previous' | 'year' | 'weekdays' = 'previous') =>
    walls(berlin, shownRange({ ...DEFAULTS, range, compare }, new Date(now), {}, berlin).previous);
  expect(previous('today', '2025-10-26T14:00:00+01:00')).toEqual(['2025-10-25T00:00', '2025-10-25T14:00']);
  expect(previous('this-month', '2026-05-12T09:00:00+02:00')).toEqual(['2026-04-01T00:00', '2026-04-12T09:00']);
  // all of a shorter month, at its end
  expect(previous('this-month', '2026-03-30T09:00:00+02:00')).toEqual(['2026-02-01T00:00', '2026-03-01T00:00']);
  expect(previous('this-year', '2024-02-29T09:00:00+01:00')).toEqual(['2023-01-01T00:00', '2023-03-01T00:00']);
  expect(previous('30d', '2026-05-30T12:00:00+02:00')).toEqual(['2026-04-01T00:00', '2026-04-30T12:00']);
  expect(previous('last-month', '2026-05-12T09:00:00+02:00')).toEqual(['2026-03-01T00:00', '2026-04-01T00:00']);
  expect(previous('24h', '2026-05-12T09:00:00+02:00')).toEqual(['2026-05-10T09:00', '2026-05-11T09:00']);
  expect(previous('last-month', '2026-03-12T09:00:00+01:00', 'year')).toEqual(['2025-02-01T00:00', '2025-03-01T00:00']);
  expect(previous('today', '2026-05-12T09:00:00+02:00', 'weekdays')).toEqual(['2026-05-05T00:00', '2026-05-05T09:00']);
  expect(previous('30d', '2026-05-30T12:00:00+02:00', 'weekdays')).toEqual(['2026-03-27T00:00', '2026-04-25T12:00']);
});

test('compares the hour that clocks repeat with a whole hour, and the day after a missing one with the day before', () => {
  const cairo = zoneNamed('Africa/Cairo'); // went back from 24:00 to 23:00 on 31 October 2024
  const repeated = (compare: 'previous' | 'year' | 'weekdays') =>
    walls(
      cairo,
      shownRange({ ...DEFAULTS, range: '1h', compare }, new Date('2024-10-31T21:00:00Z'), {}, cairo).previous,
    );
  expect(repeated('previous')).toEqual(['2024-10-31T22:00', '2024-10-31T23:00']);
  expect(repeated('year')).toEqual(['2023-10-31T23:00', '2023-11-01T00:00']);
  expect(repeated('weekdays')).toEqual(['2024-10-24T23:00', '2024-10-25T00:00']);
  const custom = { ...DEFAULTS, range: 'custom', from: new Date('2024-10-31T20:30:00Z') } as const;
  const hour = shownRange(
    { ...custom, to: new Date('2024-10-31T21:30:00Z'), compare: 'weekdays' },
    new Date(),
    {},
    cairo,
  );
  expect(walls(cairo, hour.previous)).toEqual(['2024-10-24T23:30', '2024-10-25T00:30']);
  const apia = zoneNamed('Pacific/Apia');
  const today = shownRange({ ...DEFAULTS, range: 'today' }, new Date('2011-12-30T22:00:00Z'), {}, apia);
  expect(walls(apia, today.previous)).toEqual(['2011-12-29T00:00', '2011-12-31T00:00']);
  expect(walls(apia, pagedRange(today, apia, -1))).toEqual(['2011-12-29T00:00', '2011-12-31T00:00']);
});

test('every named range is in order, at most as long as its span, and compared with an earlier one', () => {
  const names = fc.constantFrom(...RANGES.map(({ name }) => name));
  const weekStart = fc.constantFrom('monday' as const, 'sunday' as const);
  fc.assert(
    fc.property(moment, zone, names, weekStart, fc.constantFrom(...COMPARISONS), (now, tz, range, week, compare) => {
      const shown = shownRange({ ...DEFAULTS, range, weekStart: week, compare }, now, {}, tz);
      const { from, to, previous, span } = shown;
      expect(from.getTime()).toBeLessThan(to.getTime());
      expect(to.getTime()).toBeLessThanOrEqual(Math.max(now.getTime(), from.getTime() + 60_000));
      const named = rangeNamed(range);
      if (named?.within) {
        expect(from.getTime()).toBe(startOf('day', tz, from.getTime()));
        expect(addSpan(tz, from, span, 1).getTime()).toBeGreaterThanOrEqual(to.getTime());
        if (named.isOver) expect(to.getTime()).toBe(startOf(named.within, tz, now.getTime(), week));
        else expect(endOf(named.within, tz, now.getTime(), week)).toBeGreaterThan(now.getTime());
      }
      expect(previous.from.getTime()).toBeLessThan(previous.to.getTime());
      expect(previous.from.getTime()).toBeLessThan(from.getTime());
      if (compare !== 'year') expect(previous.to.getTime()).toBeLessThanOrEqual(from.getTime());
      const earlier = pagedRange(shown, tz, -1);
      expect(earlier.from.getTime()).toBeLessThan(from.getTime());
      if (span.unit !== 'milliseconds') expect(earlier.to).toEqual(from);
    }),
    { numRuns: 3000 },
  );
});

test('matching weekdays keep their weekdays and times', () => {
  fc.assert(
    fc.property(moment, fc.integer({ min: 1, max: 400 }), (from, days) => {
      const berlin = zoneNamed('Europe/Berlin');
      const start = new Date(startOf('day', berlin, from.getTime()));
      const span = { unit: 'days', count: days } as const;
      const range = { from: start, to: addSpan(berlin, start, span, 1) };
      const before = comparedPeriod('weekdays', range, span, berlin);
      const [wall, earlierWall] = [range.from, before.from].map((at) => wallOf(berlin, at.getTime()));
      expect(((wall ?? 0) - (earlierWall ?? 0)) % (7 * 86_400_000)).toBe(0);
      expect(range.from.getTime() - before.to.getTime()).toBeLessThan(7 * 86_400_000);
    }),
  );
});
