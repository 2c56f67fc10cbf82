import type { PropertyValue } from '../../properties.ts';
import { countGarbage } from '../garbage.ts';

/** The values of a property in the rows of a chunk, or of a part of one. */
export interface PropertyColumn {
  /** For each row, the index of its value in `values`. */
  readonly codes: Codes;
  /** The distinct values. The first is null. Of a stored column with many values, they are decoded on each access. */
  readonly values: readonly PropertyValue[];
  /** Identifies the distinct values of a stored column for as long as it is not rewritten. */
  readonly id?: string | undefined;
}

type Codes = Uint8Array | Uint16Array | Uint32Array;

/** The blobs of a stored column. */
export interface ColumnBlobs {
  /** Empty if all values are null. */
  readonly codes: Uint8Array;
  /** The values without the first, as a JSON array compressed with zstd. */
  readonly values: Uint8Array;
}

/** Size of compressed values up to which they are decoded only once, in bytes. */
const KEPT_VALUE_BYTES = 32 * 1024;
/** Estimated memory of a decoded value relative to its compressed size. */
const DECODED_FACTOR = 16;
/** Estimated memory of a distinct value, excluding its text, in bytes. */
const VALUE_BYTES = 48;
/** zstd level: about 400 MB/s. */
const COMPRESSION_LEVEL = 1;

/** Collects the values of rows into a column. */
export class ColumnBuilder {
  readonly #codes: Uint32Array;
  readonly #values: PropertyValue[] = [null];
  readonly #codeOf = new Map<PropertyValue, number>([[null, 0]]);
  #bytes = 0;

  /** @param capacity the largest number of rows */
  constructor(capacity: number) {
    this.#codes = new Uint32Array(capacity);
  }

  /** The estimated memory of the distinct values, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Sets the value of a row. Rows that are never set are null. */
  set(row: number, value: PropertyValue): void {
    let code = this.#codeOf.get(value);
    if (code === undefined) {
      code = this.#values.length;
      this.#codeOf.set(value, code);
      this.#values.push(value);
      this.#bytes += VALUE_BYTES + (typeof value === 'string' ? 2 * value.length : 0);
    }
    this.#codes[row] = code;
  }

  /** Returns the column of the first `rows` rows. It shares the builder's memory, and stays valid while rows are added. */
  column(rows = this.#codes.length): PropertyColumn {
    return { codes: this.#codes.subarray(0, rows), values: this.#values };
  }

  /** Sets the values of rows from `start` on from another column. */
  append(start: number, { codes, values }: PropertyColumn): void {
    const translated = new Uint32Array(values.length);
    for (let row = 0; row < codes.length; row++) {
      const code = codes[row] as number;
      if (code === 0) continue;
      if (translated[code] === 0) {
        this.set(start + row, values[code] as PropertyValue);
        translated[code] = this.#codes[start + row] as number;
      } else this.#codes[start + row] = translated[code] as number;
    }
  }
}

/** Encodes a column, with the narrowest integers that can hold its codes. */
export function encodeColumn({ codes, values }: PropertyColumn): ColumnBlobs {
  if (values.length === 1) return { codes: new Uint8Array(0), values: new Uint8Array(0) };
  const narrow = new (arrayFor(values.length))(codes);
  return {
    codes: new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength),
    values: Bun.zstdCompressSync(JSON.stringify(values.slice(1)), { level: COMPRESSION_LEVEL }),
  };
}

function arrayFor(values: number): typeof Uint8Array | typeof Uint16Array | typeof Uint32Array {
  if (values <= 2 ** 8) return Uint8Array;
  return values <= 2 ** 16 ? Uint16Array : Uint32Array;
}

/** A column that was read from the database. Its values are decoded when they are needed. */
export class StoredColumn implements PropertyColumn {
  readonly id: string | undefined;
  readonly codes: Codes;
  readonly #blob: Uint8Array;
  #values: readonly PropertyValue[] | undefined;

  /**
   * @param rows the number of rows in the chunk
   * @throws if the blobs are not those of a column with this number of rows
   */
  constructor(blobs: ColumnBlobs, rows: number, id?: string) {
    this.id = id;
    this.codes = decodeCodes(blobs.codes, rows);
    this.#blob = blobs.values;
  }

  get values(): readonly PropertyValue[] {
    if (this.#values) return this.#values;
    const values = decodeValues(this.#blob);
    if (this.#blob.byteLength <= KEPT_VALUE_BYTES) this.#values = values;
    else countGarbage(VALUE_BYTES * values.length);
    return values;
  }

  /** The estimated memory of the column, in bytes. */
  get bytes(): number {
    const { byteLength } = this.#blob;
    return this.codes.byteLength + byteLength * (byteLength <= KEPT_VALUE_BYTES ? DECODED_FACTOR : 1) + VALUE_BYTES;
  }
}

function decodeCodes(bytes: Uint8Array, rows: number): Codes {
  if (bytes.length === 0) return new Uint8Array(rows);
  // copied, because wider integers must be aligned
  const { buffer } = bytes.slice();
  switch (bytes.length / rows) {
    case 1:
      return new Uint8Array(buffer);
    case 2:
      return new Uint16Array(buffer);
    case 4:
      return new Uint32Array(buffer);
    default:
      throw new Error(`a property column of ${rows} rows has ${bytes.length} bytes of codes`);
  }
}

function decodeValues(bytes: Uint8Array): readonly PropertyValue[] {
  if (bytes.length === 0) return [null];
  const values = JSON.parse(new TextDecoder().decode(Bun.zstdDecompressSync(bytes))) as PropertyValue[];
  values.unshift(null);
  return values;
}

/** Returns the checksum of a column's blobs: XXH3, chained through its seed, truncated to 53 bits. */
export function columnChecksum({ codes, values }: ColumnBlobs): number {
  let hash = 0n;
  for (const bytes of [codes, values]) hash = Bun.hash.xxHash3(bytes, hash);
  return Number(hash & ((1n << 53n) - 1n));
}
