import fc from 'fast-check';

/* Random numbers, random data of events, and random filters on its properties. */

/** Values of properties as JSON: equal ones of different types, numbers in several notations, and values that are null. */
const VALUES = [
  ...[
    '"pro"',
    '"free"',
    '"Pro"',
    '"ß/ 🦀"',
    '""',
    '"1"',
    '1',
    '1.0',
    '1e0',
    '"true"',
    'true',
    'false',
    'null',
    '-0',
    '0',
  ],
  ...['2.5', '1e308', '-1e308', '1e999', '12345678901234567890', '0.1', '[1]', '["pro"]', '{}', '"null"', '"\\ud83e"'],
];
const PATHS = [['plan'], ['device', 'os'], ['a.b'], ['__proto__'], ['a', 'b'], ['0'], ['no such key']];
/** Data whose keys are those of PATHS: nested, with dots, duplicated, or hidden in arrays and strings. */
export const eventData = fc
  .array(fc.constantFrom(...VALUES), { minLength: 4, maxLength: 4 })
  .chain(([a, b, c, d]) =>
    fc.constantFrom(
      `{"plan":${a},"device":{"os":${b},"__proto__":${c}},"a.b":${d}}`,
      `{"a":{"b":${a}},"plan":${b},"__proto__":${c},"a.b":${d}}`,
      `{"plan":${a},"plan":${b}}`,
      `{"device":[${a}],"a":"b","0":${c},"plan":{"plan":${d}}}`,
      `{"device":${a}}`,
      '{}',
    ),
  );
export const property = fc.constantFrom(...PATHS).map((path) => ({ name: `data.${path.join('.')}`, path }));

/** VALUE as in a filter: the text of a string, or JSON. */
const propertyText = fc
  .constantFrom(...VALUES, '01', ' 1', '1 ', '0x1', 'Infinity', '1.5e1', '+1')
  .map((json) => (json.startsWith('"') ? String(JSON.parse(json)) : json));
const propertyFilter = fc.record({
  path: fc.constantFrom(...PATHS),
  anyOf: fc.array(propertyText, { maxLength: 3 }),
  noneOf: fc.array(propertyText, { maxLength: 2 }),
  containsAny: fc.array(fc.constantFrom('r', 'ro', 'P', '1', 'u', '🦀'), { maxLength: 2 }),
});
export const propertyFilters = fc.option(fc.array(propertyFilter, { minLength: 1, maxLength: 2 }), {
  nil: undefined,
  freq: 2,
});

/** Creates a random number generator with a fixed seed. */
export function generator(seed: number): (below: number) => number {
  let state = BigInt(seed);
  return (below) => {
    state = (state * 6364136223846793005n + 1442695040888963407n) % 2n ** 64n;
    return Number(((state >> 33n) * BigInt(below)) >> 31n);
  };
}
