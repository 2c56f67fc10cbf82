import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { expiryOf, isLimited, parseDays, parseRetentionRules } from '../../src/formats/retention.ts';

const DAY = 86_400;

test('parses rules for metrics and event types', () => {
  expect(parseRetentionRules('metric:page_load_time=30d,type:debug=7d')).toEqual([
    { kind: 'metric', name: 'page_load_time', seconds: 30 * DAY },
    { kind: 'analytics', name: 'debug', seconds: 7 * DAY },
  ]);
  expect(parseRetentionRules('type:=12h, metric: a:b =off')).toEqual([
    { kind: 'analytics', name: '', seconds: DAY / 2 },
    { kind: 'metric', name: ' a:b ', seconds: undefined },
  ]);
});

test('any name can be written with escapes', () => {
  const name = fc.string({ minLength: 1, unit: fc.constantFrom('\\', ',', '=', ':', 'a', ' ', 'ü', '🦀') });
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 1, maxLength: 4 }), (names) => {
      const text = names.map((one) => `metric:${one.replace(/[\\,=]/g, '\\$&')}=1d`).join(',');
      expect(parseRetentionRules(text).map((rule) => rule.name)).toEqual(names);
    }),
  );
});

test.each([
  ['page_load_time=30d', 'should be rules such as'],
  ['metric:a', 'should be rules such as'],
  ['metric:a=30d,', 'rule 2'],
  ['event:a=30d', 'should be rules such as'],
  ['metric:a=b=30d', 'write \\, for a comma and \\= for an equals sign'],
  ['metric:=30d', 'names no metric'],
  ['metric:a=30', 'has a rule whose time should be a number followed by s, m, h or d'],
  ['metric:a=0d', 'should be above 0'],
  ['metric:a=never', 'or off (rule 1)'],
  ['metric:a=30d,metric:a=7d', 'has a second rule for the same name (rule 2)'],
  ['metric:a\\b=30d', 'has a backslash that should be written as two'],
  ['metric:a\\', 'should be rules such as'],
])('rejects %p', (text, message) => {
  expect(() => parseRetentionRules(text)).toThrow(message);
});

test.each(['0', '-1', '1.5', '36501', '30d', ''])('rejects %p as a number of days', (text) => {
  expect(() => parseDays(text)).toThrow('should be a whole number of days from 1 to 36500');
});

test('a rule overrides the time for all names, also with off', () => {
  const rules = parseRetentionRules('metric:a=1d,type:a=off');
  const retention = { seconds: parseDays('90'), rules };
  const now = 1_000 * DAY * 1000;
  expect(expiryOf(retention, 'metric', 'a', now)).toBe(999 * DAY * 1e6);
  expect(expiryOf(retention, 'analytics', 'a', now)).toBeUndefined();
  expect(expiryOf(retention, 'metric', 'b', now)).toBe(910 * DAY * 1e6);
  expect(expiryOf({ seconds: undefined, rules }, 'metric', 'b', now)).toBeUndefined();
  expect([isLimited(retention), isLimited({ seconds: undefined, rules: rules.slice(1) })]).toEqual([true, false]);
});
