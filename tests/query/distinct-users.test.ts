import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBudget, QueryTooLargeError } from '../../src/query/budget.ts';
import { tally } from '../../src/query/counts.ts';
import { createUserCounter, UserBitmap, type UserCounter, UserPairs } from '../../src/query/distinct-users.ts';

const budget = () => createBudget({ timeoutMs: 60_000, maxResultBytes: 1e6, isCanceled: () => false });

interface Row {
  readonly slot: number;
  readonly user: number;
}

/** Counts rows as a query does, chunk by chunk. */
function count(rows: readonly Row[], lanes: number, buckets: number, counter: UserCounter) {
  const chunks = [rows.slice(0, rows.length / 2), rows.slice(rows.length / 2)].map((part) => ({
    rows: part.length,
    times: new Float64Array(part.length),
    users: Uint32Array.from(part, ({ user }) => user),
    // the slot, as if it were a label; rows that do not count have the largest number
    labels: Uint32Array.from(part, ({ slot }) => (slot < 0 ? 2 ** 32 - 1 : slot)),
    values: new Float64Array(),
    minTime: 0,
    maxTime: 0,
  }));
  const arrangement = {
    ...{ lanes, buckets, from: 0, to: 1, extent: undefined, series: undefined, user: -1, edges: new Float64Array() },
    groups: { labels: [], texts: [], others: 0, groupOf: () => 0 },
    chunks: function* () {
      yield* chunks;
    },
    slotsOf: ({ labels }: { labels: Uint32Array }) => Int32Array.from(labels),
  };
  const { rows: counts, unique } = tally(arrangement, counter, budget());
  return {
    rows: [...counts],
    bySlot: [...unique.bySlot],
    byLane: [...unique.byLane],
    byBucket: [...unique.byBucket],
    all: unique.all,
  };
}

/** The same by sets. */
function expected(rows: readonly Row[], lanes: number, buckets: number) {
  const inSlots = rows.filter(({ slot }) => slot >= 0);
  const of = (length: number, key: (slot: number) => number) =>
    Array.from({ length }, (_, i) => inSlots.filter(({ slot }) => key(slot) === i));
  const users = (some: readonly Row[]) => new Set(some.map(({ user }) => user)).size;
  return {
    rows: of(lanes * buckets, (slot) => slot).map(({ length }) => length),
    bySlot: of(lanes * buckets, (slot) => slot).map(users),
    byLane: of(lanes, (slot) => Math.floor(slot / buckets)).map(users),
    byBucket: of(buckets, (slot) => slot % buckets).map(users),
    all: users(inSlots),
  };
}

const worlds = fc
  .record({ lanes: fc.integer({ min: 1, max: 4 }), buckets: fc.integer({ min: 1, max: 5 }) })
  .chain(({ lanes, buckets }) =>
    fc.record({
      lanes: fc.constant(lanes),
      buckets: fc.constant(buckets),
      rows: fc.array(
        fc.record({
          slot: fc.integer({ min: -1, max: lanes * buckets - 1 }),
          user: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(31, 32, 8_191, 8_192, 99_999)),
        }),
        { maxLength: 80, size: 'max' },
      ),
    }),
  );

test('users are counted as by sets, in a bitmap and as pairs', () => {
  fc.assert(
    fc.property(worlds, ({ lanes, buckets, rows }) => {
      const result = expected(rows, lanes, buckets);
      expect(count(rows, lanes, buckets, new UserBitmap(lanes, buckets, 100_000, budget()))).toEqual(result);
      expect(count(rows, lanes, buckets, new UserPairs(lanes, buckets, budget()))).toEqual(result);
    }),
  );
});

describe('with more pairs than there is memory for', () => {
  // 200,000 different pairs of users with the largest numbers there are, most of them twice
  const rows = Array.from({ length: 350_000 }, (_, i) => ({
    slot: Math.floor((i % 200_000) / 1_000) % 20,
    user: 2 ** 32 - 1 - ((i * 7) % 200_000),
  }));

  test('users are counted part by part', () => {
    // 60,000 pairs fit: four parts of 50,000 do not, since they are mostly full; eight do
    const counter = new UserPairs(2, 10, budget(), 60_000);
    let parts = 0;
    const counted = count(rows, 2, 10, {
      add: (slots, users, part, all) => {
        parts = all;
        return counter.add(slots, users, part, all);
      },
      endPart: () => counter.endPart(),
      clear: () => counter.clear(),
      unique: counter.unique,
    });
    expect(parts).toBe(8);
    expect(counted).toEqual(expected(rows, 2, 10));
  });

  test('memory grows with the pairs', () => {
    expect(count(rows, 2, 10, new UserPairs(2, 10, budget()))).toEqual(expected(rows, 2, 10));
  });
});

test('a million users in 365 days of 11 groups take as much memory as there are rows', () => {
  let reserved = 0;
  const counter = createUserCounter(11, 365, 1_000_001, {
    check() {},
    checkResult() {},
    reserve(bytes) {
      reserved += bytes;
    },
  });
  counter.add(Int32Array.of(0, 11 * 365 - 1, 0), Uint32Array.of(1_000_000, 1_000_000, 1), 0, 1);
  counter.endPart();
  expect(counter.unique.all).toBe(2);
  expect(reserved).toBeLessThan(2e6);
});

test('slots beyond the working memory are rejected', () => {
  expect(() => createUserCounter(10_000, 10_000, 1_000_001, budget())).toThrow(QueryTooLargeError);
});
