import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** A count of items in the ledger, or an increment of one. */
export type Count = readonly [name: string, items: number];

/** Names of the counts in the ledger. `rejected:` is a prefix, followed by the error code. */
export const STORED = 'stored';
export const DUPLICATE = 'duplicate';
export const DELETED = 'deleted';
export const REJECTED = 'rejected:';

/** Returns whether a database has a ledger; those of the first versions have none. */
export function hasLedger(client: Database): boolean {
  return client.query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'ledger'").get() !== null;
}

/** Reads all counts of the ledger. */
export function readLedger(client: Database): Count[] {
  return client
    .query<{ name: string; items: number }, []>('SELECT name, items FROM ledger')
    .all()
    .map(({ name, items }) => [name, items]);
}

/** Returns the number of rows present, from the ledger: those stored minus those deleted. */
export function countPresent(client: Database): number {
  const counts = new Map(readLedger(client));
  return (counts.get(STORED) ?? 0) - (counts.get(DELETED) ?? 0);
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
