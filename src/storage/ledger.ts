import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** A count of items in the ledger, or an increment of one. */
export type Count = readonly [name: string, items: number];

/** Names of the counts in the ledger. `rejected:` is a prefix, followed by the error code. */
export const STORED = 'stored';
export const DUPLICATE = 'duplicate';
export const DELETED = 'deleted';
export const REJECTED = 'rejected:';

/** Reads all counts of the ledger. */
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
