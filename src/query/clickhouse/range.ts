import type { Kind } from '../../records.ts';
import { type Extent, extentOfAll } from '../../storage/columns/extent.ts';
import { type Range, type RangeQuery, resolveRange } from '../selection.ts';
import type { Connection } from './connection.ts';
import { sql } from './sql.ts';
import { conditionOf, TABLES } from './tables.ts';

/**
 * Resolves the range of a query, like the embedded engine: an open end is that of all rows of these names and user,
 * whether or not they pass the filters.
 *
 * @param names undefined: all names
 */
export async function readRange(
  connection: Connection,
  kinds: readonly Kind[],
  names: readonly string[] | undefined,
  query: RangeQuery,
): Promise<Range> {
  const isOpen = query.from === undefined || query.to === undefined;
  const extents = isOpen ? await Promise.all(kinds.map((kind) => readExtent(connection, kind, names, query.user))) : [];
  return resolveRange(query, () => extentOfAll(extents));
}

/** Returns the extent of the rows of some names and a user; undefined if there are none. Repeated rows count. */
async function readExtent(
  connection: Connection,
  kind: Kind,
  names: readonly string[] | undefined,
  user: string | undefined,
): Promise<Extent | undefined> {
  const [extent] = await connection.all(
    sql`SELECT count(), min(happened_at), max(happened_at) FROM ${TABLES[kind].table}
      WHERE ${conditionOf(connection, kind, { names, user })}`,
    { rows: 'integer', minTime: 'integer', maxTime: 'integer' },
  );
  return extent && extent.rows > 0 ? extent : undefined;
}
