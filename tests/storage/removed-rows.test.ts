import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  type Chunk,
  decodeChunk,
  decodeStoredChunk,
  encodeChunk,
  seqsOf,
  withoutRows,
} from '../../src/storage/columns/chunk.ts';
import { overwriteRowsOf } from '../../src/storage/columns/removed-rows.ts';
import { encodeSeqs } from '../../src/storage/columns/seq-codec.ts';
import {
  fitSummary,
  isSummaryOf,
  NO_SUMMARY,
  removeFromSummary,
  summarize,
} from '../../src/storage/columns/summary.ts';

const row = fc.record({
  user: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constant(70_000)),
  time: fc.oneof(
    fc.nat(5),
    fc.integer({ min: 0, max: 5 }).map((seconds) => seconds * 1e6),
  ),
  label: fc.integer({ min: 1, max: 3 }),
  value: fc.double({ noNaN: true }),
  step: fc.constantFrom(1, 300, 2 ** 32 - 1, 2 ** 40),
});

function chunkOf(rows: readonly { user: number; time: number; label: number; value: number; step: number }[]): Chunk {
  let seq = 0;
  const times = Float64Array.from(rows, ({ time }) => 1.7e15 + time);
  return {
    rows: rows.length,
    times,
    users: Uint32Array.from(rows, ({ user }) => user),
    labels: Uint32Array.from(rows, ({ label }) => label),
    values: Float64Array.from(rows, ({ value }) => value),
    seqs: encodeSeqs(Float64Array.from(rows, ({ step }) => (seq += step))),
    minTime: Math.min(...times),
    maxTime: Math.max(...times),
  };
}

const comparable = (chunk: Chunk) => ({ ...chunk, seqs: seqsOf(chunk) });

test('a stored chunk is read without the rows of removed users, however many there are', () =>
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 40, size: 'max' }), fc.array(fc.nat(4)), (rows, removed) => {
      let expected = chunkOf(rows);
      let stored = {
        rows: expected.rows,
        minTime: expected.minTime,
        maxTime: expected.maxTime,
        blobs: encodeChunk(expected),
      };
      for (const number of removed) {
        const user = number === 0 ? 70_000 : number;
        expected = withoutRows(expected, (at) => expected.users[at] === user) ?? expected;
        const copied = overwriteRowsOf(decodeStoredChunk(stored.blobs, stored), user);
        const { minTime, maxTime } = expected;
        if (!copied) {
          if (expected.rows === 0) return;
          stored = { rows: expected.rows, minTime, maxTime, blobs: encodeChunk(expected) };
          continue;
        }
        expect({ rows: copied.rows, minTime: copied.stored.minTime, maxTime: copied.stored.maxTime }).toEqual({
          rows: expected.rows,
          minTime,
          maxTime,
        });
        expect({ ...copied.kept(), seqs: 0 }).toEqual({ ...expected, seqs: 0 });
        stored = { rows: copied.rows, minTime, maxTime, blobs: encodeChunk(copied.stored) };
        expect(comparable(decodeChunk(stored.blobs, stored))).toEqual(comparable(expected));
      }
    }),
    { numRuns: 500 },
  ));

test('removing a few rows keeps the size of a stored chunk', () => {
  const chunk = chunkOf(
    Array.from({ length: 1_000 }, (_, i) => ({ user: 1 + (i % 99), time: i * 1e6, label: 1, value: i, step: 1_000 })),
  );
  const copied = overwriteRowsOf(chunk, 7);
  expect(copied?.rows).toBe(989);
  const sizes = (stored: Chunk) => Object.values(encodeChunk(stored)).map((bytes: Uint8Array) => bytes.byteLength);
  expect(copied && sizes(copied.stored)).toEqual(sizes(chunk));
});

test('a summary from which rows are removed is that of the chunk without them', () => {
  const rowOfHour = fc.record({
    user: fc.integer({ min: 1, max: 12 }),
    time: fc.integer({ min: 0, max: 7 }).map((quarters) => quarters * 900e6),
    label: fc.constant(1),
    value: fc.constantFrom(0, -0, 1, 0.1, 1e300, -1e300, 2.5),
    step: fc.constant(1),
  });
  let updated = 0;
  fc.assert(
    fc.property(fc.array(rowOfHour, { minLength: 30, maxLength: 90, size: 'max' }), fc.boolean(), (rows, isMetric) => {
      let chunk = chunkOf(rows);
      if (!isMetric) chunk = { ...chunk, values: new Float64Array(0) };
      const summary = summarize(chunk);
      const overwritten = overwriteRowsOf(chunk, 7);
      if (!summary || !overwritten) return;
      const found = removeFromSummary(summary, overwritten.removed);
      if (!found) return;
      updated++;
      expect(found).toEqual(summarize(overwritten.kept()) as typeof found);
      const longer = { ...summary, sorted: new Uint8Array(summary.sorted.byteLength + 16) };
      expect(isSummaryOf(overwritten.kept(), fitSummary(found, longer))).toBe(true);
      const fitting = fitSummary(found, { ...found, hours: new Uint8Array(0) });
      expect(fitting).toMatchObject({ quarters: found.quarters, hours: new Uint8Array(0), sorted: new Uint8Array(0) });
      expect(isSummaryOf(overwritten.kept(), fitting)).toBe(
        found.hours.byteLength > 0 || fitting.sorted.byteLength === 0,
      );
      expect(fitSummary(found, NO_SUMMARY)).toEqual(NO_SUMMARY);
    }),
    { numRuns: 500 },
  );
  expect(updated).toBeGreaterThan(100);
});
