import { zstdDecompressSync } from 'node:zlib';
import { type Compressors, type FileMetaData, parquetMetadata, parquetReadObjects, snappyUncompress } from 'hyparquet';
import { ParquetFile } from '../../export/parquet.ts';
import type { Kind } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';
import type { RecordRow } from '../../storage/records.ts';

/** Largest row group: rows, and bytes of their texts. A reader has one in memory. */
const ROW_GROUP = { rows: 50_000, bytes: 8 * 1024 ** 2 };
/** Rows that are added to a row group at once: one at a time takes half as long again. */
const PART_ROWS = 250;
/** Largest row group and page that are read, in bytes when decompressed. */
const MAX_GROUP_BYTES = 64 * 1024 ** 2;

/** A row of a Parquet file. The values have whatever types the file has; times are microseconds since 1970. */
export type ParquetRow = Readonly<Record<string, unknown>>;

const parsers = {
  timestampFromMicroseconds: Number,
  // unlike the default, keeps a byte order mark
  stringFromBytes: (bytes: Uint8Array) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes),
};
const compressors: Compressors = {
  SNAPPY(input, outputLength) {
    const output = new Uint8Array(checked(outputLength));
    snappyUncompress(input, output);
    return output;
  },
  ZSTD: (input, outputLength) => zstdDecompressSync(input, { maxOutputLength: Math.max(1, checked(outputLength)) }),
};

/** Encodes rows of one kind as a Parquet file with the columns of an export, compressed with zstd. */
export function encodeParquet(kind: Kind, rowsToEncode: readonly RecordRow[]): Uint8Array {
  const file = new ParquetFile(kind, 'ZSTD');
  let [groupStart, partStart, bytes] = [0, 0, 0];
  for (const [i, row] of rowsToEncode.entries()) {
    const end = i + 1;
    bytes += bytesOf(row);
    const isGroupFull = end - groupStart >= ROW_GROUP.rows || bytes >= ROW_GROUP.bytes;
    if (end - partStart < PART_ROWS && !isGroupFull && end < rowsToEncode.length) continue;
    file.add(rowsToEncode.slice(partStart, end));
    partStart = end;
    if (!isGroupFull) continue;
    file.endGroup();
    [groupStart, bytes] = [end, 0];
  }
  file.finish();
  return Buffer.concat([...file.take()]);
}

/**
 * Reads a Parquet file, one row group after the other.
 *
 * @param columns the columns to read; default: all
 * @throws {Error} if it is not a Parquet file, or a row group or page is too large. The message contains no value
 */
export async function* readParquet(bytes: Uint8Array, columns?: string[]): AsyncGenerator<ParquetRow[]> {
  const file = bytes.slice().buffer;
  let metadata: FileMetaData;
  try {
    metadata = parquetMetadata(file, { parsers });
  } catch {
    throw new Error('it is not a Parquet file');
  }
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    if (group.total_byte_size > MAX_GROUP_BYTES) throw new Error('a row group is too large');
    const rowEnd = rowStart + Number(group.num_rows);
    const range = { rowStart, rowEnd, ...(columns && { columns }) };
    let rows: ParquetRow[];
    try {
      rows = await parquetReadObjects({ file, metadata, parsers, compressors, ...range });
    } catch {
      throw new Error('its pages cannot be read'); // the original error may contain values
    }
    yield rows;
    rowStart = rowEnd;
  }
}

/**
 * Converts a row of an export.
 *
 * @returns undefined if a column is missing or has another type. The texts are not checked
 */
export function recordRowOf(kind: Kind, row: ParquetRow): RecordRow | undefined {
  const { id, user_id, timestamp: happened_at, received_at } = row;
  const [name, label, value] =
    kind === 'metric'
      ? [row['metric_name'], row['data_string'], row['metric_value']]
      : [row['type'], row['data_index'], row['data']];
  if (typeof id !== 'string' || typeof user_id !== 'string') return undefined;
  if (!isTime(happened_at) || !isTime(received_at)) return undefined;
  if (typeof name !== 'string' || typeof label !== 'string') return undefined;
  if (typeof value !== 'string' && typeof value !== 'number') return undefined;
  if ((kind === 'metric') !== (typeof value === 'number')) return undefined;
  return { seq: seqOfId(id), id, user_id, happened_at, received_at, name, label, value };
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value);
}

function checked(pageBytes: number): number {
  if (pageBytes > MAX_GROUP_BYTES) throw new Error('a page is too large');
  return pageBytes;
}

/** Estimates the size of a row in bytes. */
function bytesOf({ user_id, name, label, value }: RecordRow): number {
  return user_id.length + name.length + label.length + (typeof value === 'string' ? value.length : 8);
}
