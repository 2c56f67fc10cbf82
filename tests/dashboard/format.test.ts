import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  barWidth,
  changeOf,
  formatBytes,
  formatCount,
  formatDuration,
  formatInterval,
  formatPart,
  formatShare,
  formatStarts,
  formatStored,
  formatTime,
  formatValue,
} from '../../src/dashboard/page/format.ts';
import { zoneNamed } from './zones.ts';

test('formats numbers', () => {
  expect([formatCount(1_234_567), formatCount(null)]).toEqual(['1,234,567', '–']);
  expect([0, 2.5, -3, 12_345.678, 1e-9, 1e300, null].map(formatValue)).toEqual([
    '0',
    '2.5',
    '−3',
    '12,346',
    '1E−9',
    '1E300',
    '–',
  ]);
  expect([0.25, 1, 0.12345, null].map(formatPart)).toEqual(['25%', '100%', '12.3%', '–']);
});

test('formats a fraction as 0% or 100% only if it is exactly that', () => {
  expect([2499 / 2500, 1 / 2500, 999_999 / 1e6, 1 / 1e9, 1 - 2 ** -53].map(formatPart)).toEqual([
    '99.96%',
    '0.04%',
    '99.9999%',
    '0.0000001%',
    '99.99999999999999%',
  ]);
  expect([0, 1].map(formatPart)).toEqual(['0%', '100%']);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1e9 }), fc.integer({ min: 1, max: 1e9 }), (some, others) => {
      expect(formatPart(some / (some + others))).not.toMatch(/^(0|100)%$/);
      expect(barWidth(some / (some + others))).toMatch(/^clamp\(2px, .*, 100% - 2px\)$/);
    }),
  );
  expect([barWidth(0), barWidth(1)]).toEqual(['0', '100%']);
});

test('shares have one decimal, and are 0.0% or 100.0% only if they are exactly that', () => {
  expect([0.13, 0.3571, 0, 1, 0.0001, 0.99999, 1e-12, null].map(formatShare)).toEqual([
    ...['13.0%', '35.7%', '0.0%', '100.0%', '<0.1%', '>99.9%', '<0.1%', '–'],
  ]);
});

test('a change says up or down and, where that is known, whether it is better', () => {
  const words = (now: number, before: number, better?: 'lower' | 'higher') => changeOf(now, before, better)?.words;
  expect(words(112, 100, 'higher')).toBe('up 12%, better');
  expect(words(112, 100, 'lower')).toBe('up 12%, worse');
  expect(words(88, 100, 'lower')).toBe('down 12%, better');
  expect(words(88, 100)).toBe('down 12%');
  expect(words(100, 100, 'lower')).toBe('unchanged');
  expect(words(3, 0, 'higher')).toBe('up from zero, better');
  expect(words(-5, -10, 'higher')).toBe('up 50%, better');
  expect(words(0, 0)).toBeUndefined();
  for (const [now, before] of [
    [null, 1],
    [1, null],
    [undefined, 1],
  ] as const)
    expect(changeOf(now, before, 'higher')).toBeUndefined();
  expect(changeOf(112, 100, 'lower')).toEqual({ direction: 'up', tone: 'bad', text: '12%', words: 'up 12%, worse' });
  expect(changeOf(10.01, 10, undefined)).toMatchObject({ tone: 'neutral', text: '0.1%' });
  // a slight change is neither good nor bad
  expect(changeOf(10.01, 10, 'higher')).toMatchObject({ tone: 'neutral', words: 'up 0.1%' });
  // only a figure that became zero fell by 100%
  expect(changeOf(1, 10_000, 'higher')?.text).toBe('99.99%');
  expect(changeOf(0, 10_000, 'higher')?.text).toBe('100%');
  expect(changeOf(20_001, 10_000, 'higher')?.text).toBe('100%');
  expect(changeOf(109, 10, 'higher')).toMatchObject({ text: '990%', words: 'up 990%, better' });
  expect(changeOf(73_000, 100, 'lower')).toMatchObject({ text: '730×', words: 'up, 730× as much, worse' });
});

test('formats bytes and durations', () => {
  expect([0, 1, 999, 1000, 1_234_567, 5e10].map(formatBytes)).toEqual([
    ...['0 bytes', '1 byte', '999 bytes', '1 kB', '1.23 MB', '50 GB'],
  ]);
  expect([3_600, 86_400, 21_600].map(formatInterval)).toEqual(['every hour', 'every day', 'every 6 hours']);
  expect([0.04, 0.5, 1, 59, 90, 7200, 86_400 * 3, 86_400 * 800].map(formatDuration)).toEqual([
    '0.04 seconds',
    '0.5 seconds',
    '1 second',
    '59 seconds',
    '1.5 minutes',
    '2 hours',
    '3 days',
    '2.2 years',
  ]);
});

test('formats times in a time zone', () => {
  const moment = new Date('2026-03-01T23:05:07.123Z');
  expect(formatTime(moment, zoneNamed('UTC'), 'millisecond')).toBe('2026-03-01 23:05:07.123');
  expect(formatTime(moment, zoneNamed('Europe/Berlin'), 'second')).toBe('2026-03-02 00:05:07');
  expect(formatTime(moment, zoneNamed('Asia/Kolkata'), 'minute')).toBe('2026-03-02 04:35');
  expect(formatTime(moment, zoneNamed('America/New_York'), 'day')).toBe('2026-03-01');
});

test('appends the UTC offset to times that occur twice', () => {
  const texts = (tz: string, detail: 'minute' | 'second', ...moments: string[]) =>
    moments.map((moment) => formatTime(new Date(moment), zoneNamed(tz), detail));
  expect(
    texts(
      'Europe/Berlin',
      'minute',
      '2025-10-25T23:59Z',
      '2025-10-26T00:00Z',
      '2025-10-26T01:00Z',
      '2025-10-26T02:00Z',
    ),
  ).toEqual(['2025-10-26 01:59', '2025-10-26 02:00 +02:00', '2025-10-26 02:00 +01:00', '2025-10-26 03:00']);
  expect(texts('Australia/Lord_Howe', 'second', '2026-04-04T14:45:01Z', '2026-04-04T15:15:01Z')).toEqual([
    '2026-04-05 01:45:01 +11:00',
    '2026-04-05 01:45:01 +10:30',
  ]);
});

test('keeps all digits of a record timestamp', () => {
  const berlin = zoneNamed('Europe/Berlin');
  expect(
    [
      '2026-03-01T23:05:07Z',
      '2026-03-01T23:05:07.5Z',
      '2026-03-01T23:05:07.123456Z',
      '2025-10-26T01:00:00.000001Z',
    ].map((text) => formatStored(text, berlin)),
  ).toEqual([
    '2026-03-02 00:05:07.000',
    '2026-03-02 00:05:07.500',
    '2026-03-02 00:05:07.123456',
    '2025-10-26 02:00:00.000001 +01:00',
  ]);
});

test('formats bucket starts as in the response, with the offset if they occur twice', () => {
  const starts = ['2025-10-26T01:00:00+02:00', '2025-10-26T02:00:00+02:00', '2025-10-26T02:00:00+01:00'];
  const labels = ['2025-10-26 01:00', '2025-10-26 02:00 +02:00', '2025-10-26 02:00 +01:00'];
  expect(formatStarts(starts, zoneNamed('Europe/Berlin'))).toEqual(labels);
  expect(formatStarts(starts.slice(2), zoneNamed('Europe/Berlin'))).toEqual(labels.slice(2));
  // the page's time zone rules may differ from those of the response
  expect(formatStarts(starts, zoneNamed('UTC'))).toEqual(labels);
});
