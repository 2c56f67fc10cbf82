import type { Kind } from '../../records.ts';
import type { RecordRow } from '../../storage/records.ts';
import { SinkUnavailableError } from '../sink.ts';
import { type ParquetRow, readParquet, recordRowOf } from './parquet-rows.ts';

/*
 * The rows of objects that the sink has stored. If one is damaged, its rows cannot be erased or compared, so the operator
 * must remove it.
 */

/**
 * Reads some columns of an object.
 *
 * @throws {SinkUnavailableError} if it is damaged
 */
export async function* readStored(key: string, bytes: Uint8Array, columns?: string[]): AsyncGenerator<ParquetRow[]> {
  try {
    yield* readParquet(bytes, columns);
  } catch {
    throw damaged(key);
  }
}

/** Reads all rows of an object. Throws as {@link readStored} does. */
export async function decodeStored(key: string, kind: Kind, bytes: Uint8Array): Promise<RecordRow[]> {
  const result: RecordRow[] = [];
  for await (const rows of readStored(key, bytes)) {
    for (const row of rows) {
      const record = recordRowOf(kind, row);
      if (record === undefined) throw damaged(key);
      result.push(record);
    }
  }
  return result;
}

function damaged(key: string): SinkUnavailableError {
  return new SinkUnavailableError(`The object ${key} is not one that rawlog has stored. Move it elsewhere.`);
}
