import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { RemovedKeys } from '../../src/storage/columns/removed-keys.ts';
import {
  decodePart,
  encodePart,
  mergeEntries,
  overwriteUserInPart,
  seqsInPart,
  sortByShard,
} from '../../src/storage/columns/user-part.ts';
import { encodeRun, overwriteUserInRun, UserRun } from '../../src/storage/columns/user-run.ts';

/** Rows in commit order, with differences of any size. */
const rows = fc
  .array(
    fc.tuple(
      fc.oneof(fc.nat(6), fc.integer({ min: 0, max: 2 ** 32 - 1 })),
      fc.oneof(
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom(...[1, 2, 3, 4, 5, 6].flatMap((width) => [256 ** width - 2, 256 ** width - 1, 256 ** width])),
      ),
    ),
    { maxLength: 40, size: 'max' },
  )
  .map((steps) => {
    let seq = 0;
    return steps.map(([user, step]) => {
      seq += step;
      return { user, seq };
    });
  })
  .filter((list) => (list.at(-1)?.seq ?? 0) <= Number.MAX_SAFE_INTEGER);

const entriesOf = (list: readonly { user: number; seq: number }[]) => ({
  users: Uint32Array.from(list, ({ user }) => user),
  seqs: Float64Array.from(list, ({ seq }) => seq),
});

test('a part returns the rows of each user, and all rows sorted by user, however it was merged', () =>
  fc.assert(
    fc.property(rows, fc.nat(40), (list, at) => {
      const lists = [list.slice(0, at / 2), list.slice(at / 2, at), list.slice(at)];
      const part = mergeEntries(lists.map((rowsOfPart) => sortByShard(entriesOf(rowsOfPart), 1)));
      const blobs = encodePart(part);
      const sorted = list.toSorted((a, b) => a.user - b.user || a.seq - b.seq);
      expect(decodePart(blobs)).toEqual(entriesOf(sorted));
      for (const user of new Set([0, 7, ...list.map((row) => row.user)])) {
        expect([...seqsInPart(blobs, user)]).toEqual(list.filter((row) => row.user === user).map(({ seq }) => seq));
      }
    }),
    { numRuns: 500 },
  ));

/** Rows of users whose number is not 0, and some of these users in any order. */
const erasedRows = fc.tuple(rows, fc.array(fc.nat(6), { maxLength: 8 })).map(([list, erased]) => ({
  list: list.map(({ user, seq }) => ({ user: user === 0 ? 7 : user, seq })),
  erased: erased.map((user) => user + 1),
}));

test('a part from which users are erased keeps its size and the rows of all others, and nothing of them', () =>
  fc.assert(
    fc.property(erasedRows, ({ list, erased }) => {
      const sorted = list.toSorted((a, b) => a.user - b.user || a.seq - b.seq);
      const blobs = encodePart(entriesOf(sorted));
      const sizes = [blobs.users.byteLength, blobs.seqs.byteLength];
      let kept = sorted;
      for (const user of erased) {
        const removed = kept.filter((row) => row.user === user).length;
        expect(overwriteUserInPart(blobs, user)).toBe(removed);
        kept = kept.filter((row) => row.user !== user);
        expect(decodePart(blobs)).toEqual(entriesOf(kept));
      }
      for (const user of new Set([...erased, ...list.map((row) => row.user)])) {
        expect([...seqsInPart(blobs, user)]).toEqual(kept.filter((row) => row.user === user).map(({ seq }) => seq));
      }
      expect([blobs.users.byteLength, blobs.seqs.byteLength]).toEqual(sizes);
      const count = blobs.users.byteLength / 20;
      const firstSeqs = new Float64Array(blobs.users.slice(0, 8 * count).buffer);
      const users = new Uint32Array(blobs.users.slice(8 * count, 12 * count).buffer);
      const isKnown = (seq: number) => seq === 0 || kept.some((row) => row.seq === seq);
      expect([...firstSeqs].filter((seq) => !isKnown(seq))).toEqual([]);
      expect([...users].filter((user) => erased.includes(user))).toEqual([]);
    }),
    { numRuns: 500 },
  ));

