import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBudget, QueryTooLargeError } from '../../src/query/budget.ts';
import { countRows } from '../../src/query/counts.ts';
import { createUserCounter, UserBitmap, type UserCounter, UserPairs } from '../../src/query/distinct-users.ts';

const budget = () => createBudget({ timeoutMs: 60_000, maxResultBytes: 1e6, isCanceled: () => false });

interface Row {
  readonly slot: number;
  readonly user: number;
}

/** Counts rows chunk by chunk, as a query does. */
function count(rows: readonly Row[], groupCount: number, buckets: number, counter: UserCounter) {
  const chunks = [rows.slice(0, rows.length / 2), rows.slice(rows.length / 2)].map((part) => ({
    rows: part.length,
    times: new Float64Array(part.length),
    users: Uint32Array.from(part, ({ user }) => user),
    // slots are passed as labels; rows that are not selected get the largest number
    labels: Uint32Array.from(part, ({ slot }) => (slot < 0 ? 2 ** 32 - 1 : slot)),
    values: new Float64Array(),
    seqs: new Uint8Array(),
    series: { id: 1, kind: 'analytics', name: 'e' } as const,
    dataMask: undefined,
    columns: [],
    minTime: 0,
    maxTime: 0,
  }));
  const selection = {
    ...{
      groupCount,
      buckets,
      from: 0,
      to: 1,
      extent: undefined,
      user: -1,
      labelMask: undefined,
      edges: new Float64Array(),
    },
    groups: { values: [], others: 0, addGroups: () => {} },
    chunks: function* () {
      yield* chunks;
    },
    slotsOf: ({ labels }: { labels: Uint32Array }) => Int32Array.from(labels),
  };
  const { rows: counts, unique } = countRows(selection, counter, budget());
  return {
    rows: [...counts],
    bySlot: [...unique.bySlot],
    byGroup: [...unique.byGroup],
    byBucket: [...unique.byBucket],
    all: unique.all,
  };
}

/** Counts the same with sets. */
function expected(rows: readonly Row[], groupCount: number, buckets: number) {
  const inSlots = rows.filter(({ slot }) => slot >= 0);
  const of = (length: number, key: (slot: number) => number) =>
    Array.from({ length }, (_, i) => inSlots.filter(({ slot }) => key(slot) === i));
  const users = (subset: readonly Row[]) => new Set(subset.map(({ user }) => user)).size;
  return {
    rows: of(groupCount * buckets, (slot) => slot).map(({ length }) => length),
    bySlot: of(groupCount * buckets, (slot) => slot).map(users),
    byGroup: of(groupCount, (slot) => Math.floor(slot / buckets)).map(users),
    byBucket: of(buckets, (slot) => slot % buckets).map(users),
    all: users(inSlots),
  };
}

const inputs = fc
  .record({ groupCount: fc.integer({ min: 1, max: 4 }), buckets: fc.integer({ min: 1, max: 5 }) })
  .chain(({ groupCount, buckets }) =>
    fc.record({
      groupCount: fc.constant(groupCount),
      buckets: fc.constant(buckets),
      rows: fc.array(
        fc.record({
          slot: fc.integer({ min: -1, max: groupCount * buckets - 1 }),
          user: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(31, 32, 8_191, 8_192, 99_999)),
        }),
        { maxLength: 80, size: 'max' },
      ),
    }),
  );

test('counts the same users with a bitmap, with pairs and with sets', () => {
  fc.assert(
    fc.property(inputs, ({ groupCount, buckets, rows }) => {
      const result = expected(rows, groupCount, buckets);
      expect(count(rows, groupCount, buckets, new UserBitmap(groupCount, buckets, 100_000, budget()))).toEqual(result);
      expect(count(rows, groupCount, buckets, new UserPairs(groupCount, buckets, budget()))).toEqual(result);
    }),
  );
});

describe('a counter with more pairs than its initial capacity', () => {
  // 200,000 distinct pairs with the largest possible user numbers, most of them twice
  const rows = Array.from({ length: 350_000 }, (_, i) => ({
    slot: Math.floor((i % 200_000) / 1_000) % 20,
    user: 2 ** 32 - 1 - ((i * 7) % 200_000),
  }));

  test('counts users in parts if its capacity is limited', () => {
    // the capacity is 60,000 pairs: four parts of 50,000 would leave too little room, eight parts fit
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

  test('grows with the number of pairs', () => {
    expect(count(rows, 2, 10, new UserPairs(2, 10, budget()))).toEqual(expected(rows, 2, 10));
  });
});

test('uses memory in proportion to rows for a million users in 365 days of 11 groups', () => {
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

test('rejects more slots than the working memory can hold', () => {
  expect(() => createUserCounter(10_000, 10_000, 1_000_001, budget())).toThrow(QueryTooLargeError);
});

test('uses memory in proportion to distinct pairs if most rows belong to one user', () => {
  let reserved = 0;
  const counter = new UserPairs(1, 7, {
    check() {},
    checkResult() {},
    reserve(bytes) {
      reserved += bytes;
    },
  });
  const slots = Int32Array.from({ length: 100_000 }, (_, i) => i % 7);
  const users = new Uint32Array(100_000).fill(42);
  for (let i = 0; i < 40; i++) expect(counter.add(slots, users, 0, 1)).toBe(true);
  counter.endPart();
  expect(counter.unique.all).toBe(1);
  expect([...counter.unique.bySlot]).toEqual(Array(7).fill(1));
  expect(reserved).toBeLessThan(32e6);
});
