import { expect, test } from 'bun:test';
import { TICK_DISTANCES, tickDistances, tickLabels, ticksBetween } from '../../src/dashboard/page/chart/ticks.ts';
import { zoneNamed } from './zones.ts';

const [MINUTES, HOUR, DAY, MONTH, YEAR] = [1800, 3600, 86_400, 30 * 86_400, 365 * 86_400];
const labels = (tz: string, from: string, to: string, distance: number) => {
  const zone = zoneNamed(tz);
  const ticks = ticksBetween(zone, Date.parse(from) / 1000, Date.parse(to) / 1000, distance);
  return tickLabels(zone, ticks, distance);
};

test('gives an hour that occurs twice two ticks with their offsets', () => {
  expect(labels('Europe/Berlin', '2025-10-25T21:30:00Z', '2025-10-26T03:00:00Z', HOUR)).toEqual([
    '00:00\n26 Oct 2025',
    '01:00',
    '02:00\n+02:00',
    '02:00\n+01:00',
    '03:00',
    '04:00',
  ]);
  expect(labels('Australia/Lord_Howe', '2026-04-04T14:00:00Z', '2026-04-04T16:00:00Z', MINUTES)).toEqual([
    '01:00\n5 Apr 2026',
    '01:30\n+11:00',
    '01:30\n+10:30',
    '02:00',
    '02:30',
  ]);
});

test('places ticks of a day or more at the start of local days, even where clocks skip midnight', () => {
  expect(labels('Europe/Berlin', '2025-10-24T22:00:00Z', '2025-10-27T23:00:00Z', DAY)).toEqual([
    '25 Oct\n2025',
    '26 Oct',
    '27 Oct',
    '28 Oct',
  ]);
  expect(labels('America/Sao_Paulo', '2018-11-03T03:00:00Z', '2018-11-05T02:00:00Z', DAY)).toEqual([
    '3 Nov\n2018',
    '4 Nov',
    '5 Nov',
  ]);
  expect(labels('Pacific/Apia', '2011-12-29T10:00:00Z', '2011-12-31T10:00:00Z', DAY)).toEqual([
    '29 Dec\n2011',
    '31 Dec',
    '1 Jan\n2012',
  ]);
  expect(labels('Europe/Berlin', '2025-11-15T00:00:00Z', '2026-03-01T00:00:00Z', MONTH)).toEqual([
    'Dec\n2025',
    'Jan\n2026',
    'Feb',
    'Mar',
  ]);
  expect(labels('Europe/Berlin', '2023-06-01T00:00:00Z', '2026-03-01T00:00:00Z', YEAR)).toEqual([
    '2024',
    '2025',
    '2026',
  ]);
});

test('returns ascending ticks within the range at every distance', () => {
  for (const tz of ['Europe/Berlin', 'America/St_Johns', 'Pacific/Apia']) {
    for (const distance of TICK_DISTANCES) {
      const from = Date.parse('2011-12-29T22:13:20Z') / 1000;
      const to = from + 12 * distance;
      const ticks = ticksBetween(zoneNamed(tz), from, to, distance);
      expect(ticks.length).toBeGreaterThan(8);
      expect(ticks).toEqual([...new Set(ticks)].sort((a, b) => a - b));
      expect(ticks.every((tick) => tick >= from && tick <= to)).toBe(true);
    }
  }
});

test('buckets of a day or longer have no ticks within a day, even where clocks skip an hour', () => {
  const shortest = (seconds: number) => Math.min(...tickDistances(seconds));
  expect([3600, 12 * 3600, 23 * 3600, 86_400].map(shortest)).toEqual([1, 1, 86_400, 86_400]);
});
