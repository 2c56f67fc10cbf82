import { expect, test } from 'bun:test';
import { bucketStartText, bucketText } from '../../src/dashboard/page/chart/bucket-text.ts';
import { bucketEnd, incompleteBuckets } from '../../src/dashboard/page/chart/incomplete.ts';
import { zoneNamed } from './zones.ts';

const at = (text: string) => Date.parse(text);

test('buckets end where the calendar says', () => {
  const berlin = zoneNamed('Europe/Berlin');
  const end = (start: string, interval: Parameters<typeof bucketEnd>[2]) =>
    new Date(bucketEnd(berlin, at(start), interval)).toISOString();
  // a day of 25 hours
  expect(end('2025-10-26T00:00:00+02:00', '1d')).toBe('2025-10-26T23:00:00.000Z');
  expect(end('2025-10-26T00:00:00+02:00', '6h')).toBe('2025-10-26T05:00:00.000Z');
  // the first of two hours from 2 to 3
  expect(end('2025-10-26T02:00:00+02:00', '1h')).toBe('2025-10-26T01:00:00.000Z');
  expect(end('2026-02-01T00:00:00+01:00', '1M')).toBe('2026-02-28T23:00:00.000Z');
  expect(end('2026-03-23T00:00:00+01:00', '1w')).toBe('2026-03-29T22:00:00.000Z');
  expect(end('2026-01-01T00:00:00+01:00', '1y')).toBe('2026-12-31T23:00:00.000Z');
  expect(end('2026-01-01T00:00:00+01:00', '5m')).toBe('2025-12-31T23:05:00.000Z');
});

test('a bucket is incomplete if the range cuts it or if it is still in progress', () => {
  const starts = ['2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z', '2026-03-03T00:00:00Z'];
  const end = at('2026-03-04T00:00:00Z');
  const check = (from: string, to: string, now: string) =>
    incompleteBuckets({ starts, range: { from, to } }, end, at(now));
  const [first, last] = ['2026-03-01T00:00:00Z', '2026-03-04T00:00:00Z'];
  expect(check(first, last, '2026-04-01T00:00:00Z')).toEqual({ first: false, last: undefined });
  expect(check('2026-03-01T10:00:00Z', last, '2026-04-01T00:00:00Z')).toEqual({ first: true, last: undefined });
  expect(check(first, '2026-03-03T10:00:00Z', '2026-04-01T00:00:00Z')).toEqual({ first: false, last: 'range' });
  expect(check(first, '2026-03-03T10:00:00Z', '2026-03-03T10:00:00Z')).toEqual({ first: false, last: 'now' });
  expect(check(first, last, '2026-03-03T10:00:00Z')).toEqual({ first: false, last: 'now' });
  // exactly at the end
  expect(check(first, last, last)).toEqual({ first: false, last: undefined });
  expect(incompleteBuckets({ starts: [], range: { from: null, to: null } }, Number.NaN, 0)).toEqual({
    first: false,
    last: undefined,
  });
});

test('the range of a bucket is text as people say it', () => {
  const text = (tz: string, start: string, end: string) => bucketText(zoneNamed(tz), at(start), at(end));
  expect(text('UTC', '2026-11-14T00:00Z', '2026-11-15T00:00Z')).toBe('Sat 14 Nov 2026');
  expect(text('UTC', '2026-11-14T14:00Z', '2026-11-14T15:00Z')).toBe('14 Nov 2026, 14:00–15:00');
  expect(text('UTC', '2026-11-14T23:00Z', '2026-11-15T00:00Z')).toBe('14 Nov 2026, 23:00–00:00');
  expect(text('UTC', '2026-11-14T00:00Z', '2026-11-14T14:32:05Z')).toBe('14 Nov 2026, 00:00–14:32:05');
  expect(text('UTC', '2026-11-09T00:00Z', '2026-11-16T00:00Z')).toBe('9–15 Nov 2026');
  expect(text('UTC', '2026-11-30T00:00Z', '2026-12-07T00:00Z')).toBe('30 Nov – 6 Dec 2026');
  expect(text('UTC', '2026-12-28T00:00Z', '2027-01-04T00:00Z')).toBe('28 Dec 2026 – 3 Jan 2027');
  expect(text('UTC', '2026-11-09T12:00Z', '2026-11-16T00:00Z')).toBe('9 Nov 2026, 12:00 – 16 Nov 2026, 00:00');
  expect(text('UTC', '2026-11-01T00:00Z', '2026-12-01T00:00Z')).toBe('Nov 2026');
  expect(text('UTC', '2026-01-01T00:00Z', '2027-01-01T00:00Z')).toBe('2026');
  expect(text('UTC', '2026-01-01T00:00Z', '2026-04-01T00:00Z')).toBe('Jan – Mar 2026');
  // a day that clocks shorten, and an hour that occurs twice
  expect(text('Europe/Berlin', '2026-03-28T23:00Z', '2026-03-29T22:00Z')).toBe('Sun 29 Mar 2026');
  expect(text('Europe/Berlin', '2025-10-26T00:00Z', '2025-10-26T01:00Z')).toBe(
    '26 Oct 2025, 02:00 +02:00–02:00 +01:00',
  );
  const start = (tz: string, text: string) => bucketStartText(zoneNamed(tz), at(text));
  expect(start('UTC', '2026-10-16T00:00Z')).toBe('16 Oct');
  expect(start('Europe/Berlin', '2026-10-16T12:30Z')).toBe('16 Oct, 14:30');
});
