import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { TextNumbers } from '../../src/storage/columns/text-numbers.ts';

/** Texts that share beginnings, with characters of 8 and 16 bits. */
const text = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'b', '\0', 'ÿ'), maxLength: 9 }),
  fc.string({ unit: fc.constantFrom('a', 'ÿ', 'Ā', '語', '\u{1f600}'), maxLength: 9 }),
);

test('returns the number that was last set for a text in a scope', () =>
  fc.assert(
    fc.property(
      fc.array(fc.tuple(text, fc.constantFrom(0, 1, 2 ** 31, 2 ** 32 - 1), fc.integer({ min: 0, max: 2 ** 32 - 1 })), {
        maxLength: 60,
        size: 'max',
      }),
      (entries) => {
        const numbers = new TextNumbers();
        const expected = new Map<string, number | undefined>();
        for (const [key, scope, number] of entries) {
          if (number === 0) numbers.delete(key, scope);
          else numbers.set(key, scope, number);
          expected.set(JSON.stringify([key, scope]), number || undefined);
        }
        for (const [key, scope] of entries) {
          expect(numbers.get(key, scope)).toBe(expected.get(JSON.stringify([key, scope])));
          expect(numbers.get(`${key}c`, scope)).toBeUndefined();
        }
        const isKept = (number: number) => number % 3 > 0;
        numbers.renumber((number) => (isKept(number) ? 2 ** 32 - number : 0));
        for (const [key, scope] of entries) {
          const before = expected.get(JSON.stringify([key, scope]));
          expect(numbers.get(key, scope)).toBe(before && isKept(before) ? 2 ** 32 - before : undefined);
        }
        numbers.clear();
        for (const [key, scope] of entries) expect(numbers.get(key, scope)).toBeUndefined();
      },
    ),
    { numRuns: 500 },
  ));

test('keeps its numbers while it grows, also for long texts', () => {
  const numbers = new TextNumbers();
  const textOf = (i: number) => (i % 1_000 === 0 ? `${'x'.repeat(10_000)}${i}` : `label ${i}`);
  for (let i = 1; i <= 20_000; i++) numbers.set(textOf(i), i % 3, i);
  for (let i = 1; i <= 20_000; i++) {
    expect(numbers.get(textOf(i), i % 3)).toBe(i);
    expect(numbers.get(textOf(i), 3)).toBeUndefined();
  }
});

test('clears an empty table without filling its memory again', () => {
  const numbers = new TextNumbers();
  const cpuUs = (work: () => void) => {
    const before = process.threadCpuUsage();
    work();
    const { user, system } = process.threadCpuUsage(before);
    return user + system;
  };
  const filling = cpuUs(() => {
    for (let i = 1; i <= 200_000; i++) numbers.set(`label ${i}`, 0, i);
  });
  const clearing = cpuUs(() => {
    for (let i = 0; i < 20_000; i++) numbers.clear();
  });
  expect(clearing).toBeLessThan(filling);
  expect(numbers.get('label 1', 0)).toBeUndefined();
});
