import { visit } from 'jsonc-parser';

/**
 * The deepest nesting that a body may have. Far above what events have, and far below where the
 * recursion of JSON.stringify ends the stack (about 50,000 levels) or SQLite's JSON functions stop (1,000).
 */
export const MAX_JSON_DEPTH = 200;

/** Text that may have a number that no double holds: 16 or more digits, an exponent, or a negative zero. */
const PERHAPS_INEXACT = /[:,[\s](?:-0[.,}\]\s]|-?\d[\d.]{15,}|-?\d[\d.]*[eE])/;
/** Text that may have a key that JavaScript puts before all others: a whole number, perhaps with escapes. */
const PERHAPS_REORDERED = /"(?:\d|\\u003\d){1,10}"\s*:/;

/**
 * Parses a JSON text. JavaScript rounds some of its numbers and reorders some of its keys; see {@link parseExact}.
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

/** A JSON value as it was sent: numbers keep their digits, and objects the order of their members. */
export interface ExactJson {
  /** Returns a member of an object, or an item of an array, if there is one. */
  at(key: string | number): ExactJson | undefined;
  /** Returns the value as JSON text without white space. */
  toString(): string;
}

/**
 * Parses a JSON text into a value that is written as it was sent, where JSON.parse would change it: it rounds
 * 12345678901234567890, 1e999 and -0.0, and moves a key such as "1" before all others. Of repeated keys the
 * last value counts, as for JSON.parse.
 *
 * @param text valid JSON, nested no deeper than {@link MAX_JSON_DEPTH}
 * @returns undefined if JSON.parse and JSON.stringify keep everything
 */
export function parseExact(text: string): ExactJson | undefined {
  if (PERHAPS_REORDERED.test(text)) return parseOrdered(text);
  // five times as fast, where the order is no concern
  return PERHAPS_INEXACT.test(text) ? new Parsed(parseDigits(text)) : undefined;
}

/** A value of JSON.parse. */
class Parsed implements ExactJson {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  at(key: string | number): ExactJson | undefined {
    const value = this.#value;
    const isThere = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
    return isThere ? new Parsed((value as Record<string | number, unknown>)[key]) : undefined;
  }

  toString(): string {
    return JSON.stringify(this.#value);
  }
}

/** Parses so that numbers that a double would change become raw JSON. */
function parseDigits(text: string): unknown {
  return JSON.parse(text, (_key, value: unknown, context: { source?: string }) =>
    typeof value === 'number' && context.source !== undefined && !isExact(value, context.source)
      ? JSON.rawJSON(context.source)
      : value,
  );
}

/** A value whose objects are maps, which keep the order of their keys. */
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
  const open: { key: string; add: (value: Ordered) => void }[] = [];
  let root: Ordered | undefined;
  const add = (value: Ordered) => {
    const parent = open.at(-1);
    if (parent) parent.add(value);
    else root = value;
  };
  const close = () => void open.pop();
  visit(text, {
    onObjectBegin() {
      const members = new Map<string, Ordered>();
      add(new Ordered(members));
      const object = { key: '', add: (value: Ordered) => void members.set(object.key, value) };
      open.push(object);
    },
    onObjectProperty(key) {
      const object = open.at(-1);
      if (object) object.key = key;
    },
    onObjectEnd: close,
    onArrayBegin() {
      const items: Ordered[] = [];
      add(new Ordered(items));
      open.push({ key: '', add: (value) => void items.push(value) });
    },
    onArrayEnd: close,
    onLiteralValue(value: unknown, offset, length) {
      const source = text.slice(offset, offset + length);
      const isKept = typeof value !== 'number' || isExact(value, source);
      add(new Ordered(isKept ? JSON.stringify(value) : source));
    },
  });
  return root;
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
