import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { DEFAULTS } from '../../src/dashboard/page/address.ts';
import { wallOf } from '../../src/dashboard/page/calendar.ts';
import { shownRange } from '../../src/dashboard/page/shown-range.ts';
import { momentsOfWall, possibleInterval, RANGES, wallTime } from '../../src/dashboard/page/time.ts';
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
].map(zoneNamed);
const zone = fc.constantFrom(...ZONES);
const moment = fc.date({
  min: new Date('2019-01-01T00:00:00Z'),
  max: new Date('2027-01-01T00:00:00Z'),
  noInvalidDate: true,
});

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
    '7d': ['2025-10-21T12:30', '2025-10-14T12:30'],
    '30d': ['2025-09-28T12:30', '2025-08-29T12:30'],
    '90d': ['2025-07-30T12:30', '2025-05-01T12:30'],
    '1y': ['2024-10-28T12:30', '2023-10-28T12:30'],
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
