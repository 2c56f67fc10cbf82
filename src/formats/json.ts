import { visit } from 'jsonc-parser';

/**
 * Maximum nesting depth of a request body. Real events are far shallower, JSON.stringify overflows the stack at about
 * 50,000 levels, and SQLite's JSON functions stop at 1,000.
 */
export const MAX_JSON_DEPTH = 200;

/** Matches text that may contain a number no double can represent: 16 or more digits, an exponent, or a negative zero. */
const MAYBE_INEXACT = /[:,[\s](?:-0[.,}\]\s]|-?\d[\d.]{15,}|-?\d[\d.]*[eE])/;
/** Matches text that may contain a key that JavaScript moves to the front: an integer, possibly written with escapes. */
const MAYBE_REORDERED = /"(?:\d|\\u003\d){1,10}"\s*:/;

/**
 * Parses JSON. JavaScript rounds some numbers and reorders some keys; see {@link parseExact}.
 *
 * @throws {SyntaxError} if the text is not JSON
 * @throws {RangeError} if it is nested deeper than {@link MAX_JSON_DEPTH}
 */
export function parseJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  // a level takes at least two characters, so short texts need no depth check
  if (text.length >= 2 * MAX_JSON_DEPTH && depthExceeds(value, MAX_JSON_DEPTH)) {
    throw new RangeError(`nested deeper than ${MAX_JSON_DEPTH} levels`);
  }
  return value;
}

/** A JSON value exactly as sent: numbers keep their digits, and objects keep the order of their members. */
export interface ExactJson {
  /** Returns a member of an object or an item of an array, or undefined if there is none. */
  at(key: string | number): ExactJson | undefined;
  /** Returns the value as JSON text without whitespace. */
  toString(): string;
}

/**
 * Parses JSON that JSON.parse would alter into a value that serializes exactly as sent. JSON.parse changes
 * 12345678901234567890, 1e999 and -0.0, and moves a key such as "1" to the front. As in JSON.parse, the last of
 * duplicate keys wins.
 *
 * @param text valid JSON, nested no deeper than {@link MAX_JSON_DEPTH}
 * @returns undefined if JSON.parse and JSON.stringify preserve the text's values and key order
 */
export function parseExact(text: string): ExactJson | undefined {
  if (MAYBE_REORDERED.test(text)) return parseOrdered(text);
  // five times as fast as parseOrdered
  return MAYBE_INEXACT.test(text) ? new Parsed(parseDigits(text)) : undefined;
}

/** A value returned by JSON.parse. */
class Parsed implements ExactJson {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  at(key: string | number): ExactJson | undefined {
    const value = this.#value;
    const hasKey = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    return hasKey ? new Parsed((value as Record<string | number, unknown>)[key]) : undefined;
  }

  toString(): string {
    return JSON.stringify(this.#value);
  }
}

/** Parses JSON, and keeps numbers that a double cannot represent as raw JSON. */
function parseDigits(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, context: { source?: string }) =>
    typeof value === 'number' && context.source !== undefined && !isExact(value, context.source)
      ? JSON.rawJSON(context.source)
      : value,
  );
}

/** A JSON value whose objects are Maps, which preserve the order of keys. */
class Ordered implements ExactJson {
  readonly #content: string | Ordered[] | Map<string, Ordered>;

  /** @param content the text of a scalar, the items of an array, or the members of an object */
  constructor(content: string | Ordered[] | Map<string, Ordered>) {
    this.#content = content;
  }

  at(key: string | number): ExactJson | undefined {
    const content = this.#content;
    if (content instanceof Map) return content.get(String(key));
    return Array.isArray(content) ? content[Number(key)] : undefined;
  }

  toString(): string {
    const content = this.#content;
    if (typeof content === 'string') return content;
    if (Array.isArray(content)) return `[${content.join()}]`;
    return `{${Array.from(content, ([key, value]) => `${JSON.stringify(key)}:${value}`).join()}}`;
  }
}

function parseOrdered(text: string): Ordered | undefined {
  const openContainers: { key: string; add: (value: Ordered) => void }[] = [];
  let root: Ordered | undefined;
  const add = (value: Ordered) => {
    const parent = openContainers.at(-1);
    if (parent) parent.add(value);
    else root = value;
  };
  const close = () => void openContainers.pop();
  visit(text, {
    onObjectBegin() {
      const members = new Map<string, Ordered>();
      add(new Ordered(members));
      const object = { key: '', add: (value: Ordered) => void members.set(object.key, value) };
      openContainers.push(object);
    },
    onObjectProperty(key) {
      const object = openContainers.at(-1);
      if (object) object.key = key;
    },
    onObjectEnd: close,
    onArrayBegin() {
      const items: Ordered[] = [];
      add(new Ordered(items));
      openContainers.push({ key: '', add: (value) => void items.push(value) });
    },
    onArrayEnd: close,
    onLiteralValue(value: unknown, offset, length) {
      const source = text.slice(offset, offset + length);
      const isPreserved = typeof value !== 'number' || isExact(value, source);
      add(new Ordered(isPreserved ? JSON.stringify(value) : source));
    },
  });
  return root;
}

/** Returns whether the shortest decimal form of `value` is the same number as `source`. */
function isExact(value: number, source: string): boolean {
  return Number.isFinite(value) && canonical(String(value)) === canonical(source) && !Object.is(value, -0);
}

/** Normalizes a decimal number to its sign, its digits without leading and trailing zeros, and its power of ten. */
function canonical(decimal: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(decimal) ?? [];
  const digits = whole + fraction;
  // by index, since a pattern such as /0+$/ takes quadratic time on zeros that are not at the end
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === '0') start++;
  while (end > start && digits[end - 1] === '0') end--;
  if (start === end) return '0';
  return `${sign}${digits.slice(start, end)}e${Number(exponent) - fraction.length + digits.length - end}`;
}

/** Returns whether a value is nested deeper than a limit. Not recursive, so no input can overflow the stack. */
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
