import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { checksumOfBlobs } from '../../src/storage/columns/checksum.ts';
import {
  bytesOf,
  type Chunk,
  type ChunkBlobs,
  decodeChunk,
  encodeChunk,
  seqsOf,
  viewStoredChunk,
  withoutRows,
} from '../../src/storage/columns/chunk.ts';
import { type OverwrittenChunk, overwriteRows, rowsOf } from '../../src/storage/columns/removed-rows.ts';
import { encodeSeqs } from '../../src/storage/columns/seq-codec.ts';
import {
  decodeHours,
  fitSummary,
  isSummaryOf,
  NO_SUMMARY,
  removeFromSummary,
  type SummaryBlobs,
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

/** Overwrites the rows of a user in copies of a chunk's blobs. */
function overwrite(blobs: ChunkBlobs, extent: Chunk | OverwrittenChunk['extent'], user: number) {
  const { times, users, labels, values, seqs } = blobs;
  const copies = {
    times: times.slice(),
    users: users.slice(),
    labels: labels.slice(),
    values: values.slice(),
    seqs: seqs.slice(),
  };
  return overwriteRows(copies, extent, rowsOf(viewStoredChunk(copies, extent).users, user));
}

test('a stored chunk is read without the rows of removed users, however many there are', () =>
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 40, size: 'max' }), fc.array(fc.nat(4)), (rows, removed) => {
      let expected = chunkOf(rows);
      let stored: Pick<OverwrittenChunk, 'blobs' | 'extent'> = { blobs: encodeChunk(expected), extent: expected };
      for (const number of removed) {
        const user = number === 0 ? 70_000 : number;
        expected = withoutRows(expected, (at) => expected.users[at] === user) ?? expected;
        const copied = overwrite(stored.blobs, stored.extent, user);
        if (!copied) {
          if (expected.rows === 0) return;
          stored = { blobs: encodeChunk(expected), extent: expected };
          continue;
        }
        const { rows: kept, minTime, maxTime } = expected;
        expect(copied.extent).toEqual({ rows: kept, minTime, maxTime });
        stored = copied;
        expect(comparable(decodeChunk(stored.blobs, stored.extent))).toEqual(comparable(expected));
      }
    }),
    { numRuns: 500 },
  ));

test('nothing but the seq of a removed row remains, even in copies for rows that were removed earlier', () =>
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 8, maxLength: 40 }), (users) => {
      const chunk = chunkOf(users.map((user, i) => ({ user, time: 1_000 * i, label: i, value: i + 0.5, step: 1 })));
      const earlier = overwrite(encodeChunk(chunk), chunk, 1);
      const removed = earlier && overwrite(earlier.blobs, earlier.extent, 2);
      if (!removed) return;
      const { blobs, extent } = removed;
      const kept = users.flatMap((user, i) => (user > 2 ? [i] : []));
      const { times, labels, values } = viewStoredChunk(blobs, extent);
      const found = [...labels].filter((label) => !kept.includes(label));
      expect(found).toEqual([]);
      expect([...values].map((value) => value - 0.5)).toEqual([...labels]);
      expect([...times].map((time) => time + (kept[0] ?? 0))).toEqual([...labels]);
    }),
  ));

test('removing a few rows keeps the size of a stored chunk', () => {
  const chunk = chunkOf(
    Array.from({ length: 1_000 }, (_, i) => ({ user: 1 + (i % 99), time: i * 1e6, label: 1, value: i, step: 1_000 })),
  );
  const copied = overwrite(encodeChunk(chunk), chunk, 7);
  expect(copied?.extent.rows).toBe(989);
  const sizes = (blobs: ChunkBlobs) => Object.values(blobs).map((bytes: Uint8Array) => bytes.byteLength);
  expect(copied && sizes(copied.blobs)).toEqual(sizes(encodeChunk(chunk)));
});

/** Returns copies of a summary's blobs. */
function copyOf(summary: SummaryBlobs): SummaryBlobs {
  const { quarters, hours, sorted } = summary;
  return { ...summary, quarters: quarters.slice(), hours: hours.slice(), sorted: sorted.slice() };
}

