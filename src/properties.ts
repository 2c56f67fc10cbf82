import type { LabelFilter } from './records.ts';

/*
 * Properties of event data: a property is the value at a path of keys in the `data` of an event.
 */

/** The keys that lead to a property, from the outside in. */
export type PropertyPath = readonly string[];

/** The value of a property. Null also stands for a missing property, an object or an array. */
export type PropertyValue = string | number | boolean | null;

/** Maximum number of keys in a path. */
export const MAX_PATH_KEYS = 8;
/** Longest key in a path, in bytes of UTF-8. */
export const MAX_KEY_BYTES = 128;
/** What every path in a query parameter begins with. */
export const DATA_PREFIX = 'data.';

/**
 * Parses a path such as `data.device.os`. Dots separate keys. A backslash makes the next character literal: a dot or a
 * backslash, or a `!` or `~`, which would otherwise be an operator at the end of a parameter name.
 *
 * @returns the keys, or a message that states what is wrong
 */
export function parsePropertyPath(text: string): { readonly path: PropertyPath } | { readonly problem: string } {
  const invalid = (problem: string) => ({ problem: `the property ${problem}` });
  if (!text.startsWith(DATA_PREFIX)) return invalid('should begin with data., such as data.plan');
  const path = [''];
  for (let at = DATA_PREFIX.length; at < text.length; at++) {
    let character = text.charAt(at);
    if (character === '.') {
      path.push('');
      continue;
    }
    if (character === '\\') {
      character = text.charAt(++at);
      if (!/^[.\\!~]$/.test(character))
        return invalid('contains a backslash that is not followed by a dot, a backslash, ! or ~');
    }
    path[path.length - 1] += character;
  }
  if (path.length > MAX_PATH_KEYS) return invalid(`should have at most ${MAX_PATH_KEYS} keys, not ${path.length}`);
  for (const key of path) {
    const bytes = Buffer.byteLength(key);
    if (bytes === 0) return invalid('contains an empty key');
    if (bytes > MAX_KEY_BYTES) return invalid(`should have keys of at most ${MAX_KEY_BYTES} bytes, not ${bytes}`);
  }
  return { path };
}

/**
 * Returns the value at a path in parsed JSON. Considers only own keys of objects, so neither array indices nor
 * `__proto__` lead anywhere unless the JSON contains such a key.
 */
export function propertyOf(data: unknown, path: PropertyPath): PropertyValue {
  let value = data;
  for (const key of path) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) return null;
    value = (value as Record<string, unknown>)[key];
  }
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return nearestDouble(value);
    default:
      return null;
  }
}

/** Returns the nearest finite double of a parsed number: `1e999` is read as infinity. There is no negative zero. */
function nearestDouble(number: number): number {
  return Math.min(Math.max(number, -Number.MAX_VALUE), Number.MAX_VALUE) + 0;
}

/** A filter on a property. All conditions must hold; an empty list is no condition. */
export interface PropertyFilter extends LabelFilter {
  readonly path: PropertyPath;
}

/** A number in JSON (RFC 8259, section 6). */
const JSON_NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/**
 * Creates the test of whether a property value matches a filter. A text in `anyOf` or `noneOf` matches the same string,
 * the number that it represents in JSON, and `true` or `false`. `containsAny` matches only strings.
 */
export function createPropertyTest({
  anyOf,
  noneOf,
  containsAny,
}: Omit<PropertyFilter, 'path'>): (value: PropertyValue) => boolean {
  const included = valuesOf(anyOf);
  const excluded = valuesOf(noneOf);
  return (value) =>
    (anyOf.length === 0 || included.has(value)) &&
    !excluded.has(value) &&
    (containsAny.length === 0 || (typeof value === 'string' && containsAny.some((text) => value.includes(text))));
}

/** Returns the values that match any of these texts. */
function valuesOf(texts: readonly string[]): Set<PropertyValue> {
  const values = new Set<PropertyValue>(texts);
  for (const text of texts) {
    if (JSON_NUMBER.test(text)) values.add(nearestDouble(Number(text)));
    else if (text === 'true' || text === 'false') values.add(text === 'true');
  }
  return values;
}

/** Creates the test of whether parsed event data matches all filters. */
export function createDataTest(filters: readonly PropertyFilter[]): (data: unknown) => boolean {
  const tests = filters.map((filter) => ({ path: filter.path, matches: createPropertyTest(filter) }));
  return (data) => tests.every(({ path, matches }) => matches(propertyOf(data, path)));
}
