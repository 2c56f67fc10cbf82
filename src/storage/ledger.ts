import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** A count of the ledger: its name, and how many items it has, or is to have more. */
export type Count = readonly [name: string, items: number];

/** The names under which items are counted; rejections by `rejected:` and their error code. */
export const STORED = 'stored';
export const DUPLICATE = 'duplicate';
export const DELETED = 'deleted';
export const REJECTED = 'rejected:';

/** Reads all counts of a database. */
export function readLedger(client: Database): Count[] {
  return client
    .query<{ name: string; items: number }, []>('SELECT name, items FROM ledger')
    .all()
    .map(({ name, items }) => [name, items]);
}

/** Adds to a count, in the caller's transaction. */
export function addToLedger(client: Database, name: string, items: number): void {
  const { changes } = client
    .query(
      'INSERT INTO ledger (name, items) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET items = items + excluded.items',
    )
    .run(name, items);
  assertChanges(changes, 1);
}
