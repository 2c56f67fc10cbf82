import { COLUMNS } from '../../export/encode.ts';
import { ParquetFile } from '../../export/parquet.ts';
import type { Kind } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';
import type { RecordRow } from '../../storage/records.ts';
import type { ParquetRow } from './parquet/reader.ts';

/** Largest row group: rows, and bytes of their texts. A reader has one in memory. */
const ROW_GROUP = { rows: 50_000, bytes: 8 * 1024 ** 2 };
/** Rows that are added to a row group at once: one at a time takes half as long again. */
const PART_ROWS = 250;

/** The names of the columns of an export of either kind. */
export const EXPORT_COLUMNS: readonly string[] = [...new Set([...COLUMNS.metric, ...COLUMNS.analytics])];

/** Encodes rows of one kind as a Parquet file with the columns of an export, compressed with zstd. */
export function encodeParquet(kind: Kind, rowsToEncode: readonly RecordRow[]): Uint8Array<ArrayBuffer> {
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

/** Estimates the size of a row in bytes. */
function bytesOf({ user_id, name, label, value }: RecordRow): number {
  return user_id.length + name.length + label.length + (typeof value === 'string' ? value.length : 8);
}
