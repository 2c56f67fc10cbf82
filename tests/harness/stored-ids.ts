import type { Database } from 'bun:sqlite';
import { VIEWS } from './client.ts';

/** Counts the IDs that are in a table. Returns 0 if even the table is lost. */
export function countStored(
  database: Database,
  ids: readonly string[],
  table: 'metrics' | 'analytics' = 'metrics',
): number {
  if (database.query('SELECT 1 FROM sqlite_schema WHERE name = ?').get(table) === null) return 0;
  const isStored = database.query(`SELECT 1 FROM ${VIEWS[table]} WHERE id = ? AND seq = ?`);
  return ids.filter((id) => isStored.get(id, seqOf(id)) !== null).length;
}

/** Returns the key of a record, which is the time part of its ID: milliseconds since 2020, and a 12-bit counter. */
function seqOf(id: string): number {
  const millisecond = Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16);
  return (millisecond - Date.UTC(2020, 0, 1)) * 4096 + Number.parseInt(id.slice(15, 18), 16);
}
