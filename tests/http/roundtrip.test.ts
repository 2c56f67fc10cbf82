import { afterAll, beforeAll, expect, test } from 'bun:test';
import fc from 'fast-check';
import { post, rows } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

/** Any string of valid Unicode, in any plane, including control characters and NUL. */
const text = (constraints: fc.StringConstraints = {}) => fc.string({ unit: 'binary', maxLength: 300, ...constraints });
/** Any finite number. -0 becomes 0, as in JSON.stringify. */
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (Object.is(value, -0) ? 0 : value));
/** Any JSON object, including keys that often break programs. */
const json = fc.letrec((tie) => ({
  key: fc.oneof(text({ maxLength: 20 }), fc.constantFrom('__proto__', 'constructor', 'toString', '', '0', 'a.b', '$')),
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant(null),
    fc.boolean(),
    number,
    text(),
    fc.array(tie('value')),
    tie('object'),
  ),
  object: fc.array(fc.tuple(tie('key'), tie('value')), { maxLength: 8 }).map((entries) => {
    const object: Record<string, unknown> = {};
    for (const [key, value] of entries as [string, unknown][]) {
      Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true });
    }
    return object;
  }),
})).object;

/** Any time from 1700 to 2026, with microseconds. */
const time = fc.integer({ min: Date.UTC(1700, 0, 1), max: Date.UTC(2026, 0, 1) }).chain((ms) =>
  fc.integer({ min: 0, max: 999 }).map((us) => ({
    text: new Date(ms).toISOString().replace('Z', `${String(us).padStart(3, '0')}Z`),
    microseconds: ms * 1000 + us,
  })),
);

test('stores every accepted metric unchanged', () =>
  fc.assert(
    fc.asyncProperty(text({ minLength: 1 }), number, text({ minLength: 1 }), time, async (name, value, label, when) => {
      const { body: id, status } = await post(target, '/log_raw_metric', {
        metric_name: name,
        metric_value: value,
        data_string: label,
        timestamp: when.text,
      });
      expect(status).toBe(200);
      expect(rows(target, 'metrics', id)).toMatchObject([
        { metric_name: name, metric_value: value, data_string: label, happened_at: when.microseconds },
      ]);
    }),
    { numRuns: 300 },
  ));

test('stores every accepted event unchanged', () =>
  fc.assert(
    fc.asyncProperty(text(), json, text(), async (type, data, index) => {
      const { body: id, status } = await post(target, '/log_raw_analytics', { type, data, data_index: index });
      expect(status).toBe(200);
      const [row] = rows(target, 'analytics', id);
      expect(row).toMatchObject({ type, data_index: index });
      expect(JSON.stringify(JSON.parse(String(row?.['data'])))).toBe(JSON.stringify(data));
    }),
    { numRuns: 300 },
  ));

test('keeps every digit of the numbers in data', () =>
  fc.assert(
    fc.asyncProperty(fc.bigInt(), fc.nat(30), fc.integer({ min: -400, max: 400 }), async (digits, point, exponent) => {
      const whole = String(digits).replace(/(\d)(?=\d{0}$)/, '$1');
      for (const number of [whole, `${whole}.${'3'.repeat(point + 1)}`, `${whole}e${exponent}`]) {
        const { body: id, status } = await post(
          target,
          '/log_raw_analytics',
          `{"type":"","data_index":"","data":{"n":${number}}}`,
        );
        expect(status).toBe(200);
        const stored = /^\{"n":(.*)\}$/.exec(String(rows(target, 'analytics', id)[0]?.['data']))?.[1] ?? '';
        expect(isSameNumber(stored, number)).toBe(true);
      }
    }),
    { numRuns: 60 },
  ));

/** Returns whether two decimal texts denote the same number, using integer arithmetic. */
function isSameNumber(a: string, b: string): boolean {
  const parse = (decimal: string) => {
    const [mantissa = '', exponent = '0'] = decimal.toLowerCase().split('e');
    const [whole = '', fraction = ''] = mantissa.split('.');
    return { digits: BigInt(whole + fraction), power: Number(exponent) - fraction.length };
  };
  const [x, y] = [parse(a), parse(b)];
  const low = Math.min(x.power, y.power);
  return x.digits * 10n ** BigInt(x.power - low) === y.digits * 10n ** BigInt(y.power - low);
}
