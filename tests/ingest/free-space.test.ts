import { expect, test } from 'bun:test';
import { createForecast } from '../../src/ingest/free-space.ts';

const GB = 1e9;

/** Returns the forecast after a disk was watched once per second. */
function watched(seconds: number, bytesAt: (second: number) => number, minBytes = GB) {
  const forecast = createForecast(minBytes);
  for (let second = 0; second <= seconds; second++) forecast.add(second, bytesAt(second));
  return forecast.secondsLeft();
}

test('predicts when the free space reaches the minimum', () => {
  expect(watched(3_600, (second) => 10 * GB - second * 1e6)).toBe((10 * GB - 3_600e6 - GB) / 1e6);
  expect(watched(3_600, () => 0.5 * GB + 1)).toBeUndefined();
  expect(watched(3_600, (second) => GB - second)).toBe(0);
});

test('predicts nothing while the free space does not shrink, or in the first ten minutes', () => {
  expect(watched(7_200, (second) => GB + second)).toBeUndefined();
  expect(watched(599, (second) => 10 * GB - second)).toBeUndefined();
  expect(watched(600, (second) => 10 * GB - second)).toBe(9 * GB - 600);
});

test('extrapolates the last six hours only', () => {
  const hour = 3_600;
  // fast at first, then slow
  const left = watched(12 * hour, (second) => 100 * GB - Math.min(second, 5 * hour) * 1e6 - second * 1e3);
  const free = 100 * GB - 5 * hour * 1e6 - 12 * hour * 1e3;
  expect(left).toBe(Math.round((free - GB) / 1e3));
});
