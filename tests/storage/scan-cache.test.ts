import { expect, test } from 'bun:test';
import { ScanCache } from '../../src/storage/columns/scan-cache.ts';

/** A cache for a hundred entries of ten bytes. */
const createCache = () => new ScanCache<number, { readonly bytes: number }>(1_000, ({ bytes }) => bytes);

/** Reads entries through the cache, as a scan does. Returns how many it found. */
function scan(cache: ReturnType<typeof createCache>, first: number, end: number): number {
  let found = 0;
  for (let key = first; key < end; key++) {
    if (cache.get(key)) found++;
    else cache.add(key, { bytes: 10 });
  }
  return found;
}

test('the next scan of what fits finds everything', () => {
  const cache = createCache();
  expect(scan(cache, 0, 100)).toBe(0);
  expect(scan(cache, 0, 100)).toBe(100);
});

test('scans over more than fits find most of it', () => {
  const cache = createCache();
  scan(cache, 0, 125);
  for (let i = 0; i < 10; i++) expect(scan(cache, 0, 125)).toBeGreaterThan(75);
});

test('what is used replaces what is not, and the size stays bounded', () => {
  const cache = createCache();
  scan(cache, 0, 125);
  let scans = 0;
  while (scan(cache, 1_000, 1_050) < 50) expect(++scans).toBeLessThan(30);
  expect([...cache.keys()].length).toBeLessThanOrEqual(100);
  cache.delete(1_000);
  expect(cache.get(1_000)).toBeUndefined();
  cache.clear();
  expect([...cache.keys()]).toEqual([]);
});