test('a part of one erased user contains nothing but zeros and where they end', () => {
  const seqs = Float64Array.from({ length: 50 }, (_, i) => 8e14 + i * i * 12_345_678);
  const blobs = encodePart({ users: new Uint32Array(50).fill(9), seqs });
  overwriteUserInPart(blobs, 9);
  expect(blobs.seqs.every((byte) => byte === 0)).toBe(true);
  expect(blobs.users.subarray(0, 16).every((byte) => byte === 0)).toBe(true);
});

test('a row takes five bytes if its user has one every two days', () => {
  const day = 86_400_000 * 4096;
  const seqs = Float64Array.from({ length: 1_000 }, (_, i) => 8e14 + i * 2 * day);
  const { users, seqs: differences } = encodePart({ users: new Uint32Array(1_000).fill(9), seqs });
  expect(users.byteLength + differences.byteLength).toBeLessThan(5 * 1_000 + 20);
});

test('rows are sorted by shard, then by user', () =>
  fc.assert(
    fc.property(rows, fc.constantFrom(1, 3, 256), (list, shards) => {
      const { users, seqs, starts } = sortByShard(entriesOf(list), shards);
      const sorted = list.toSorted((a, b) => (a.user % shards) - (b.user % shards) || a.user - b.user || a.seq - b.seq);
      expect({ users, seqs }).toEqual(entriesOf(sorted));
      for (let shard = 0; shard < shards; shard++) {
        const found = users.subarray(starts[shard], starts[shard + 1]);
        expect(found.every((user) => user % shards === shard)).toBe(true);
      }
      expect([starts[0], starts[shards]]).toEqual([0, list.length]);
    }),
  ));

test('a run returns the rows of each user, and all rows', () =>
  fc.assert(
    fc.property(
      rows.filter(({ length }) => length > 0),
      (list) => {
        const run = new UserRun(encodeRun(entriesOf(list)), list.length);
        const all = entriesOf(Array.from(list, () => ({ user: 0, seq: 0 })));
        run.copyTo(all, 0);
        expect(all).toEqual(entriesOf(list));
        for (const user of new Set([0, 7, ...list.map((row) => row.user)])) {
          expect([...run.seqsOf(user)]).toEqual(list.filter((row) => row.user === user).map(({ seq }) => seq));
        }
      },
    ),
  ));

test('a run from which users are erased keeps its size and the rows of all others', () =>
  fc.assert(
    fc.property(
      erasedRows.filter(({ list }) => list.length > 0),
      ({ list, erased }) => {
        let blobs = encodeRun(entriesOf(list));
        const { byteLength } = blobs.users;
        let expected = list;
        for (const user of erased) {
          const users = overwriteUserInRun(blobs, list.length, user);
          expect(users !== undefined).toBe(expected.some((row) => row.user === user));
          if (users) blobs = { ...blobs, users };
          expected = expected.map((row) => (row.user === user ? { user: 0, seq: row.seq } : row));
        }
        const run = new UserRun(blobs, list.length);
        const all = entriesOf(list);
        run.copyTo(all, 0);
        expect(all).toEqual(entriesOf(expected));
        for (const user of erased) expect([...run.seqsOf(user)]).toEqual([]);
        expect(blobs.users.byteLength).toBe(byteLength);
      },
    ),
  ));

test('keys of removed rows are found, whatever the order in which they were added', () =>
  fc.assert(
    fc.property(
      fc.array(fc.maxSafeNat(), { size: 'max', maxLength: 100 }),
      fc.array(fc.maxSafeNat()),
      (added, others) => {
        const keys = new RemovedKeys(256);
        for (const seq of added) keys.add(seq % 1000, seq);
        for (const seq of [...added, ...others]) expect(keys.has(seq)).toBe(added.includes(seq));
        expect(keys.shards).toEqual(new Set(added.map((seq) => (seq % 1000) % 256)));
      },
    ),
  ));
