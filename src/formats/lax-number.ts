/** Rust's syntax for finite numbers, which pydantic uses to parse strings. */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;
const NOT_FINITE = /^[+-]?(?:inf|infinity|nan)$/i;
/** Unicode whitespace. `trim()` differs: it also strips byte order marks, and does not strip U+0085. */
const SPACE = /\p{White_Space}/u;

/**
 * Converts a value to a number as pydantic's lax mode does
 * (https://docs.pydantic.dev/latest/concepts/conversion_table/). Accepts booleans and numeric strings, including
 * strings with surrounding whitespace or single underscores between digits.
 *
 * @returns the number, which is not finite for strings such as "inf" and "1e999"; any other value unchanged
 */
export function laxNumber(value: unknown): unknown {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'string') return value;
  const trimmed = trimSpace(value);
  if (NOT_FINITE.test(trimmed)) return Number.POSITIVE_INFINITY;
  if (DECIMAL.test(trimmed)) return Number(trimmed);
  // a number with underscores may not have surrounding whitespace
  if (!value.includes('_') || /^_|__|_$/.test(value)) return value;
  const joined = value.replaceAll('_', '');
  return DECIMAL.test(joined) ? Number(joined) : value;
}

/** Strips surrounding whitespace. By index, since a pattern takes quadratic time on whitespace that is not at the end. */
function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.test(text.charAt(start))) start++;
  while (end > start && SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}
