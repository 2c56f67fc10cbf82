/*
 * ClickHouse's format RowBinary: values without names or separators, one after the other. Numbers are exact, and texts need
 * no escapes.
 */

/** The types of columns: `integer` is Int64 or UInt64, `count` is UInt32, and both are arrays as lists. */
const TYPES = {
  text: (reader: Reader) => reader.text(),
  integer: (reader: Reader) => reader.integer(),
  count: (reader: Reader) => reader.count(),
  double: (reader: Reader) => reader.double(),
  integers: (reader: Reader) => reader.list(() => reader.integer()),
  counts: (reader: Reader) => reader.list(() => reader.count()),
  doubles: (reader: Reader) => reader.list(() => reader.double()),
} as const;

/** The columns of a result, in the order of the statement. */
export type Columns = Readonly<Record<string, keyof typeof TYPES>>;

/** A row of a result. */
export type Row<Names extends Columns> = { -readonly [Name in keyof Names]: ReturnType<(typeof TYPES)[Names[Name]]> };

/** Thrown when a row continues beyond the bytes received so far. */
const INCOMPLETE = new Error('the row is incomplete');

/** Reads values from the bytes received so far. */
class Reader {
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #bytes = new Uint8Array(0);
  #view = new DataView(new ArrayBuffer(0));
  at = 0;

  /** The number of bytes that have not been read. */
  get rest(): number {
    return this.#bytes.length - this.at;
  }

  /** Adds bytes, and drops those that have been read. */
  add(parts: readonly Uint8Array[]): void {
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, this.rest));
    bytes.set(this.#bytes.subarray(this.at));
    let used = this.rest;
    for (const part of parts) {
      bytes.set(part, used);
      used += part.length;
    }
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
    this.at = 0;
  }

  /** Returns where the next bytes begin, and moves beyond them. */
  #take(length: number): number {
    const { at } = this;
    if (length > this.#bytes.length - at) throw INCOMPLETE;
    this.at += length;
    return at;
  }

  /** Reads a length: seven bits per byte, the lowest first. */
  #length(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#take(1)] as number;
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  text(): string {
    const length = this.#length();
    const at = this.#take(length);
    if (length < 64) {
      let ascii = '';
      for (let i = at; i < at + length; i++) {
        const byte = this.#bytes[i] as number;
        if (byte > 127) return this.#decoder.decode(this.#bytes.subarray(at, at + length));
        ascii += String.fromCharCode(byte);
      }
      return ascii;
    }
    return this.#decoder.decode(this.#bytes.subarray(at, at + length));
  }

  /** @throws {Error} if it is not a safe integer */
  integer(): number {
    const at = this.#take(8);
    const value = this.#view.getInt32(at + 4, true) * 2 ** 32 + this.#view.getUint32(at, true);
    if (!Number.isSafeInteger(value)) throw new Error('the engine returned an integer beyond 53 bits');
    return value;
  }

  count(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  double(): number {
    return this.#view.getFloat64(this.#take(8), true);
  }

  list(read: () => number): number[] {
    const length = this.#length();
    if (length > this.rest) throw INCOMPLETE; // each value has at least one byte
    const values = new Array<number>(length);
    for (let i = 0; i < length; i++) values[i] = read();
    return values;
  }
}

/** Decodes a result as its bytes arrive. */
export class RowDecoder<Names extends Columns> {
  readonly #reader = new Reader();
  readonly #columns: readonly [name: string, read: (reader: Reader) => unknown][];
  #parts: Uint8Array[] = [];
  #waiting = 0;
  /** Bytes to wait for: a row that was incomplete is read again once there is twice as much of it. */
  #needed = 0;

  constructor(columns: Names) {
    this.#columns = Object.entries(columns).map(([name, type]) => [name, TYPES[type]]);
  }

  /** The bytes of rows that are not complete yet. */
  get pendingBytes(): number {
    return this.#reader.rest + this.#waiting;
  }

  /** Adds bytes, and returns the rows that are complete. */
  push(part: Uint8Array, isLast = false): Row<Names>[] {
    this.#parts.push(part);
    this.#waiting += part.length;
    if (this.pendingBytes < this.#needed && !isLast) return [];
    this.#reader.add(this.#parts);
    this.#parts = [];
    this.#waiting = 0;
    const rows: Row<Names>[] = [];
    for (;;) {
      const start = this.#reader.at;
      if (this.#reader.rest === 0) {
        this.#needed = 0;
        return rows;
      }
      try {
        const row: Record<string, unknown> = {};
        for (const [name, read] of this.#columns) row[name] = read(this.#reader);
        rows.push(row as Row<Names>); // one value per column
      } catch (error) {
        if (error !== INCOMPLETE) throw error;
        this.#reader.at = start;
        this.#needed = 2 * this.#reader.rest;
        return rows;
      }
    }
  }

  /**
   * Returns the last rows.
   *
   * @throws {Error} if the result ends within a row
   */
  end(): Row<Names>[] {
    const rows = this.push(new Uint8Array(0), true);
    if (this.pendingBytes > 0) throw new Error('the engine returned part of a row');
    return rows;
  }
}
