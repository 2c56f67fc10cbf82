import { describe, expect, test } from 'bun:test';
import { parseNamePatterns } from '../../src/formats/name-patterns.ts';

describe('a list of name patterns', () => {
  test.each([
    ['signup', ['signup'], ['signup2', 'asignup', 'Signup', '']],
    ['signup, page_*', ['signup', 'page_', 'page_load/time', 'page_\n'], ['xpage_load', 'page']],
    ['*', ['', 'anything', '🦀'], []],
    ['a?c', ['abc', 'a🦀c'], ['ac', 'abbc']],
    ['*_ms', ['load_ms', '_ms', '_ms_ms'], ['load_ms2', 'ms']],
    ['a*b*c', ['abc', 'aXbXbXc', 'abcbc'], ['acb', 'abcx']],
    ['a\\*,b\\,c,d\\\\,e\\?', ['a*', 'b,c', 'd\\', 'e?'], ['ab', 'b', 'c', 'd', 'ef']],
  ])('%p', (text, allowed, rejected) => {
    const isAllowed = parseNamePatterns(text);
    expect(allowed.filter((name) => !isAllowed(name))).toEqual([]);
    expect(rejected.filter((name) => isAllowed(name))).toEqual([]);
  });

  test('matches long hostile names without backtracking over every star', () => {
    const isAllowed = parseNamePatterns(`${'a*'.repeat(100)}b`);
    expect(isAllowed('a'.repeat(1_024))).toBe(false);
  });

  test.each([
    ['', ' , ', 'should name at least one'],
    ['a\\b', 'a\\', 'backslash'],
  ])('rejects %p and %p', (first, second, message) => {
    for (const text of [first, second]) expect(() => parseNamePatterns(text)).toThrow(message);
  });
});
