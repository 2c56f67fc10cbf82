/*
 * Parses JSON without the code under test, and numbers and objects without JSON.parse. A value that was sent can then
 * be compared with the one returned, down to every digit and the order of keys.
 */

/** A scalar in canonical form, a list, or the members of an object in order. */
export type ExactValue = string | ExactValue[] | Map<string, ExactValue>;

const TOKEN = /[ \t\r\n]*("[^"\\]*(?:\\.[^"\\]*)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[{}[\],:]|true|false|null)/sy;

/** Parses valid JSON. A repeated key keeps its first position and its last value, as in JSON.parse. */
export function readExact(text: string): ExactValue {
  let at = 0;
  const take = (): string => {
    TOKEN.lastIndex = at;
    const token = TOKEN.exec(text)?.[1];
    if (token === undefined) throw new Error(`invalid JSON at ${at}: ${text.slice(at, at + 40)}`);
    at = TOKEN.lastIndex;
    return token;
  };
  const value = (token: string): ExactValue => {
    if (token === '[') {
      const items: ExactValue[] = [];
      for (let next = take(); next !== ']'; next = take()) items.push(value(next === ',' ? take() : next));
      return items;
    }
    if (token === '{') {
      const members = new Map<string, ExactValue>();
      for (let next = take(); next !== '}'; next = take()) {
        const key = JSON.parse(next === ',' ? take() : next);
        take(); // the colon
        members.set(key, value(take()));
      }
      return members;
    }
    if (token.startsWith('"')) return JSON.stringify(JSON.parse(token));
    return /^[-\d]/.test(token) ? canonicalNumber(token) : token;
  };
  return value(take());
}

/** Returns a value in canonical form: equal values have equal texts, including their digits and the order of keys. */
export function writeExact(value: ExactValue): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map(writeExact).join()}]`;
  return `{${Array.from(value, ([key, member]) => `${JSON.stringify(key)}:${writeExact(member)}`).join()}}`;
}

/** Returns a decimal number as its sign, its digits without outer zeros, and its power of ten. */
function canonicalNumber(decimal: string): string {
  const [, sign = '', whole = '', fraction = '', power = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(decimal) ?? [];
  const digits = whole + fraction;
  let start = 0;
  let end = digits.length;
  while (start < end && digits[start] === '0') start++;
  while (end > start && digits[end - 1] === '0') end--;
  if (start === end) return `${sign}0`;
  const exponent = BigInt(power.replace('+', '')) - BigInt(fraction.length) + BigInt(digits.length - end);
  return `${sign}${digits.slice(start, end)}e${exponent}`;
}
