import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { createBudget, QueryCanceledError, type QueryLimits, QueryTooLargeError } from '../../src/query/budget.ts';
import { serialize } from '../../src/query/serialize.ts';

const LIMITS: QueryLimits = { timeoutMs: 60_000, maxResultBytes: 1e9, isCanceled: () => false };
const text = (value: unknown, limits: Partial<QueryLimits> = {}) =>
  serialize(value, createBudget({ ...LIMITS, ...limits }));

test('serializes any JSON value like JSON.stringify', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(text(value)).toBe(JSON.stringify(value));
    }),
  );
});

test('serializes iterables and typed arrays as arrays, and omits undefined', () => {
  function* lazily() {
    yield { a: 1, b: undefined };
    yield [new Float64Array([0.5, -0, 1e21]), new Uint32Array()];
  }
  expect(text({ list: lazily(), none: undefined, empty: new Set() })).toBe(
    '{"list":[{"a":1},[[0.5,0,1e+21],[]]],"empty":[]}',
  );
  const numbers = Uint32Array.from({ length: 10_000 }, (_, i) => i);
  expect(JSON.parse(text(numbers))).toEqual([...numbers]);
});

test('accepts a result of exactly the size limit, in bytes of UTF-8', () => {
  const value = { text: ['ß🦀'.repeat(40_000), 'x'] };
  const bytes = Buffer.byteLength(JSON.stringify(value));
  expect(text(value, { maxResultBytes: bytes })).toHaveLength(JSON.stringify(value).length);
  expect(() => text(value, { maxResultBytes: bytes - 1 })).toThrow(QueryTooLargeError);
});

/** Yields items without end. */
function* endless(produced: { items: number }) {
  for (;;) {
    produced.items++;
    yield { start: '2026-01-01T00:00:00Z', count: produced.items };
  }
}

test('stops serializing at the size limit, at the deadline and on cancellation', () => {
  const produced = { items: 0 };
  expect(() => text(endless(produced), { maxResultBytes: 1e6 })).toThrow(QueryTooLargeError);
  expect(produced.items).toBeLessThan(40_000);
  expect(() => text(endless({ items: 0 }), { timeoutMs: 20 })).toThrow(QueryTooLargeError);
  const canceled = { items: 0 };
  expect(() => text(endless(canceled), { isCanceled: () => canceled.items > 10_000 })).toThrow(QueryCanceledError);
});
