import { afterAll } from 'bun:test';
import { cpSync } from 'node:fs';
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

/**
 * Returns the function that creates databases with rows. They are removed after the tests of the file. Databases with the
 * same rows are copies of one that was closed.
 */
export function filledDatabases(): (rows: readonly LogRecord[]) => Promise<FilledDatabase> {
  const folder = temporaryFolder();
  afterAll(() => folder[Symbol.dispose]());
  const templates = new Map<readonly LogRecord[], string>();
  let databases = 0;
  const newPath = () => join(folder.path, `${++databases}.db`);
  return async (rows) => {
    let template = templates.get(rows);
    if (template === undefined) {
      template = newPath();
      const storage = openStorage(template);
      await storeRows(storage, rows);
      storage.close();
      templates.set(rows, template);
    }
    const path = newPath();
    cpSync(template, path);
    return { path, storage: openStorage(path), reader: openReader(path) };
  };
}

export function close({ storage, reader }: Pick<FilledDatabase, 'storage' | 'reader'>): void {
  reader.close();
  storage.close();
}
