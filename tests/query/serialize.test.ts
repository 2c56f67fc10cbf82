import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Canceled, createBudget, type QueryLimits, QueryTooLargeError } from '../../src/query/budget.ts';
import { serialize } from '../../src/query/serialize.ts';

const LIMITS: QueryLimits = { timeoutMs: 60_000, maxResultBytes: 1e9, isCanceled: () => false };
const text = (value: unknown, limits: Partial<QueryLimits> = {}) =>
  serialize(value, createBudget({ ...LIMITS, ...limits }));

test('any value has the text that JSON.stringify gives it', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(text(value)).toBe(JSON.stringify(value));
    }),
  );
});

test('iterables and typed arrays become arrays, and undefined is left out', () => {
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

test('a result of exactly the largest length passes, counted in bytes of UTF-8', () => {
  const value = { text: ['ß🦀'.repeat(40_000), 'x'] };
  const bytes = Buffer.byteLength(JSON.stringify(value));
  expect(text(value, { maxResultBytes: bytes })).toHaveLength(JSON.stringify(value).length);
  expect(() => text(value, { maxResultBytes: bytes - 1 })).toThrow(QueryTooLargeError);
});

/** Pieces without end: whoever reads them must stop by itself. */
function* endless(seen: { pieces: number }) {
  for (;;) {
    seen.pieces++;
    yield { start: '2026-01-01T00:00:00Z', count: seen.pieces };
  }
}

test('a result that exceeds its length, its time or its client is not built to its end', () => {
  const seen = { pieces: 0 };
  expect(() => text(endless(seen), { maxResultBytes: 1e6 })).toThrow(QueryTooLargeError);
  expect(seen.pieces).toBeLessThan(40_000);
  expect(() => text(endless({ pieces: 0 }), { timeoutMs: 20 })).toThrow(QueryTooLargeError);
  const gone = { pieces: 0 };
  expect(() => text(endless(gone), { isCanceled: () => gone.pieces > 10_000 })).toThrow(Canceled);
});
