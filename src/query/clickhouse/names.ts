import type { Kind } from '../../records.ts';
import { type NamedExtent, summarizeNames } from '../names.ts';
import type { Connection } from './connection.ts';
import { sql } from './sql.ts';
import { conditionOf, TABLES, uniqueRows } from './tables.ts';

/** Estimated memory of a name, excluding its text, in bytes. */
const NAME_BYTES = 96;

/** Lists the names of a kind, like the embedded engine. */
export async function names(connection: Connection, kind: Kind, user: string | undefined) {
  const { rows, budget } = connection;
  const { name } = TABLES[kind];
  const found: NamedExtent[] = [];
  const blocks = rows(
    sql`SELECT ${name}, count(), min(happened_at), max(happened_at) FROM ${uniqueRows(kind)}
      WHERE ${conditionOf(connection, kind, { user })} GROUP BY ${name}`,
    { name: 'text', rows: 'integer', minTime: 'integer', maxTime: 'integer' },
  );
  for await (const block of blocks) {
    for (const { name, ...extent } of block) {
      budget.reserve(NAME_BYTES + 2 * name.length);
      found.push({ name, extent });
    }
  }
  return summarizeNames(kind, found, budget);
}
