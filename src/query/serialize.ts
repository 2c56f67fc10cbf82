import type { Budget } from './budget.ts';

/** A value whose arrays may be any iterables, so that long arrays can be serialized without holding them in memory. */
export type Streamed<Value> = Value extends readonly (infer Item)[]
  ? Iterable<Streamed<Item>>
  : Value extends object
    ? { readonly [Key in keyof Value]: Streamed<Value[Key]> }
    : Value;

/** Characters between budget checks: a fraction of a millisecond of work. */
const BLOCK_LENGTH = 65_536;
/** Numbers of a typed array, and items of an iterable, that are serialized at once. */
const NUMBERS_PER_STEP = 4096;
const ITEMS_PER_STEP = 64;

/**
 * Serializes a result as JSON. Iterables become arrays, and are consumed incrementally.
 *
 * @throws {QueryTooLargeError} as soon as the text exceeds the result limit, or after the deadline
 * @throws {QueryCanceledError} if the query is canceled
 */
export function serialize(value: unknown, budget: Budget): string {
  const text = new ResultText(budget);
  write(value, text);
  return text.end();
}

function write(value: unknown, text: ResultText): void {
  if (isFlat(value)) text.add(JSON.stringify(value));
  else if (value instanceof Float64Array || value instanceof Uint32Array) writeNumbers(value, text);
  else if (isIterable(value as object)) writeItems(value as Iterable<unknown>, text);
  else {
    text.add('{');
    let separator = '';
    for (const [key, member] of Object.entries(value as object)) {
      if (member === undefined) continue;
      text.add(`${separator}${JSON.stringify(key)}:`);
      write(member, text);
      separator = ',';
    }
    text.add('}');
  }
}

/** Writes an array. Flat items next to each other are serialized by one call, which runs before any JavaScript is compiled. */
function writeItems(items: Iterable<unknown>, text: ResultText): void {
  let separator = '[';
  let flat: unknown[] = [];
  const writeFlat = () => {
    if (flat.length === 0) return;
    text.add(separator + JSON.stringify(flat).slice(1, -1));
    separator = ',';
    flat = [];
  };
  for (const item of items) {
    if (isFlat(item)) {
      if (flat.push(item) === ITEMS_PER_STEP) writeFlat();
      continue;
    }
    writeFlat();
    text.add(separator);
    separator = ',';
    write(item, text);
  }
  writeFlat();
  text.add(separator === '[' ? '[]' : ']');
}

function writeNumbers(numbers: Float64Array | Uint32Array, text: ResultText): void {
  text.add('[');
  for (let i = 0; i < numbers.length; i += NUMBERS_PER_STEP) {
    if (i > 0) text.add(',');
    text.add(numbers.subarray(i, i + NUMBERS_PER_STEP).join(','));
  }
  text.add(']');
}

/** Returns whether a value is not an object, or one that contains no others and is not iterable. */
function isFlat(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (isIterable(value)) return false;
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (typeof member === 'object' && member !== null) return false;
  }
  return true;
}

function isIterable(value: object): value is Iterable<unknown> {
  return Symbol.iterator in value;
}

/** Text built in blocks, with a running byte count. */
class ResultText {
  readonly #budget: Budget;
  readonly #blocks: string[] = [];
  #block = '';
  #bytes = 0;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(text: string): void {
    this.#block += text;
    if (this.#block.length >= BLOCK_LENGTH) this.#endBlock();
  }

  #endBlock(): void {
    this.#bytes += Buffer.byteLength(this.#block);
    this.#budget.checkResult(this.#bytes);
    this.#budget.check();
    this.#blocks.push(this.#block);
    this.#block = '';
  }

  end(): string {
    this.#endBlock();
    return this.#blocks.join('');
  }
}
