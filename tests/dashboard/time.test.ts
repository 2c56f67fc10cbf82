import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { momentOfWall, periodBefore, possibleInterval, wallTime } from '../../src/dashboard/page/time.ts';

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
const moment = fc.date({
  min: new Date('2019-01-01T00:00:00Z'),
  max: new Date('2027-01-01T00:00:00Z'),
  noInvalidDate: true,
});

describe('periodBefore', () => {
  const DAY = 86_400_000;
  const texts = ({ from, to }: { from: Date; to: Date }) => [from.toISOString(), to.toISOString()];

  test('ends where the range begins, and is as long, but for changes of the clocks', () => {
    fc.assert(
      fc.property(moment, zone, fc.integer({ min: 1, max: 400 * DAY }), (to, tz, length) => {
        const from = new Date(to.getTime() - length);
        const before = periodBefore({ from, to }, tz);
        expect(before.to).toEqual(from);
        const longer = Math.abs(before.to.getTime() - before.from.getTime() - length);
        // a range of whole days may have an hour more or less; one of whole months is not hit by chance
        expect(longer <= 3_600_000 || wallTime(from, tz).endsWith('-01T00:00')).toBe(true);
        if (length % DAY !== 0 && length < DAY) expect(longer).toBe(0);
      }),
      { numRuns: 2000 },
    );
  });

  test('of whole days is as many days of the calendar, so that midnight stands beside midnight', () => {
    // the clocks went forward on the 29th of March
    const range = { from: new Date('2026-03-24T23:00:00Z'), to: new Date('2026-03-31T22:00:00Z') };
    expect(texts(periodBefore(range, 'Europe/Berlin'))).toEqual([
      '2026-03-17T23:00:00.000Z',
      '2026-03-24T23:00:00.000Z',
    ]);
    expect(texts(periodBefore(range, 'UTC'))).toEqual(['2026-03-18T00:00:00.000Z', '2026-03-24T23:00:00.000Z']);
  });

  test('of whole months is as many months', () => {
    const before = (from: string, to: string, tz = 'UTC') =>
      texts(periodBefore({ from: new Date(from), to: new Date(to) }, tz));
    expect(before('2026-01-01T00:00:00Z', '2026-07-01T00:00:00Z')).toEqual([
      '2025-07-01T00:00:00.000Z',
      '2026-01-01T00:00:00.000Z',
    ]);
    expect(before('2026-02-28T23:00:00Z', '2026-03-31T22:00:00Z', 'Europe/Berlin')).toEqual([
      '2026-01-31T23:00:00.000Z',
      '2026-02-28T23:00:00.000Z',
    ]);
    // a month by its length alone is so many days
    expect(before('2026-03-10T08:00:00Z', '2026-04-10T08:00:00Z')).toEqual([
      '2026-02-07T08:00:00.000Z',
      '2026-03-10T08:00:00.000Z',
    ]);
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
