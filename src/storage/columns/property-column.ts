import type { PropertyValue } from '../../properties.ts';

/** The values of a property in the rows of a chunk. */
export interface PropertyColumn {
  /** For each row, the index of its value in `values`. */
  readonly codes: Uint8Array | Uint16Array | Uint32Array;
  /** The distinct values. The first is null. */
  readonly values: readonly PropertyValue[];
}

/** The blobs of a stored column. */
export interface ColumnBlobs {
  /** Empty if all values are null. */
  readonly codes: Uint8Array;
  /** The values without the first, as a JSON array compressed with zstd. */
  readonly values: Uint8Array;
}

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

/**
 * Decodes a column.
 *
 * @param rows the number of rows in the chunk
 * @throws if the blobs are not those of a column with this number of rows
 */
export function decodeColumn(blobs: ColumnBlobs, rows: number): PropertyColumn {
  if (blobs.codes.length === 0) return { codes: new Uint8Array(rows), values: [null] };
  const values = [null, ...(JSON.parse(new TextDecoder().decode(Bun.zstdDecompressSync(blobs.values))) as [])];
  // copied, because wider integers must be aligned
  const codes = new (arrayFor(values.length))(blobs.codes.slice().buffer);
  if (codes.length !== rows) throw new Error(`a property column has ${codes.length} rows instead of ${rows}`);
  return { codes, values };
}

/** Returns the checksum of a column's blobs: XXH3, chained through its seed, truncated to 53 bits. */
export function columnChecksum({ codes, values }: ColumnBlobs): number {
  let hash = 0n;
  for (const bytes of [codes, values]) hash = Bun.hash.xxHash3(bytes, hash);
  return Number(hash & ((1n << 53n) - 1n));
}

/** Returns the estimated memory of a column, in bytes. */
export function columnBytes({ codes, values }: PropertyColumn): number {
  const texts = values.reduce<number>((sum, value) => sum + (typeof value === 'string' ? 2 * value.length : 0), 0);
  return codes.byteLength + VALUE_BYTES * values.length + texts;
}
