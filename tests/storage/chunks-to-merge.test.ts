import { describe, expect, test } from 'bun:test';
import { chunksToMerge, MAX_CHUNK_ROWS, MAX_PARTIAL_CHUNKS } from '../../src/storage/columns/chunks-to-merge.ts';

/** Returns the chunks that new rows are merged with, by their index. */
function mergedWith(chunks: readonly number[], added: number): number[] {
  const entries = chunks.map((rows, id) => ({ id, rows }));
  return chunksToMerge(entries.reverse().slice(0, MAX_PARTIAL_CHUNKS), added);
}

test('merges the last chunks in commit order as soon as they fill a chunk with the new rows', () => {
  const chunks = [MAX_CHUNK_ROWS, 8_000, 4_000, 3_000];
  expect(mergedWith(chunks, MAX_CHUNK_ROWS - 15_000)).toEqual([1, 2, 3]);
  expect(mergedWith(chunks, MAX_CHUNK_ROWS - 15_001)).toEqual([]);
});

test('merges chunks before that if three or more are of similar size', () => {
  expect(mergedWith([100, 100], 100)).toEqual([]);
  expect(mergedWith([201, 100, 100], 100)).toEqual([]);
  expect(mergedWith([1_000, 200, 100, 100], 100)).toEqual([1, 2, 3]);
  expect(mergedWith([400, 400, 400, 100, 100, 100], 100)).toEqual([0, 1, 2, 3, 4, 5]);
});

test('does not rewrite a chunk that became a little shorter in an erasure for a few rows', () => {
  expect(mergedWith([16_000], 7_999)).toEqual([]);
  expect(mergedWith([16_000], 8_000)).toEqual([0]);
});

test('merges all chunks that are not full once there are too many of them', () => {
  const chunks = Array<number>(MAX_PARTIAL_CHUNKS).fill(3);
  expect(mergedWith(chunks, 1)).toEqual([...chunks.keys()]);
  expect(mergedWith(chunks.slice(1), 1)).toEqual([]);
});

describe.each([1, 20, 700, 6_000])('a series that grows by %d rows at a time', (added) => {
  test('rewrites rows rarely and has few chunks that are not full', () => {
    const log4 = (rows: number) => Math.log(rows) / Math.log(4);
    const chunks: number[] = [];
    let [written, most] = [0, 0];
    const steps = Math.ceil((4 * MAX_CHUNK_ROWS) / added);
    for (let step = 0; step < steps; step++) {
      const merged = mergedWith(chunks, added);
      let rows = merged.reduce((sum, chunk) => sum + (chunks[chunk] as number), added);
      expect(merged).toEqual([...chunks.keys()].slice(chunks.length - merged.length)); // or rows would change places
      chunks.length -= merged.length;
      written += rows;
      for (; rows > 0; rows -= MAX_CHUNK_ROWS) chunks.push(Math.min(rows, MAX_CHUNK_ROWS));
      most = Math.max(most, chunks.filter((size) => size < MAX_CHUNK_ROWS).length);
    }
    expect(written / (added * steps)).toBeLessThan(2 + log4(MAX_CHUNK_ROWS / added));
    expect(most).toBeLessThan(3 * (1 + log4(MAX_CHUNK_ROWS / added)));
  });
});
