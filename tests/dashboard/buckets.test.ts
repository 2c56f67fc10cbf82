import { expect, test } from 'bun:test';
import { alignEarlierBuckets, bucketIndexAt, edgesOf, middlesOf } from '../../src/dashboard/page/chart/buckets.ts';

const at = (hour: string) => Date.parse(`2026-03-01T${hour}:00Z`) / 1000;
const buckets = (from: string, to: string, ...starts: string[]) => ({
  from: `2026-03-01T${from}:00Z`,
  to: `2026-03-01T${to}:00Z`,
  buckets: starts.map((start) => ({ start: `2026-03-01T${start}:00Z` })),
});

test('clips bucket edges to the range', () => {
  const { buckets: all, ...range } = buckets('00:45', '02:15', '00:00', '01:00', '02:00');
  const edges = edgesOf({ starts: all.map(({ start }) => start), range });
  expect(edges).toEqual(['00:45', '01:00', '02:00', '02:15'].map(at));
  expect(middlesOf(edges)).toEqual([at('00:45') + 450, at('01:30'), at('02:00') + 450]);
});

test('finds the bucket that contains a moment', () => {
  const edges = ['00:45', '01:00', '02:00', '02:15'].map(at);
  const moments = [at('00:45'), at('01:00') - 1, at('01:00'), at('01:59'), at('02:00'), at('02:15') - 1];
  expect(moments.map((moment) => bucketIndexAt(edges, moment))).toEqual([0, 0, 1, 1, 2, 2]);
  expect([at('00:44'), at('02:15'), Number.NaN].map((moment) => bucketIndexAt(edges, moment))).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  expect(bucketIndexAt([], 0)).toBeUndefined();
});

test('aligns buckets by their distance from the start of the range', () => {
  // 90 minutes at an interval of one hour: two buckets in one range, three in the other
  const now = buckets('12:00', '13:30', '12:00', '13:00');
  const earlier = buckets('10:30', '12:00', '10:00', '11:00');
  expect(alignEarlierBuckets(now, earlier).map((bucket) => bucket?.start)).toEqual([
    '2026-03-01T11:00:00Z',
    '2026-03-01T11:00:00Z',
  ]);
  const shorter = buckets('11:00', '12:00', '11:00');
  expect(alignEarlierBuckets(now, shorter).map((bucket) => bucket?.start)).toEqual(['2026-03-01T11:00:00Z', undefined]);
});

test('aligns buckets by wall time when clocks change during one of the ranges', () => {
  const hours = (from: string, to: string, offsetOf: (hour: number) => string, ...walls: number[]) => ({
    from,
    to,
    buckets: walls.map((hour) => ({ start: `${from.slice(0, 11)}0${hour}:00:00${offsetOf(hour)}` })),
  });
  const now = hours(
    '2025-10-26T00:00:00+02:00',
    '2025-10-26T05:00:00+01:00',
    (h) => (h < 2 ? '+02:00' : '+01:00'),
    0,
    1,
    3,
    4,
  );
  now.buckets.splice(2, 0, { start: '2025-10-26T02:00:00+02:00' }, { start: '2025-10-26T02:00:00+01:00' });
  const earlier = hours('2025-10-19T00:00:00+02:00', '2025-10-19T05:00:00+02:00', () => '+02:00', 0, 1, 2, 3, 4);
  const hour = (bucket: { start: string } | undefined) => bucket?.start.slice(11, 13);
  expect(alignEarlierBuckets(now, earlier).map(hour)).toEqual(['00', '01', '02', '02', '03', '04']);
  expect(alignEarlierBuckets(earlier, now).map(hour)).toEqual(['00', '01', '02', '03', '04']);
  // ranges that begin at different times of day are aligned by elapsed time
  const other = hours('2025-10-25T01:00:00+02:00', '2025-10-25T05:00:00+02:00', () => '+02:00', 1, 2, 3, 4);
  expect(alignEarlierBuckets(now, other).map(hour)).toEqual(['01', '02', '03', '04', undefined, undefined]);
});
