import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  INTERVALS,
  momentOfWall,
  periodBefore,
  possibleInterval,
  startOfBucket,
  wallTime,
} from '../../src/dashboard/page/time.ts';
import { bucketEdges, parseInterval } from '../../src/query/calendar.ts';

const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Africa/Cairo',
  'America/Santiago',
  'Pacific/Chatham',
];
const zone = fc.constantFrom(...ZONES);
const interval = fc.constantFrom(...INTERVALS.map(({ name }) => name));
const moment = fc.date({
  min: new Date('2019-01-01T00:00:00Z'),
  max: new Date('2027-01-01T00:00:00Z'),
  noInvalidDate: true,
});

/** The start of a moment's bucket, as the reading routes have it. */
function served(at: Date, name: string, tz: string): number {
  const parsed = parseInterval(name);
  if (!parsed) throw new Error(name);
  return ((bucketEdges(at.getTime() * 1000, at.getTime() * 1000 + 1, parsed, tz)?.[0] as number) ?? Number.NaN) / 1000;
}

describe('startOfBucket', () => {
  test('is where the reading routes begin a bucket', () => {
    fc.assert(
      fc.property(moment, interval, zone, (at, name, tz) => {
        expect({ at, name, tz, start: startOfBucket(at, name, tz).toISOString() }).toEqual({
          at,
          name,
          tz,
          start: new Date(served(at, name, tz)).toISOString(),
        });
      }),
      { numRuns: 3000 },
    );
  });
});

describe('periodBefore', () => {
  const DAY = 86_400_000;
  const length = (name: string) => INTERVALS.find((one) => one.name === name)?.length ?? 0;

  test('by days or weeks has as many buckets, and begins with a whole one', () => {
    const days = fc.constantFrom('1d', '1w');
    fc.assert(
      fc.property(moment, days, zone, fc.integer({ min: 1, max: 60 }), (at, name, tz, count) => {
        const from = startOfBucket(new Date(at.getTime() - count * length(name)), name, tz);
        const before = periodBefore({ from, to: at }, count * length(name), name, tz);
        const edges = (range: { from: Date; to: Date }) =>
          bucketEdges(range.from.getTime() * 1000, range.to.getTime() * 1000, parseInterval(name), tz)?.length;
        expect(edges(before)).toBe(edges({ from, to: at }));
        // where a day has no midnight, it begins an hour later
        expect(Math.abs(before.from.getTime() - startOfBucket(before.from, name, tz).getTime())).toBeLessThanOrEqual(
          3_600_000,
        );
      }),
      { numRuns: 1000 },
    );
  });

  test('by hours and minutes lies whole buckets earlier, and ends where the period begins or before', () => {
    fc.assert(
      fc.property(moment, fc.constantFrom('5m', '1h', '3h'), fc.integer({ min: 1, max: 7 }), (at, name, buckets) => {
        const from = startOfBucket(new Date(at.getTime() - buckets * length(name)), name, 'UTC');
        const before = periodBefore({ from, to: at }, buckets * length(name), name, 'UTC');
        const earlier = from.getTime() - before.from.getTime();
        expect(earlier).toBe(at.getTime() - before.to.getTime());
        expect(earlier % length(name)).toBe(0);
        expect(earlier).toBe(buckets * length(name));
      }),
    );
  });

  test('of the last 7 days by day is the 7 days before, weekday beside weekday', () => {
    const to = new Date('2026-04-01T15:30:00Z');
    const from = startOfBucket(new Date(to.getTime() - 7 * DAY), '1d', 'Europe/Berlin');
    const before = periodBefore({ from, to }, 7 * DAY, '1d', 'Europe/Berlin');
    // the clocks went forward on the 29th of March
    expect(from.toISOString()).toBe('2026-03-24T23:00:00.000Z');
    expect(before.from.toISOString()).toBe('2026-03-17T23:00:00.000Z');
    expect(before.to.toISOString()).toBe('2026-03-25T16:30:00.000Z');
  });

  test('by months is as many months ago', () => {
    const [from, to] = [new Date('2026-01-01T00:00:00Z'), new Date('2026-07-01T00:00:00Z')];
    const before = periodBefore({ from, to }, to.getTime() - from.getTime(), '1M', 'UTC');
    expect([before.from.toISOString(), before.to.toISOString()]).toEqual([
      '2025-07-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z',
    ]);
  });

  test('by months or years ends on the last day of a month that has no such day', () => {
    const before = (from: string, to: string, days: number, name: '1M' | '1y') =>
      periodBefore({ from: new Date(from), to: new Date(to) }, days * DAY, name, 'UTC')
        .to.toISOString()
        .slice(0, 10);
    expect(before('2026-03-01T00:00:00Z', '2026-03-31T12:00:00Z', 30, '1M')).toBe('2026-02-28');
    expect(before('2024-01-01T00:00:00Z', '2024-02-29T12:00:00Z', 365, '1y')).toBe('2023-02-28');
    expect(before('2025-11-01T00:00:00Z', '2026-11-22T12:00:00Z', 365, '1M')).toBe('2025-11-22');
  });
});

test('what a clock on the wall shows names the moment again, but for hours that it shows twice', () => {
  fc.assert(
    fc.property(moment, zone, (at, tz) => {
      const minute = new Date(Math.floor(at.getTime() / 60_000) * 60_000);
      const text = wallTime(minute, tz);
      expect(text).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d$/);
      expect(wallTime(momentOfWall(text, tz) ?? new Date(0), tz)).toBe(text);
    }),
    { numRuns: 2000 },
  );
  expect(momentOfWall('soon', 'UTC')).toBeUndefined();
});

test('buckets are no longer than the range, and no more than are answered', () => {
  expect(possibleInterval('1y', 3_600_000)).toBe('1h');
  expect(possibleInterval('1m', 365 * 86_400_000)).toBe('1h');
  expect(possibleInterval('5m', 86_400_000)).toBe('5m');
  expect(possibleInterval('1m', 10)).toBe('1m');
});
