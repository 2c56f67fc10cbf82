import { counts } from '../counts.ts';
import { type FunnelQuery, funnel } from '../funnel.ts';
import { type RetentionQuery, retention } from '../retention.ts';
import type { BucketQuery, RowQuery } from '../selection.ts';
import type { Connection } from './connection.ts';
import { fetchRows } from './fetched-rows.ts';
import { readRange } from './range.ts';
import { some } from './sql.ts';
import { returnTypes, stepCondition, typesOf } from './steps.ts';

/** Returns whether a query reads properties of the data of events. */
export function readsProperties({
  properties = [],
  groupBy,
  sum,
}: Pick<BucketQuery, 'properties' | 'groupBy' | 'sum'>): boolean {
  return properties.length > 0 || groupBy !== undefined || sum !== undefined;
}

/** Returns a query without what {@link fetchRows} has applied. */
function overFetchedRows<Query extends RowQuery>(query: Query): Query {
  return { ...query, user: undefined, labels: undefined, properties: undefined };
}

/** Counts events by a property, or with a sum of one, or with filters on properties. */
export async function countsOfProperties(connection: Connection, query: BucketQuery) {
  const types = [query.name];
  const range = await readRange(connection, ['analytics'], types, query);
  const paths = [...(query.groupBy ? [query.groupBy.path] : []), ...(query.sum ? [query.sum.path] : [])];
  const store = await fetchRows(connection, { ...query, types, range, paths: distinct(paths) });
  return counts(store, overFetchedRows(query), connection.budget);
}

/** Computes a funnel with filters on properties. */
export async function funnelOfProperties(connection: Connection, query: FunnelQuery) {
  const types = typesOf(query.steps);
  const range = await readRange(connection, ['analytics'], types, query);
  const condition = some(query.steps.map(stepCondition));
  const store = await fetchRows(connection, { ...query, types, range, condition, paths: [] });
  return funnel(store, overFetchedRows(query), connection.budget);
}

/** Computes cohort retention with filters on properties. */
export async function retentionOfProperties(connection: Connection, query: RetentionQuery) {
  const types = returnTypes(query);
  const range = await readRange(connection, ['analytics'], types, query);
  const store = await fetchRows(connection, { ...query, types, range, paths: [] });
  return retention(store, overFetchedRows(query), connection.budget);
}

/** Returns paths, each once. */
function distinct(paths: readonly (readonly string[])[]): (readonly string[])[] {
  return [...new Map(paths.map((path) => [JSON.stringify(path), path])).values()];
}
