import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { editDistance, similarNames } from '../../src/dashboard/page/edit-distance.ts';

test('counts insertions, deletions, replacements and swaps', () => {
  expect(editDistance('', '')).toBe(0);
  expect(editDistance('signup', 'signup')).toBe(0);
  expect(editDistance('signup', 'sign_up')).toBe(1);
  expect(editDistance('signup', 'signp')).toBe(1);
  expect(editDistance('signup', 'singup')).toBe(1);
  expect(editDistance('kitten', 'sitting')).toBe(3);
});

test('is symmetric, and zero only for equal texts', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 }), (a, b) => {
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, b) === 0).toBe(a === b);
      expect(editDistance(a, b)).toBeLessThanOrEqual(Math.max(a.length, b.length));
    }),
  );
});

test('suggests the most similar names, whatever their case', () => {
  const names = ['page_load_time', 'checkout_ms', 'Purchase', 'purchase_amount', 'api_latency_ms', ''];
  expect(similarNames('checkout_time', names)[0]).toBe('checkout_ms');
  expect(similarNames('purchse', names)).toEqual(['Purchase']);
  expect(similarNames('load', names)).toEqual(['page_load_time']);
  expect(similarNames('zzzzzz', names)).toEqual([]);
  expect(similarNames('', names)).toEqual([]);
  expect(similarNames('x'.repeat(1_000_000), names)).toEqual([]);
});
