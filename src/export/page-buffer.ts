import type { Statistics } from 'hyparquet';

/** Longest text, in bytes, for which a column chunk has min/max statistics in the Parquet footer. */
const MAX_STATISTICS_BYTES = 256;
/** Longest text that is copied one character at a time. For longer ones, a call of the native encoder is faster. */
const MAX_COPIED_LENGTH = 128;
const INITIAL_BYTES = 64 * 1024;

/** The uncompressed values of a Parquet page, in the encoding PLAIN. */
export class PageBuffer {
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #used = 0;
  /** Where the least and the greatest text are; -1 if there is none. */
  #leastAt = -1;
  #mostAt = -1;
  #longest = 0;

  clear(): void {
    this.#used = 0;
    this.#leastAt = -1;
    this.#mostAt = -1;
    this.#longest = 0;
  }

  /** Returns the content, which is valid until it is changed. */
  content(): Uint8Array {
    return this.#bytes.subarray(0, this.#used);
  }

  /** Adds a text with its length. */
  addText(text: string): void {
    this.#ensure(4 + 3 * text.length); // a UTF-16 code unit takes at most 3 bytes
    const at = this.#used;
    const end = this.#encode(text, at + 4);
    const length = end - at - 4;
    this.#view.setUint32(at, length, true);
    this.#used = end;
    if (length > this.#longest) this.#longest = length;
    if (this.#longest > MAX_STATISTICS_BYTES) return;
    if (this.#leastAt < 0) this.#leastAt = this.#mostAt = at;
    else if (this.#compare(at, this.#mostAt) > 0) this.#mostAt = at;
    else if (this.#compare(at, this.#leastAt) < 0) this.#leastAt = at;
  }

  /** Returns the statistics of the texts; undefined if one is too long for them. */
  textStatistics(): Statistics | undefined {
    if (this.#longest > MAX_STATISTICS_BYTES) return undefined;
    return { min_value: this.#textAt(this.#leastAt), max_value: this.#textAt(this.#mostAt) };
  }

  /** Adds an integer as INT64. */
  addInt64(value: number): void {
    this.#ensure(8);
    const high = Math.floor(value / 2 ** 32);
    this.#view.setUint32(this.#used, value - high * 2 ** 32, true);
    this.#view.setInt32(this.#used + 4, high, true);
    this.#used += 8;
  }

  /** Adds a number as DOUBLE. */
  addDouble(value: number): void {
    this.#ensure(8);
    this.#view.setFloat64(this.#used, value, true);
    this.#used += 8;
  }

  /** Encodes a text at a place. Returns where it ends. */
  #encode(text: string, start: number): number {
    const bytes = this.#bytes;
    const { length } = text;
    let isCopied = length <= MAX_COPIED_LENGTH;
    for (let i = 0; isCopied && i < length; i++) {
      const code = text.charCodeAt(i);
      bytes[start + i] = code;
      isCopied = code <= 0x7f;
    }
    return start + (isCopied ? length : this.#encoder.encodeInto(text, bytes.subarray(start)).written);
  }

  /** Compares two texts by their bytes, as Parquet orders them. */
  #compare(a: number, b: number): number {
    const bytes = this.#bytes;
    const [lengthOfA, lengthOfB] = [this.#view.getUint32(a, true), this.#view.getUint32(b, true)];
    const length = Math.min(lengthOfA, lengthOfB);
    for (let i = 4; i < length + 4; i++) {
      const difference = (bytes[a + i] as number) - (bytes[b + i] as number);
      if (difference !== 0) return difference;
    }
    return lengthOfA - lengthOfB;
  }

  #textAt(at: number): string {
    return this.#decoder.decode(this.#bytes.subarray(at + 4, at + 4 + this.#view.getUint32(at, true)));
  }

  #ensure(room: number): void {
    if (this.#used + room <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.#used + room));
    larger.set(this.#bytes.subarray(0, this.#used));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