/** Returns what a summary says, wherever its values are. Sums can be NaN: they are compared as bytes. */
function contentsOf({ quarters, hours, sorted }: SummaryBlobs) {
  const found = decodeHours(hours, sorted);
  const values = [...(found?.numbers.keys() ?? [])].map((h) => found?.sorted.slice(found.starts[h], found.ends[h]));
  return { quarters, numbers: found?.numbers, sums: found && bytesOf(found.sums), values };
}

const rowOfHour = fc.record({
  user: fc.integer({ min: 1, max: 12 }),
  time: fc.integer({ min: 0, max: 7 }).map((quarters) => quarters * 900e6),
  label: fc.constant(1),
  value: fc.constantFrom(0, -0, 1, 0.1, 1e300, -1e300, 2.5),
  step: fc.constant(1),
});

test('a summary from which rows are removed is that of the chunk without them', () => {
  let updated = 0;
  fc.assert(
    fc.property(fc.array(rowOfHour, { minLength: 30, maxLength: 90, size: 'max' }), fc.boolean(), (rows, isMetric) => {
      let chunk = chunkOf(rows);
      if (!isMetric) chunk = { ...chunk, values: new Float64Array(0) };
      let stored = summarize(chunk);
      let extent: OverwrittenChunk['extent'] = chunk;
      let blobs = encodeChunk(chunk);
      for (const user of [7, 9, 3]) {
        const overwritten = overwrite(blobs, extent, user);
        if (!stored || !overwritten) return;
        ({ blobs, extent } = overwritten);
        const found = removeFromSummary(copyOf(stored), overwritten.removed, extent.rows);
        if (!found) return;
        updated++;
        const kept = decodeChunk(blobs, extent);
        expect(contentsOf(found)).toEqual(contentsOf(summarize(kept) as typeof found));
        expect(isSummaryOf(kept, found)).toBe(true);
        const longer = { ...found, sorted: new Uint8Array(found.sorted.byteLength + 16) };
        expect(isSummaryOf(kept, fitSummary(found, longer))).toBe(true);
        const fitting = fitSummary(found, { ...found, hours: new Uint8Array(0) });
        expect(fitting).toMatchObject({
          quarters: found.quarters,
          hours: new Uint8Array(0),
          sorted: new Uint8Array(0),
        });
        expect(isSummaryOf(kept, fitting)).toBe(found.hours.byteLength > 0 || fitting.sorted.byteLength === 0);
        expect(fitSummary(found, NO_SUMMARY)).toEqual(NO_SUMMARY);
        stored = found;
      }
    }),
    { numRuns: 500 },
  );
  expect(updated).toBeGreaterThan(100);
});

test('a removed value changes only its hour in a summary, and no copy of it remains', () => {
  const rows = Array.from({ length: 600 }, (_, i) => ({
    user: i === 250 ? 7 : 1,
    time: Math.floor(i / 100) * 3600e6 + (i % 100) * 1e6,
    label: 1,
    value: i + 0.5,
    step: 1,
  }));
  const chunk = chunkOf(rows);
  const overwritten = overwrite(encodeChunk(chunk), chunk, 7);
  const summary = summarize(chunk);
  if (!overwritten || !summary) throw new Error('the chunk has no summary');
  const found = removeFromSummary(copyOf(summary), overwritten.removed, overwritten.extent.rows);
  if (!found) throw new Error('the row was not removed');
  const [before, after] = [new Float64Array(summary.sorted.buffer), new Float64Array(found.sorted.buffer)];
  const changed = [...after.keys()].filter((i) => !Object.is(after[i], before[i]));
  expect([changed[0], changed.at(-1), changed.length]).toEqual([250, 299, 50]);
  expect(after[299]).toBeNaN();
  expect([...after]).not.toContain(250.5);

  const kept = decodeChunk(overwritten.blobs, overwritten.extent);
  expect(isSummaryOf(kept, found)).toBe(true);
  after[299] = 250.5;
  const traced = { ...found, checksum: checksumOfBlobs([found.hours, found.sorted]) };
  expect(isSummaryOf(kept, traced)).toBe(false);
});
