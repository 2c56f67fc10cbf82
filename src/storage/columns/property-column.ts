import type { PropertyValue } from '../../properties.ts';
import { countGarbage } from '../garbage.ts';

/** The values of a property in the rows of a chunk, or of a part of one. */
export interface PropertyColumn {
  /** For each row, the index of its value in `values`. */
  readonly codes: Codes;
  /** The number of distinct values. It grows while the column is being built. */
  readonly size: number;
  /** The distinct values. The first is null. Of a stored column with many values, they are decoded on each access. */
  readonly values: readonly PropertyValue[];
  /** Identifies the distinct values: parts of a column have the same, and so have reads of a stored column in one query. */
  readonly id: string | object;
}

type Codes = Uint8Array | Uint16Array | Uint32Array;

/** The blobs of a stored column. */
export interface ColumnBlobs {
  /** Empty if all values are null. */
  readonly codes: Uint8Array;
  /** The length of the following JSON in bytes (32 bits), and the values without the first as a JSON array in zstd. */
  readonly values: Uint8Array;
}

/** Size of the JSON of values up to which they are decoded only once, in bytes. */
const KEPT_JSON_BYTES = 256 * 1024;
/** Estimated memory of a distinct value, excluding its text, in bytes. */
const VALUE_BYTES = 48;
/** zstd level: about 400 MB/s. */
const COMPRESSION_LEVEL = 1;

/** Collects the values of rows into a column. */
export class ColumnBuilder {
  #codes: Uint32Array;
  readonly #values: PropertyValue[] = [null];
  readonly #codeOf = new Map<PropertyValue, number>([[null, 0]]);
  #bytes = 0;

  /** @param capacity the expected number of rows */
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
    this.#makeRoom(row + 1);
    this.#codes[row] = code;
  }

  #makeRoom(rows: number): void {
    if (rows <= this.#codes.length) return;
    const longer = new Uint32Array(Math.max(rows, 2 * this.#codes.length));
    longer.set(this.#codes);
    this.#codes = longer;
  }

  /** Returns the column of the rows from `start` to `end`, exclusive. It shares the builder's memory. */
  column(start: number, end: number): PropertyColumn {
    this.#makeRoom(end);
    const values = this.#values;
    return {
      id: this,
      codes: this.#codes.subarray(start, end),
      values,
      get size() {
        return values.length;
      },
    };
  }
}

/** Encodes a column, with the narrowest integers that can hold its codes. */
export function encodeColumn({ codes, values }: PropertyColumn): ColumnBlobs {
  if (values.length === 1) return { codes: new Uint8Array(0), values: new Uint8Array(0) };
  const narrow = new (arrayFor(values.length))(codes);
  const json = new TextEncoder().encode(JSON.stringify(values.slice(1)));
  const compressed = Bun.zstdCompressSync(json, { level: COMPRESSION_LEVEL });
  const blob = new Uint8Array(4 + compressed.byteLength);
  new DataView(blob.buffer).setUint32(0, json.byteLength, true);
  blob.set(compressed, 4);
  return { codes: new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength), values: blob };
}

function arrayFor(values: number): typeof Uint8Array | typeof Uint16Array | typeof Uint32Array {
  if (values <= 2 ** 8) return Uint8Array;
  return values <= 2 ** 16 ? Uint16Array : Uint32Array;
}

/** A column that was read from the database. Its values are decoded when they are needed. */
export class StoredColumn implements PropertyColumn {
  readonly id: string;
  readonly codes: Codes;
  readonly size: number;
  readonly #blob: Uint8Array;
  #values: readonly PropertyValue[] | undefined;

  /**
   * @param rows the number of rows in the chunk
   * @param id see {@link PropertyColumn.id}
   * @throws if the blobs are not those of a column with this number of rows
   */
  constructor(blobs: ColumnBlobs, rows: number, id: string) {
    this.id = id;
    this.codes = decodeCodes(blobs.codes, rows);
    this.size = largest(this.codes) + 1;
    this.#blob = blobs.values;
  }

  get values(): readonly PropertyValue[] {
    if (this.#values) return this.#values;
    const values = decodeValues(this.#blob);
    if (this.#isKept) this.#values = values;
    else countGarbage(this.#jsonBytes);
    return values;
  }

  /** The estimated memory of the column, in bytes. */
  get bytes(): number {
    const values = this.#isKept ? VALUE_BYTES * this.size + 2 * this.#jsonBytes : 0;
    return this.codes.byteLength + this.#blob.byteLength + VALUE_BYTES + values;
  }

  get #isKept(): boolean {
    return this.#jsonBytes <= KEPT_JSON_BYTES;
  }

  get #jsonBytes(): number {
    const { buffer, byteOffset, byteLength } = this.#blob;
    return byteLength === 0 ? 0 : new DataView(buffer, byteOffset).getUint32(0, true);
  }
}

function largest(codes: Codes): number {
  let most = 0;
  for (let row = 0; row < codes.length; row++) if ((codes[row] as number) > most) most = codes[row] as number;
  return most;
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

function decodeValues(blob: Uint8Array): readonly PropertyValue[] {
  if (blob.length === 0) return [null];
  const json = new TextDecoder().decode(Bun.zstdDecompressSync(blob.slice(4)));
  const values = JSON.parse(json) as PropertyValue[];
  values.unshift(null);
  return values;
}

/** Returns the checksum of a column's blobs: XXH3, chained through its seed, truncated to 53 bits. */
export function columnChecksum({ codes, values }: ColumnBlobs): number {
  let hash = 0n;
  for (const bytes of [codes, values]) hash = Bun.hash.xxHash3(bytes, hash);
  return Number(hash & ((1n << 53n) - 1n));
}
