import type { Database } from 'bun:sqlite';
import type { RemovalContext } from './blanking.ts';
import { ColumnStore, type UserRowLimits } from './columns/column-store.ts';
import { openForReading } from './database.ts';
import { openDeletionList } from './deletion-list.ts';
import { openErasureList } from './erasure-list.ts';
import { createTextHash } from './text-hash.ts';

/** The query worker's storage: its own connection, the column store, and everything needed to maintain them. */
export interface ReaderStorage extends RemovalContext {
  readonly client: Database;
  close(): void;
}

/**
 * Opens a database for queries and column store maintenance. There must be only one reader per database file.
 *
 * @param now the clock, in milliseconds since 1970
 * @param userRowLimits for tests
 * @throws if there is no database
 */
export function openReader(path: string, now: () => number = Date.now, userRowLimits?: UserRowLimits): ReaderStorage {
  const client = openForReading(path);
  try {
    const hash = createTextHash(client);
    const store = new ColumnStore(client, hash, now, undefined, userRowLimits);
    const list = openErasureList(client, path, now);
    return { client, store, hash, list, deletions: openDeletionList(client, now), close: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}
