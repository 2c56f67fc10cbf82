import { formatTimestamp } from '../formats/timestamp.ts';

/** Largest part of an export, in bytes. */
export const MAX_PART_BYTES = 1024 * 1024;

/** Longest text that is copied one character at a time. For longer ones, a call of the native encoder is faster. */
const MAX_COPIED_LENGTH = 128;
const DAY_US = 86_400_000_000;
const ZERO = 0x30;

/**
 * Encodes text as UTF-8 into parts.
 *
 * An export writes about ten short texts per row. Joining them as strings, and encoding the result, took more than twice
 * as long as writing their bytes into the part, because each string is allocated.
 */
export class PartWriter {
  readonly #encoder = new TextEncoder();
  /** The current part. Encoders of rows write into it, after {@link hasRoom}. */
  bytes = new Uint8Array(MAX_PART_BYTES);
  /** Number of bytes written into the current part. */
  used = 0;
  /** The day that `#dayText` is the text of, in days since 1970. */
  #day = Number.NaN;
  /** The date of the day and a `T`, as bytes; undefined if it does not have this format. */
  #dayText: Uint8Array | undefined;

  /** Returns whether the current part has room for a number of bytes. Only {@link write} checks it. */
  hasRoom(bytes: number): boolean {
    return this.bytes.length - this.used >= bytes;
  }

  /** Encodes a text of any size, and yields each part that becomes full. */
  *write(text: string): Generator<Uint8Array> {
    for (let at = 0; at < text.length; ) {
      const { read, written } = this.#encoder.encodeInto(at === 0 ? text : text.slice(at), this.#rest());
      at += read;
      this.used += written;
      // encodeInto never writes part of a character
      if (at < text.length) yield this.take();
    }
  }

  /** Returns the bytes encoded since the last part. */
  take(): Uint8Array {
    const part = this.used === this.bytes.length ? this.bytes : this.bytes.slice(0, this.used);
    if (part === this.bytes) this.bytes = new Uint8Array(MAX_PART_BYTES);
    this.used = 0;
    return part;
  }

  /** Writes a text as it is. */
  text(text: string): void {
    const { length } = text;
    if (length > MAX_COPIED_LENGTH) {
      this.#encode(text);
      return;
    }
    const { bytes } = this;
    let at = this.used;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) {
        this.#encode(text);
        return;
      }
      bytes[at++] = code;
    }
    this.used = at;
  }

  /** Writes a number in the shortest form that parses to the same double, as `String` returns it. */
  number(value: number): void {
    const thousandths = Math.round(value * 1000);
    // At most 15 digits: no shorter decimal parses to the same double.
    if (thousandths / 1000 !== value || Math.abs(thousandths) >= 1e15) {
      this.text(String(value));
      return;
    }
    if (value < 0) this.#byte(0x2d);
    let whole = Math.abs(Math.trunc(value));
    const fraction = Math.abs(thousandths) - whole * 1000;
    let unit = 1;
    while (unit * 10 <= whole) unit *= 10;
    for (; unit >= 1; unit /= 10) {
      const digit = Math.floor(whole / unit);
      this.#byte(ZERO + digit);
      whole -= digit * unit;
    }
    this.#fraction(fraction, 100);
  }

  /** Writes a time, in microseconds since 1970, as {@link formatTimestamp} does. */
  timestamp(microseconds: number): void {
    const day = Math.floor(microseconds / DAY_US);
    if (day !== this.#day) this.#setDay(day);
    if (this.#dayText === undefined) {
      this.text(formatTimestamp(microseconds));
      return;
    }
    this.bytes.set(this.#dayText, this.used);
    this.used += this.#dayText.length;
    const ofDay = microseconds - day * DAY_US;
    const seconds = Math.floor(ofDay / 1_000_000);
    this.#twoDigits((seconds / 3600) | 0);
    this.#byte(0x3a);
    this.#twoDigits(((seconds / 60) | 0) % 60);
    this.#byte(0x3a);
    this.#twoDigits(seconds % 60);
    this.#fraction(ofDay - seconds * 1_000_000, 100_000);
    this.#byte(0x5a);
  }

  /**
   * Writes a point and the digits after it, without zeros at the end; nothing if there are none.
   *
   * @param unit the value of the first digit
   */
  #fraction(fraction: number, unit: number): void {
    if (fraction === 0) return;
    this.#byte(0x2e);
    for (let rest = fraction, digitUnit = unit; rest > 0; digitUnit /= 10) {
      const digit = (rest / digitUnit) | 0;
      this.#byte(ZERO + digit);
      rest -= digit * digitUnit;
    }
  }

  #setDay(day: number): void {
    const text = formatTimestamp(day * DAY_US);
    const hasFormat = /^\d{4}-\d\d-\d\dT00:00:00Z$/.test(text);
    this.#day = day;
    this.#dayText = hasFormat ? this.#encoder.encode(text.slice(0, 11)) : undefined;
  }

  #twoDigits(number: number): void {
    this.#byte(ZERO + ((number / 10) | 0));
    this.#byte(ZERO + (number % 10));
  }

  #byte(byte: number): void {
    this.bytes[this.used++] = byte;
  }

  #encode(text: string): void {
    this.used += this.#encoder.encodeInto(text, this.#rest()).written;
  }

  #rest(): Uint8Array<ArrayBuffer> {
    return this.bytes.subarray(this.used);
  }
}
