import { describe, expect, test } from 'bun:test';
import { keepExactNumbers, MAX_JSON_DEPTH, parseJson } from '../../src/formats/json.ts';

describe('parseJson', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  test('takes the depth of the limit, and no more', () => {
    expect(JSON.stringify(parseJson(nested(MAX_JSON_DEPTH)))).toBe(nested(MAX_JSON_DEPTH));
    expect(() => parseJson(nested(MAX_JSON_DEPTH + 1))).toThrow(RangeError);
  });
  test('counts what is deepest, wherever it stands', () => {
    expect(() => parseJson(`{"a":[1,{"b":${nested(MAX_JSON_DEPTH)}}],"c":[]}`)).toThrow(RangeError);
    expect(parseJson(`[${Array(1000).fill('[[]]').join()}]`)).toHaveLength(1000);
  });
});

describe('keepExactNumbers', () => {
  test.each([
    '{"a":1}',
    '{"a":0.1,"b":-2.5,"c":"2026-11-22T10:00:00.123456Z"}',
    '{"a":123456789012345}',
    '[0,10,"-0"]',
  ])('has nothing to do for %s', (text) => expect(keepExactNumbers(text)).toBeUndefined());
  test.each(['12345678901234567890', '-0', '1e400', '0.10000000000000000001', '1e-400', '123456789.123456789123'])(
    'keeps %s',
    (number) => expect(JSON.stringify(keepExactNumbers(`{"a":[${number}]}`))).toBe(`{"a":[${number}]}`),
  );
  test.each([
    ['1e2', '100'],
    ['1.50000000000000000', '1.5'],
    ['100000000000000000000', '100000000000000000000'],
    ['0.0000000000000001', '1e-16'],
    ['1E+2', '100'],
  ])('writes %s, which a double holds, as usual: %s', (number, written) =>
    expect(JSON.stringify(keepExactNumbers(`[${number}]`))).toBe(`[${written}]`),
  );
});
