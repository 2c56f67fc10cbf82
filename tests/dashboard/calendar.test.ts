import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  addDays,
  addMonths,
  adjacentRange,
  isRepeated,
  moveRange,
  nextDay,
  previousPeriod,
  type Range,
  spanOf,
  wallLength,
  wallOf,
  type Zone,
  zoomIn,
  zoomOut,
} from '../../src/dashboard/page/calendar.ts';
import { timeOf, timesOf } from '../../src/formats/time-zone.ts';
import { zoneNamed } from './zones.ts';

const DAY = 86_400_000;
const ZONES = [
  'UTC',
  'Europe/Berlin',
  'America/New_York',
  'America/St_Johns',
  'America/Sao_Paulo',
  'America/Santiago',
  'America/Havana',
  'Asia/Kolkata',
  'Australia/Lord_Howe',
  'Africa/Cairo',
  'Africa/Casablanca',
  'Pacific/Apia',
  'Pacific/Chatham',
].map(zoneNamed);
const zone = fc.constantFrom(...ZONES);
const moment = fc.date({
  min: new Date('2005-01-01T00:00:00Z'),
  max: new Date('2030-01-01T00:00:00Z'),
  noInvalidDate: true,
});

const temporal = (at: number, { name }: Zone) => Temporal.Instant.fromEpochMilliseconds(at).toZonedDateTimeISO(name);
/** Returns a range from the wall times of its ends: dates, or dates with times. */
const range = (tz: Zone, from: string, to: string): Range => ({ from: local(tz, from), to: local(tz, to) });
const local = (tz: Zone, text: string) => new Date(timeOf(tz, Date.parse(`${text.padEnd(16, 'T00:00')}Z`)));
const shown = (tz: Zone, { from, to }: Range) =>
  [from, to].map((at) => new Date(wallOf(tz, at.getTime())).toISOString().slice(0, 16));

describe('wall times', () => {
  test('match Temporal and convert back to the same moment', () => {
    fc.assert(
      fc.property(moment, zone, (date, tz) => {
        const at = date.getTime();
        const zoned = temporal(at, tz);
        expect(wallOf(tz, at)).toBe(Date.parse(`${zoned.toPlainDateTime()}Z`));
        expect(timesOf(tz, wallOf(tz, at))).toContain(at);
        expect(nextDay(tz, at)).toBe(zoned.toPlainDate().add({ days: 1 }).toZonedDateTime(tz.name).epochMilliseconds);
        const earlier = zoned.toPlainDateTime().toZonedDateTime(tz.name, { disambiguation: 'earlier' });
        const later = zoned.toPlainDateTime().toZonedDateTime(tz.name, { disambiguation: 'later' });
        expect(isRepeated(tz, at)).toBe(!earlier.equals(later));
      }),
      { numRuns: 3000 },
    );
  });

  test('that clocks skip map to the moment of the change, even if a whole day is skipped', () => {
    const text = (tz: Zone, wall: string) => local(tz, wall).toISOString();
    expect(text(zoneNamed('Europe/Berlin'), '2026-03-29T02:30')).toBe('2026-03-29T01:00:00.000Z');
    expect(text(zoneNamed('America/Sao_Paulo'), '2018-11-04')).toBe('2018-11-04T03:00:00.000Z');
    expect(text(zoneNamed('Pacific/Apia'), '2011-12-30T12:00')).toBe('2011-12-30T10:00:00.000Z');
  });
});

describe('adding days and months', () => {
  test('keeps the time of day and follows the calendar', () => {
    fc.assert(
      fc.property(moment, zone, fc.integer({ min: -400, max: 400 }), (date, tz, days) => {
        const at = date.getTime();
        const wanted = temporal(at, tz).toPlainDateTime().add({ days });
        const walls = timesOf(tz, Date.parse(`${wanted}Z`));
        const moved = addDays(tz, at, days);
        if (walls.length > 0 && temporal(at, tz).startOfDay().epochMilliseconds !== at) expect(walls).toContain(moved);
        const start = temporal(at, tz).startOfDay();
        expect(addDays(tz, start.epochMilliseconds, days)).toBe(
          start.toPlainDate().add({ days }).toZonedDateTime(tz.name).epochMilliseconds,
        );
        expect(addMonths(tz, start.epochMilliseconds, days)).toBe(
          start.toPlainDate().add({ months: days }).toZonedDateTime(tz.name).epochMilliseconds,
        );
      }),
      { numRuns: 3000 },
    );
  });
});

