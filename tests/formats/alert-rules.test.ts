import { expect, test } from 'bun:test';
import fc from 'fast-check';
import {
  type AlertThreshold,
  parseSilenceRules,
  parseThresholds,
  parseWebhook,
} from '../../src/formats/alert-rules.ts';

/** Writes a threshold as a rule. */
function ruleOf({ kind, name, aggregate, side, limit, windowSeconds }: AlertThreshold): string {
  const prefix = kind === 'metric' ? 'metric' : 'type';
  return `${prefix}:${name.replace(/[\\,:]/g, '\\$&')}:${aggregate}${side === 'above' ? '>' : '<'}${limit}/${windowSeconds}s`;
}

test('parses thresholds of metrics and event types', () => {
  expect(
    parseThresholds('checkout_ms:p95>2000/15m, payments:sum<1/1h,type:signup:count<1e1/1d,metric:a:MIN<-0.5/1m'),
  ).toEqual([
    { kind: 'metric', name: 'checkout_ms', aggregate: 'p95', side: 'above', limit: 2_000, windowSeconds: 900 },
    { kind: 'metric', name: 'payments', aggregate: 'sum', side: 'below', limit: 1, windowSeconds: 3_600 },
    { kind: 'analytics', name: 'signup', aggregate: 'count', side: 'below', limit: 10, windowSeconds: 86_400 },
    { kind: 'metric', name: 'a', aggregate: 'min', side: 'below', limit: -0.5, windowSeconds: 60 },
  ]);
  expect(parseThresholds('type::count>0/1m,metric:count>1/1m').map(({ kind, name }) => [kind, name])).toEqual([
    ['analytics', ''],
    ['metric', 'metric'],
  ]);
});

test('every threshold can be written', () => {
  const threshold = fc.record<AlertThreshold>({
    kind: fc.constant('metric'),
    name: fc.string({ minLength: 1, unit: fc.constantFrom('\\', ',', ':', '>', '/', 'a', ' ', 'ü', '🦀') }),
    aggregate: fc.constantFrom('count', 'sum', 'avg', 'min', 'max', 'p50', 'p95', 'p99'),
    side: fc.constantFrom('above', 'below'),
    limit: fc.double({ min: Number.MIN_VALUE, noDefaultInfinity: true, noNaN: true }),
    windowSeconds: fc.integer({ min: 60, max: 30 * 86_400 }),
  });
  fc.assert(
    fc.property(fc.uniqueArray(threshold, { minLength: 1, maxLength: 4, selector: ruleOf }), (thresholds) => {
      expect(parseThresholds(thresholds.map(ruleOf).join(','))).toEqual(thresholds);
    }),
  );
});

test('any text is parsed or rejected with a message without it', () => {
  const text = fc.string({ unit: fc.constantFrom(...'\\,:><=/amdx1.-', 'count', 'p95', 'type:', 'ü') });
  fc.assert(
    fc.property(text, (part) => {
      try {
        expect(parseThresholds(`NAME${part}`).every(({ windowSeconds }) => windowSeconds >= 60)).toBe(true);
      } catch (error) {
        expect((error as Error).message).not.toContain('NAME');
      }
    }),
  );
});

test.each([
  ['', 'should be rules such as'],
  ['a:p95>1/1m,', '(rule 2)'],
  ['a:p90>1/1m', 'should be rules such as'],
  ['a:p95>=1/1m', 'should be rules such as'],
  ['a:p95>1', 'should be rules such as'],
  ['a:p95>0x1/1m', 'should be rules such as'],
  ['a:b:p95>1/1m', 'write \\, for a comma and \\: for a colon'],
  ['type:a:b:count>1/1m', 'should be rules such as'],
  [':p95>1/1m', 'names no metric'],
  ['a\\b:p95>1/1m', 'has a backslash that should be written as two'],
  ['a:p95>1e999/1m', 'has a number that is too large'],
  ['a:p95>1/59s', 'from 1m to 30d'],
  ['a:p95>1/31d', 'from 1m to 30d'],
  ['a:p95>1/99999999999d', 'has a window that should be a number'],
  ['type:a:sum>1/1m', 'only have a count'],
  ['a:count<0/1m', 'which never happens'],
  ['a:p95>1/1m,metric:a:p95>1.0/60s', 'has the same rule twice (rule 2)'],
  [Array.from({ length: 101 }, (_, i) => `a${i}:p95>1/1m`).join(','), 'at most 100 rules'],
])('rejects %p', (text, message) => {
  expect(() => parseThresholds(text)).toThrow(message);
});

test('silence rules are at least a minute', () => {
  expect(parseSilenceRules('type:a=60s,metric:b=off').map(({ seconds }) => seconds)).toEqual([60, undefined]);
  expect(() => parseSilenceRules('type:a=1m,type:b=59s')).toThrow('at least 1m (rule 2)');
  expect(() => parseSilenceRules('a=1m')).toThrow('such as metric:heartbeat=10m');
});

test('a webhook is an http or https URL without a password', () => {
  expect(parseWebhook('http://127.0.0.1:9/hook?token=x').pathname).toBe('/hook');
  for (const text of ['', 'hooks.example/x', 'file:///etc/passwd', 'https:/x', 'https://']) {
    expect(() => parseWebhook(text)).toThrow('should be an http or https URL');
  }
  expect(() => parseWebhook('https://user@hooks.example')).toThrow('user name');
});
