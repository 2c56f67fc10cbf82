import type { SchemaElement } from 'hyparquet';
import { ByteWalker, ParquetError, sizeOf, type ThriftStruct } from './thrift.ts';

/*
 * The footer of a Parquet file. It lists every column of every row group, so that of a large file is large: one row group is
 * parsed at a time, and only what is needed is passed to hyparquet, which converts everything there is.
 */

/** Bounds of what is read. docs/forwarding-s3.md names them. */
export const MAX_FOOTER_BYTES = 64 * 1024 ** 2;
export const MAX_GROUP_BYTES = 64 * 1024 ** 2;
export const MAX_GROUP_ROWS = 1024 ** 2;
/** Values in the metadata of the schema, and of a row group: 35 per column. */
const MAX_ELEMENTS = 100_000;

/** The last bytes of a file: the length of the footer, and four letters. */
const TAIL_BYTES = 8;
const MAGIC = 'PAR1';

/** Where a file is read from. */
export interface ParquetSource {
  readonly bytes: number;
  /** Returns the bytes from one offset to another, both within the file. */
  read(start: number, end: number): Promise<Uint8Array>;
}

export type Codec = 'UNCOMPRESSED' | 'SNAPPY' | 'ZSTD';
const TYPES = { 1: 'INT32', 2: 'INT64', 4: 'FLOAT', 5: 'DOUBLE', 6: 'BYTE_ARRAY' } as const;
const CODECS = { 0: 'UNCOMPRESSED', 1: 'SNAPPY', 6: 'ZSTD' } as const;
const REPETITION = { 0: 'REQUIRED', 1: 'OPTIONAL' } as const;
/** TIMESTAMP_MICROS of the older type annotations. */
const CONVERTED_MICROS = 10;

/** A column whose values are not nested. INT64 is microseconds since 1970. */
export type ParquetColumn = Readonly<SchemaElement> & { readonly type: (typeof TYPES)[keyof typeof TYPES] };

/** The values of a column in a row group. */
export interface ColumnChunk {
  readonly column: ParquetColumn;
  readonly codec: Codec;
  readonly start: number;
  readonly end: number;
}

export interface RowGroup {
  readonly rows: number;
  readonly chunks: readonly ColumnChunk[];
}

/**
 * Reads the footer, one row group after the other.
 *
 * @param names the columns to read; others, and nested ones, are left out
 */
export async function* readRowGroups(source: ParquetSource, names: ReadonlySet<string>): AsyncGenerator<RowGroup> {
  const footer = await readFooter(source);
  const walker = new ByteWalker(footer);
  let columns: ReadonlyMap<string, ParquetColumn> = new Map();
  let chunkBytes = 0;
  for (const { id, type } of walker.fields()) {
    walker.elementsLeft = MAX_ELEMENTS;
    if (id === 2) columns = columnsOf(walker.structs(type, MAX_ELEMENTS, false), names);
    else if (id !== 4) walker.skip(type);
    else {
      for (const struct of walker.structs(type, MAX_ELEMENTS, true)) {
        const group = groupOf(struct, columns, source);
        chunkBytes += group.chunks.reduce((sum, { start, end }) => sum + end - start, 0);
        // the same bytes in many row groups would make many rows of few bytes
        if (chunkBytes > source.bytes - footer.length) throw new ParquetError('its column chunks overlap');
        yield group;
      }
    }
  }
}

async function readFooter(source: ParquetSource): Promise<Uint8Array> {
  if (source.bytes < TAIL_BYTES + MAGIC.length) throw new ParquetError('it is not a Parquet file');
  const footerEnd = source.bytes - TAIL_BYTES;
  const tail = Buffer.from(await source.read(footerEnd, source.bytes));
  if (tail.toString('latin1', 4) !== MAGIC) throw new ParquetError('it is not a Parquet file');
  const length = tail.readUInt32LE(0);
  if (length > footerEnd - MAGIC.length) throw new ParquetError('its footer is longer than the file');
  if (length > MAX_FOOTER_BYTES) throw new ParquetError(`its footer has more than ${MAX_FOOTER_BYTES} bytes`);
  return source.read(footerEnd - length, footerEnd);
}

/** Returns the wanted columns at the top of a schema, whose elements are in the order of a tree. */
function columnsOf(elements: Iterable<ThriftStruct>, names: ReadonlySet<string>): Map<string, ParquetColumn> {
  const columns = new Map<string, ParquetColumn>();
  let isRoot = true;
  /** The number of elements that are still to come in the subtree of a column. */
  let nested = 0;
  for (const element of elements) {
    const { field_1: typeNumber, field_3: repetition, field_4: nameBytes, field_5: childNumber } = element;
    const children = Math.max(0, Number(childNumber ?? 0));
    const isTop = !isRoot && nested === 0;
    if (!isRoot) nested += isTop ? children : children - 1;
    isRoot = false;
    const name = textOf(nameBytes);
    const type = TYPES[typeNumber as keyof typeof TYPES];
    const repetition_type = REPETITION[repetition as keyof typeof REPETITION];
    if (!isTop || children > 0 || !names.has(name) || type === undefined || repetition_type === undefined) continue;
    // other integers of 64 bits may be times in another unit, or inexact
    if (type === 'INT64' && !isMicroseconds(element)) continue;
    if (columns.has(name)) throw new ParquetError('two of its columns have the same name');
    columns.set(name, { name, type, repetition_type, ...(type === 'INT64' && { converted_type: 'TIMESTAMP_MICROS' }) });
  }
  return columns;
}

function isMicroseconds({ field_6: converted, field_10: logical }: ThriftStruct): boolean {
  if (logical === undefined) return converted === CONVERTED_MICROS;
  return logical.field_8?.field_2?.field_2 !== undefined;
}

function groupOf(
  { field_1: chunkList, field_2: groupBytes, field_3: rowNumber }: ThriftStruct,
  columns: ReadonlyMap<string, ParquetColumn>,
  { bytes }: ParquetSource,
): RowGroup {
  const rows = sizeOf(rowNumber, MAX_GROUP_ROWS, 'the number of rows of a row group');
  sizeOf(groupBytes, MAX_GROUP_BYTES, 'the size of a row group in bytes');
  const chunks = new Map<string, ColumnChunk>();
  for (const chunk of Array.isArray(chunkList) ? chunkList : []) {
    const metadata = chunk?.field_3;
    const path = metadata?.field_3;
    const column = Array.isArray(path) && path.length === 1 ? columns.get(textOf(path[0])) : undefined;
    if (column === undefined) continue;
    const codec = CODECS[metadata.field_4 as keyof typeof CODECS];
    if (codec === undefined) throw new ParquetError('it is compressed with another codec than Snappy or zstd');
    const length = sizeOf(metadata.field_7, MAX_GROUP_BYTES, 'the size of a column in bytes');
    const dataStart = sizeOf(metadata.field_9, bytes, 'the offset of a column');
    const dictionaryStart = sizeOf(metadata.field_11 ?? 0, bytes, 'the offset of a dictionary'); // 0 means that there is none
    const start = dictionaryStart > 0 ? Math.min(dictionaryStart, dataStart) : dataStart;
    if (start + length > bytes) throw new ParquetError('a column ends after the file');
    if (chunks.has(column.name)) throw new ParquetError('two of its columns have the same name');
    chunks.set(column.name, { column, codec, start, end: start + length });
  }
  return { rows, chunks: [...chunks.values()] };
}

/** Returns a value that is bytes as text. */
function textOf(value: unknown): string {
  return value instanceof Uint8Array ? new TextDecoder().decode(value) : '';
}
