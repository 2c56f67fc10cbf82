import { describe, expect, test } from 'bun:test';
import { MAX_JSON_DEPTH, parseExact, parseJson } from '../../src/formats/json.ts';

describe('parseJson', () => {
  const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`;
  test('accepts nesting up to MAX_JSON_DEPTH and rejects deeper nesting', () => {
    expect(JSON.stringify(parseJson(nested(MAX_JSON_DEPTH)))).toBe(nested(MAX_JSON_DEPTH));
    expect(() => parseJson(nested(MAX_JSON_DEPTH + 1))).toThrow(RangeError);
  });
  test('measures the deepest branch, wherever it is', () => {
    expect(() => parseJson(`{"a":[1,{"b":${nested(MAX_JSON_DEPTH)}}],"c":[]}`)).toThrow(RangeError);
    expect(parseJson(`[${Array(1000).fill('[[]]').join()}]`)).toHaveLength(1000);
  });
});

describe('parseExact', () => {
  test.each([
    '{"a":1}',
    '{"a":0.1,"b":-2.5,"c":"2026-11-22T10:00:00.123456Z"}',
    '{"a":123456789012345}',
    '{"1a":1,"a1":"1"}',
    '[0,10,"-0"]',
  ])('returns undefined for %s', (text) => expect(parseExact(text)).toBeUndefined());
  test.each(['12345678901234567890', '-0', '1e400', '0.10000000000000000001', '1e-400', '123456789.123456789123'])(
    'preserves %s, with and without integer keys next to it',
    (number) => {
      for (const text of [`{"a":[${number}]}`, `{"a":[${number}],"1":2}`]) expect(String(parseExact(text))).toBe(text);
    },
  );
  test.each([
    ['1e2', '100'],
    ['1.50000000000000000', '1.5'],
    ['100000000000000000000', '100000000000000000000'],
    ['0.0000000000000001', '1e-16'],
    ['1E+2', '100'],
  ])('normalizes %s, which a double can represent, to %s', (number, expected) => {
    expect(String(parseExact(`[${number}]`))).toBe(`[${expected}]`);
    expect(String(parseExact(`{"b":${number},"1":0}`))).toBe(`{"b":${expected},"1":0}`);
  });
  test.each([
    '{"b":1,"2":2,"1":3}',
    '{"4294967294":1,"0":2}',
    '{"a":[{"z":null,"9":{"y":true,"8":false}}],"7":"x"}',
    '{"a":"\\ud800 \u2028","1":""}',
    '{"__proto__":{"b":1,"0":2},"constructor":1}',
  ])('preserves the member order of %s', (text) => expect(String(parseExact(text))).toBe(text));
  test('drops whitespace and keeps the last of duplicate keys', () => {
    expect(String(parseExact(' { "b" : 1 , "1" : [ ] , "b" : { } } '))).toBe('{"b":{},"1":[]}');
  });
  test('recognizes integer keys written with escapes', () => {
    expect(String(parseExact('{"b":1,"\\u0031":2}'))).toBe('{"b":1,"1":2}');
  });
  test('returns members and items of a value', () => {
    for (const text of ['{"a":[{"b":1e400}]}', '{"x":0,"1":0,"a":[{"b":1e400}]}']) {
      const value = parseExact(text);
      expect(String(value?.at('a')?.at(0)?.at('b'))).toBe('1e400');
      expect(value?.at('a')?.at(1)).toBeUndefined();
      expect(value?.at('toString')).toBeUndefined();
      expect(value?.at('a')?.at(0)?.at('b')?.at('c')).toBeUndefined();
    }
  });
});
