/**
 * The deepest nesting that a body may have. Far above what events have, and far below where the
 * recursion of JSON.stringify ends the stack (about 50,000 levels) or SQLite's JSON functions stop (1,000).
 */
export const MAX_JSON_DEPTH = 200;

/**
 * Text in which some number may be one that a double cannot hold: 16 or more digits, an exponent, or
 * a negative zero. It may be wrong about strings that look like it, which costs time and changes nothing.
 */
const PERHAPS_INEXACT = /[:,[\s](?:-0[.,}\]\s]|-?\d[\d.]{15,}|-?\d[\d.]*[eE])/;

/**
 * Parses a JSON text; see {@link keepExactNumbers} for its numbers.
 *
 * @throws {SyntaxError} when the text is not JSON
 * @throws {RangeError} when it is nested deeper than {@link MAX_JSON_DEPTH}
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  // Every level takes two characters at least, so that short texts need no count.
  if (text.length >= 2 * MAX_JSON_DEPTH && depthExceeds(value, MAX_JSON_DEPTH)) {
    throw new RangeError(`nested deeper than ${MAX_JSON_DEPTH} levels`);
  }
  return value;
}

/**
 * The same JSON text parsed so that writing it again with JSON.stringify keeps every number to the
 * digit: those that a double would change (12345678901234567890, 1e999, -0.0) become raw JSON.
 *
 * @returns the parsed value, or undefined when plain JSON.parse is exact already
 */
export function keepExactNumbers(text: string): unknown {
  if (!PERHAPS_INEXACT.test(text)) return undefined;
  return JSON.parse(text, (_key, value: unknown, context: { source?: string }) =>
    typeof value === 'number' && context.source !== undefined && !isExact(value, context.source)
      ? JSON.rawJSON(context.source)
      : value,
  );
}

/** Whether the shortest decimal form of `value` denotes the same number as `source` does. */
function isExact(value: number, source: string): boolean {
  return Number.isFinite(value) && canonical(String(value)) === canonical(source) && !Object.is(value, -0);
}

/** A decimal number as its sign, its digits without outer zeros, and its power of ten. */
function canonical(decimal: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(decimal) ?? [];
  const digits = whole + fraction;
  // by index: a pattern such as /0+$/ takes quadratic time over zeros that are not at the end
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === '0') start++;
  while (end > start && digits[end - 1] === '0') end--;
  if (start === end) return '0';
  return `${sign}${digits.slice(start, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}

/** Counts levels without recursion, so that no input can end the stack. */
function depthExceeds(root: unknown, limit: number): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth === limit) return true;
    const next: unknown[] = [];
    for (const value of level) {
      if (typeof value !== 'object' || value === null) continue;
      for (const child of Array.isArray(value) ? value : Object.values(value)) {
        if (typeof child === 'object' && child !== null) next.push(child);
      }
    }
    level = next;
  }
  return false;
}
