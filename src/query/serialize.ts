import type { Budget } from './budget.ts';

/** A value as the JSON text that stands for it, for values of which a result has thousands. */
export class JsonText<Value> {
  readonly text: string;
  declare private readonly value: Value;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * A value whose arrays may be any iterables, so that long arrays can be serialized without holding them in memory. Their items
 * may be JSON text.
 */
export type Streamed<Value> = Value extends readonly (infer Item)[]
  ? Iterable<Streamed<Item> | JsonText<Item>>
  : Value extends object
    ? { readonly [Key in keyof Value]: Streamed<Value[Key]> }
    : Value;

/** Characters between budget checks: a fraction of a millisecond of work. */
const BLOCK_LENGTH = 65_536;
/** Numbers of a typed array that are serialized at once. */
const NUMBERS_PER_STEP = 4096;

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
  if (value instanceof JsonText) text.add(value.text);
  else if (value instanceof Float64Array || value instanceof Uint32Array) writeNumbers(value, text);
  else if (isIterable(value)) {
    text.add('[');
    let separator = '';
    for (const item of value) {
      text.add(separator);
      write(item, text);
      separator = ',';
    }
    text.add(']');
  } else if (typeof value === 'object' && value !== null && Object.values(value).some(isObject)) {
    text.add('{');
    let separator = '';
    for (const [key, member] of Object.entries(value)) {
      if (member === undefined) continue;
      text.add(`${separator}${JSON.stringify(key)}:`);
      write(member, text);
      separator = ',';
    }
    text.add('}');
  } else text.add(JSON.stringify(value));
}

function writeNumbers(numbers: Float64Array | Uint32Array, text: ResultText): void {
  text.add('[');
  for (let i = 0; i < numbers.length; i += NUMBERS_PER_STEP) {
    if (i > 0) text.add(',');
    text.add(numbers.subarray(i, i + NUMBERS_PER_STEP).join(','));
  }
  text.add(']');
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
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
