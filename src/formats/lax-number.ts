/** Rust's syntax of a finite number, which pydantic parses texts with. */
const DECIMAL = /^[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/i;
const NOT_FINITE = /^[+-]?(?:inf|infinity|nan)$/i;
/** Unicode's white space; `trim()` also takes a byte order mark for it, and leaves U+0085. */
const SPACE = /\p{White_Space}/u;

/**
 * Converts a value to a number as pydantic's lax mode does
 * (https://docs.pydantic.dev/latest/concepts/conversion_table/): numeric texts, also with white space around
 * them or single underscores between their digits, and booleans.
 *
 * @returns the number, which is not finite for texts such as "inf" and "1e999"; any other value as it is
 */
export function laxNumber(value: unknown): unknown {
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'string') return value;
  const trimmed = trimSpace(value);
  if (NOT_FINITE.test(trimmed)) return Number.POSITIVE_INFINITY;
  if (DECIMAL.test(trimmed)) return Number(trimmed);
  // with underscores there may be no white space
  if (!value.includes('_') || /^_|__|_$/.test(value)) return value;
  const joined = value.replaceAll('_', '');
  return DECIMAL.test(joined) ? Number(joined) : value;
}

/** By index: a pattern takes quadratic time over white space that is not at the end. */
function trimSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && SPACE.test(text.charAt(start))) start++;
  while (end > start && SPACE.test(text.charAt(end - 1))) end--;
  return text.slice(start, end);
}
