import { parseClickHouseUrl } from '../formats/clickhouse-url.ts';
import { type ForwardUrl, findSink } from '../formats/forward-url.ts';
import type { SinkStatus } from './status.ts';

/**
 * Returns how many rows of this node are missing in the database of QUERY_URL, and for how long: the lag of the sink with the
 * same address. Any host of a cluster can be in a URL, so without one, it is the largest lag of the sinks whose database has
 * the same name. It is 0 if there is no such sink, and before the first measurement.
 */
export function lagBehind(
  queryUrl: URL | undefined,
  urls: readonly ForwardUrl[],
  statuses: readonly SinkStatus[] = [],
): { rows: number; seconds: number } {
  if (!queryUrl) return { rows: 0, seconds: 0 };
  const target = parseClickHouseUrl(queryUrl);
  const sinks = urls
    .filter(({ scheme }) => scheme === 'clickhouse' || scheme === 'clickhouses')
    .map(({ name, href }) => ({ name, ...parseClickHouseUrl(new URL(href)) }))
    .filter(({ database }) => database === target.database);
  const exact = sinks.filter(({ origin }) => origin === target.origin);
  // a sink may be stored under another name than that of its URL
  const lags = (exact.length > 0 ? exact : sinks).flatMap(({ name }) => findSink(statuses, name) ?? []);
  return {
    rows: Math.max(0, ...lags.map(({ lagRows }) => lagRows)),
    seconds: Math.max(0, ...lags.map(({ lagSeconds }) => lagSeconds)),
  };
}