describe('a range of whole days', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const week = range(berlin, '2025-10-20', '2025-10-27');

  test('has a previous period of the same number of days, even if one of its days has 25 hours', () => {
    const before = previousPeriod(week, spanOf(week, berlin), berlin);
    expect(shown(berlin, before)).toEqual(['2025-10-13T00:00', '2025-10-20T00:00']);
    expect(wallLength(week, spanOf(week, berlin), berlin)).toBe(7 * DAY);
  });

  test.each([
    ['Europe/Berlin', '2025-10-20', '2025-10-27', '2025-11-03'],
    ['Europe/Berlin', '2026-03-23', '2026-03-30', '2026-04-06'],
    ['Australia/Lord_Howe', '2026-03-30', '2026-04-06', '2026-04-13'],
    ['America/Sao_Paulo', '2018-10-29', '2018-11-05', '2018-11-12'],
    ['America/Santiago', '2025-09-01', '2025-09-08', '2025-09-15'],
    ['America/Havana', '2026-10-26', '2026-11-02', '2026-11-09'],
    ['Europe/Berlin', '2025-10-26', '2025-10-27', '2025-10-28'],
    ['America/Santiago', '2025-09-07', '2025-09-08', '2025-09-09'],
    ['Europe/Berlin', '2026-03-01', '2026-04-01', '2026-05-01'],
    ['America/Sao_Paulo', '2018-11-01', '2018-12-01', '2019-01-01'],
  ])('moves by its length in %s: from %s to %s, then to %s', (name, from, to, next) => {
    const tz = zoneNamed(name);
    const first = range(tz, from, to);
    const span = spanOf(first, tz);
    const later = adjacentRange(first, span, tz, 1);
    expect(later).toEqual(range(tz, to, next));
    expect(adjacentRange(later, spanOf(later, tz), tz, -1)).toEqual(first);
    expect(previousPeriod(later, span, tz)).toEqual(first);
  });

  test('moves past the day that Apia skipped', () => {
    const apia = zoneNamed('Pacific/Apia');
    const days = range(apia, '2011-12-27', '2011-12-30');
    expect(shown(apia, days)).toEqual(['2011-12-27T00:00', '2011-12-31T00:00']);
    const skipped = range(apia, '2011-12-24', '2011-12-29');
    expect(shown(apia, adjacentRange(skipped, spanOf(skipped, apia), apia, 1))).toEqual([
      '2011-12-29T00:00',
      '2012-01-03T00:00',
    ]);
  });

  test('moves by a fraction of its length, in whole days if that is at least one', () => {
    const span = spanOf(week, berlin);
    expect(shown(berlin, moveRange(week, span, berlin, 1 / 4))).toEqual(['2025-10-22T00:00', '2025-10-29T00:00']);
    const day = range(berlin, '2025-10-26', '2025-10-27');
    const moved = moveRange(day, spanOf(day, berlin), berlin, 1 / 4);
    expect(shown(berlin, moved)).toEqual(['2025-10-26T06:00', '2025-10-27T06:00']);
    const month = range(berlin, '2025-10-01', '2025-11-01');
    expect(shown(berlin, moveRange(month, spanOf(month, berlin), berlin, -1 / 4))).toEqual([
      '2025-09-23T00:00',
      '2025-10-24T00:00',
    ]);
  });

  test('zooms in and out by days and months', () => {
    const zoomed = (from: string, to: string) => {
      const start = range(berlin, from, to);
      const span = spanOf(start, berlin);
      return [zoomIn(start, span, berlin), zoomOut(start, span, berlin)].map((zoomedRange) =>
        shown(berlin, zoomedRange),
      );
    };
    expect(zoomed('2025-10-20', '2025-10-27')).toEqual([
      ['2025-10-22T00:00', '2025-10-25T00:00'],
      ['2025-10-16T00:00', '2025-10-30T00:00'],
    ]);
    expect(zoomed('2025-10-26', '2025-10-27')).toEqual([
      ['2025-10-26T06:00', '2025-10-26T18:00'],
      ['2025-10-25T00:00', '2025-10-27T00:00'],
    ]);
    expect(zoomed('2025-10-01', '2025-11-01')).toEqual([
      ['2025-10-09T00:00', '2025-10-24T00:00'],
      ['2025-09-01T00:00', '2025-11-01T00:00'],
    ]);
  });

  test('differs from any other range, which keeps its exact length and moves by half of it', () => {
    const hours = { from: new Date('2025-10-25T23:00:00Z'), to: new Date('2025-10-26T03:00:00Z') };
    const span = spanOf(hours, berlin);
    expect(span).toEqual({ unit: 'milliseconds', count: 4 * 3_600_000 });
    expect(previousPeriod(hours, span, berlin).from.toISOString()).toBe('2025-10-25T19:00:00.000Z');
    expect(adjacentRange(hours, span, berlin, 1).from.toISOString()).toBe('2025-10-26T01:00:00.000Z');
    fc.assert(
      fc.property(moment, zone, fc.integer({ min: 1, max: 400 * DAY }), (to, tz, length) => {
        const anyRange = { from: new Date(to.getTime() - length), to };
        const anySpan = spanOf(anyRange, tz);
        if (anySpan.unit === 'milliseconds') expect(anySpan.count).toBe(length);
        else expect(wallLength(anyRange, anySpan, tz) % DAY).toBe(0);
        const before = previousPeriod(anyRange, anySpan, tz);
        expect(before.to).toEqual(anyRange.from);
        expect(before.from < before.to).toBe(true);
      }),
    );
  });
});
