import type { Kind } from '../../records.ts';
import type { RecordRow } from '../../storage/records.ts';
import { SinkUnavailableError } from '../sink.ts';
import { type ParquetRow, readParquet } from './parquet/reader.ts';
import { EXPORT_COLUMNS, recordRowOf } from './parquet-rows.ts';

/*
 * The rows of objects that the sink has stored. If one is damaged, its rows cannot be erased or compared, so the operator
 * must remove it.
 */

/** Maximum number of rows of an object. The sink stores 100,000, and repeated deliveries can add some. */
const MAX_ROWS = 1_000_000;

/**
 * Reads some columns of an object.
 *
 * @throws {SinkUnavailableError} if it is damaged
 */
export async function* readStored(
  key: string,
  bytes: Uint8Array,
  columns: readonly string[],
): AsyncGenerator<ParquetRow[]> {
  let count = 0;
  try {
    const source = { bytes: bytes.length, read: async (start: number, end: number) => bytes.subarray(start, end) };
    for await (const rows of readParquet(source, columns)) {
      count += rows.length;
      if (count > MAX_ROWS) break;
      yield rows;
    }
  } catch {
    throw damaged(key);
  }
  if (count > MAX_ROWS) throw damaged(key);
}

/** Reads all rows of an object. Throws as {@link readStored} does. */
export async function decodeStored(key: string, kind: Kind, bytes: Uint8Array): Promise<RecordRow[]> {
  const result: RecordRow[] = [];
  for await (const rows of readStored(key, bytes, EXPORT_COLUMNS)) {
    for (const row of rows) {
      const record = recordRowOf(kind, row);
      if (record === undefined) throw damaged(key);
      result.push(record);
    }
  }
  return result;
}

/** Returns the error about an object that cannot be read. */
export function damaged(key: string): SinkUnavailableError {
  return new SinkUnavailableError(`The object ${key} is not one that rawlog has stored. Move it elsewhere.`);
}
