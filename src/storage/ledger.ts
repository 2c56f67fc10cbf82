import type { Database } from 'bun:sqlite';
import type { Count } from './writer.ts';

/** Returns the counts of the ledger as last committed. */
export function readLedger(client: Database): Count[] {
  return client
    .query<{ name: string; items: number }, []>('SELECT name, items FROM ledger')
    .all()
    .map(({ name, items }) => [name, items] as const);
}
