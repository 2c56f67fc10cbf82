import type { PropertyValue } from '../../properties.ts';
import { countGarbage } from '../garbage.ts';
import type { TextHash } from '../text-hash.ts';
import { checksumOfBlobs, isChecksumOf } from './checksum.ts';

/** The values of a property in the rows of a chunk, or of a part of one. */
export interface PropertyColumn {
  /** For each row, the index of its value in `values`. */
  readonly codes: Codes;
  /** The number of distinct values. It grows while the column is being built. */
  readonly size: number;
  /** The distinct values. The first is null. Of a stored column with many values, they are decoded on each access. */
  readonly values: readonly PropertyValue[];
  /**
   * Two hashes of each value, one after the other: see {@link valueHashes}. Only stored columns with many values have them,
   * so that the values need not be decoded to be compared.
   */
  readonly hashes: Float64Array | undefined;
  /** Of columns with hashes: returns a function that decodes the values again, and holds less memory than the column. */
  detachValues?(): () => readonly PropertyValue[];
  /** Of columns with hashes: the memory that {@link detachValues} holds, in bytes. */
  readonly compressedBytes?: number;
  /** Identifies the distinct values: parts of a column have the same, and so have reads of a stored column in one query. */
  readonly id: string | object;
}

type Codes = Uint8Array | Uint16Array | Uint32Array;

/** The blobs of a stored column. */
export interface ColumnBlobs {
  /** Empty if all values are null. */
  readonly codes: Uint8Array;
  /**
   * The length of the JSON in bytes and the length of the hashes in bytes (32 bits each), the hashes as doubles, and the
   * values without the first as a JSON array in zstd.
   */
  readonly values: Uint8Array;
}

/**
 * Returns two hashes of a value with 53 bits each. Equal hashes mean equal values: among ten million values, a collision
 * has a probability of about 10^-18.
 */
export function valueHashes(value: PropertyValue, hash: TextHash): readonly [number, number] {
  const text = JSON.stringify(value);
  return [hash(text, HASH_SCOPES[0]), hash(text, HASH_SCOPES[1])];
}

/** Scopes of the hashes of values, which differ from those of labels: see text-hash.ts. */
const HASH_SCOPES = [-1, -2] as const;
/** Length of the two length fields in {@link ColumnBlobs.values}. */
const HEADER_BYTES = 8;

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
      hashes: undefined,
      codes: this.#codes.subarray(start, end),
      values,
      get size() {
        return values.length;
      },
    };
  }
}

/** Encodes a column, with the narrowest integers that can hold its codes. */
export function encodeColumn({ codes, values }: PropertyColumn, hash: TextHash): ColumnBlobs {
  if (values.length === 1) return { codes: new Uint8Array(0), values: new Uint8Array(0) };
  const narrow = new (arrayFor(values.length))(codes);
  const json = new TextEncoder().encode(JSON.stringify(values.slice(1)));
  const compressed = Bun.zstdCompressSync(json, { level: COMPRESSION_LEVEL });
  const hashes = json.byteLength > KEPT_JSON_BYTES ? hashesOf(values, hash) : new Float64Array(0);
  const blob = new Uint8Array(HEADER_BYTES + hashes.byteLength + compressed.byteLength);
  const header = new DataView(blob.buffer);
  header.setUint32(0, json.byteLength, true);
  header.setUint32(4, hashes.byteLength, true);
  blob.set(new Uint8Array(hashes.buffer), HEADER_BYTES);
  blob.set(compressed, HEADER_BYTES + hashes.byteLength);
  return { codes: new Uint8Array(narrow.buffer, narrow.byteOffset, narrow.byteLength), values: blob };
}

function hashesOf(values: readonly PropertyValue[], hash: TextHash): Float64Array {
  const hashes = new Float64Array(2 * values.length);
  for (let i = 0; i < values.length; i++) hashes.set(valueHashes(values[i] as PropertyValue, hash), 2 * i);
  return hashes;
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
  readonly hashes: Float64Array | undefined;
  /** The values in zstd. */
  readonly #compressed: Uint8Array;
  readonly #jsonBytes: number;
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
    const blob = blobs.values.slice();
    const header = blob.byteLength === 0 ? undefined : new DataView(blob.buffer);
    this.#jsonBytes = header?.getUint32(0, true) ?? 0;
    const hashBytes = header?.getUint32(4, true) ?? 0;
    this.hashes =
      hashBytes > 0 ? new Float64Array(blob.buffer.slice(HEADER_BYTES, HEADER_BYTES + hashBytes)) : undefined;
    this.#compressed = blob.slice(HEADER_BYTES + hashBytes);
  }

  get values(): readonly PropertyValue[] {
    if (this.#values) return this.#values;
    const values = decodeValues(this.#compressed);
    if (this.#isKept) this.#values = values;
    else countGarbage(this.#jsonBytes);
    return values;
  }

  detachValues(): () => readonly PropertyValue[] {
    const compressed = this.#compressed;
    return () => decodeValues(compressed);
  }

  /** The estimated memory of the column, in bytes. */
  get bytes(): number {
    const values = this.#isKept ? VALUE_BYTES * this.size + 2 * this.#jsonBytes : 0;
    return this.codes.byteLength + this.compressedBytes + (this.hashes?.byteLength ?? 0) + VALUE_BYTES + values;
  }

  get compressedBytes(): number {
    return this.#compressed.byteLength;
  }

  get #isKept(): boolean {
    return this.#jsonBytes <= KEPT_JSON_BYTES;
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

function decodeValues(compressed: Uint8Array): readonly PropertyValue[] {
  if (compressed.length === 0) return [null];
  const json = new TextDecoder().decode(Bun.zstdDecompressSync(compressed));
  const values = JSON.parse(json) as PropertyValue[];
  values.unshift(null);
  return values;
}

/** Returns the checksum of a column's blobs. */
export function columnChecksum({ codes, values }: ColumnBlobs): number {
  return checksumOfBlobs([codes, values]);
}

/** Returns whether a stored checksum is that of a column. */
export function hasColumnChecksum({ codes, values }: ColumnBlobs, stored: number): boolean {
  return isChecksumOf(stored, [codes, values]);
}
