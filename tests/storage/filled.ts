import { afterAll } from 'bun:test';
import { join } from 'node:path';
import type { LogRecord } from '../../src/records.ts';
import { openStorage, type Storage } from '../../src/storage/database.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';

/** A database with rows, and a reader of it. */
export interface FilledDatabase {
  readonly path: string;
  readonly storage: Storage;
  readonly reader: ReaderStorage;
}

/** Stores rows, in transactions of 2,000, and counts them in the ledger. */
export async function storeRows(storage: Storage, rows: readonly LogRecord[]): Promise<void> {
  const writer = createWriter(storage);
  for (let i = 0; i < rows.length; i += 2_000) {
    await writer.commit({
      ...NOTHING,
      records: rows.slice(i, i + 2_000),
      counts: [['stored', Math.min(2_000, rows.length - i)]],
    });
  }
}

/** Returns the function that creates databases with rows. They are removed after the tests of the file. */
export function filledDatabases(): (rows: readonly LogRecord[]) => Promise<FilledDatabase> {
  const folder = temporaryFolder();
  afterAll(() => folder[Symbol.dispose]());
  let databases = 0;
  return async (rows) => {
    const path = join(folder.path, `${++databases}.db`);
    const storage = openStorage(path);
    await storeRows(storage, rows);
    return { path, storage, reader: openReader(path) };
  };
}

export function close({ storage, reader }: Pick<FilledDatabase, 'storage' | 'reader'>): void {
  reader.close();
  storage.close();
}
