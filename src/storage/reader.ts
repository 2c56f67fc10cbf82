import type { Database } from 'bun:sqlite';
import { ColumnStore } from './columns/column-store.ts';
import { openForReading } from './database.ts';
import type { ErasureParts } from './erasure.ts';
import { openErasureList } from './erasure-list.ts';
import { createTextHash } from './text-hash.ts';

/** What the query worker works on: a connection of its own, and what maintenance of the column store needs. */
export interface ReaderStorage extends ErasureParts {
  readonly client: Database;
  close(): void;
}

/**
 * Opens a database for queries and for maintenance of its column store. There must be one reader per database file.
 *
 * @param now the clock, in milliseconds since 1970
 * @throws if there is no database
 */
export function openReader(path: string, now: () => number = Date.now): ReaderStorage {
  const client = openForReading(path);
  try {
    const hash = createTextHash(client);
    const store = new ColumnStore(client, hash);
    return { client, store, hash, list: openErasureList(client, path, now), close: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}
