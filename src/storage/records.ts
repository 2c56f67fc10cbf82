import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';

/** Rows looked at in one statement, so that no reader keeps the write-ahead log from being reused for long. */
const WINDOW_ROWS = 20_000;

/** Which rows are wanted. Times are microseconds since 1970. */
export interface RecordFilter {
  readonly user: string | undefined;
  readonly name: string | undefined;
  readonly label: string | undefined;
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** A row as it is stored; `value` of a metric, `data` of an event: JSON text. */
export interface RecordRow {
  readonly seq: number;
  readonly id: string;
  readonly user_id: string;
  readonly happened_at: number;
  readonly received_at: number;
  readonly name: string;
  readonly label: string;
  readonly value: number | string;
}

const SOURCES = {
  metric: { table: 'metrics', name: 'metric_name', label: 'data_string', value: 'metric_value' },
  analytics: { table: 'analytics', name: 'type', label: 'data_index', value: 'data' },
} as const;

/**
 * Looks at one window of rows from a place on, and gives those that pass the filter.
 *
 * @param after the `seq` behind which to begin, in the direction of reading
 * @param direction `newest` first, or `oldest` first
 * @param limit how many rows are wanted
 * @returns the rows, and where to go on; undefined where there is nothing more
 */
export function readWindow(
  client: Database,
  kind: Kind,
  filter: RecordFilter,
  after: number,
  direction: 'newest' | 'oldest',
  limit: number,
): { rows: RecordRow[]; next: number | undefined } {
  const { table, name, label, value } = SOURCES[kind];
  const [beyond, order] = direction === 'newest' ? ['<', 'DESC'] : ['>', 'ASC'];
  // where the window ends: with a filter that few rows pass, a statement without an end would read them all
  const end = client
    .query<{ seq: number }, [number]>(
      `SELECT seq FROM ${table} WHERE seq ${beyond} ? ORDER BY seq ${order} LIMIT 1 OFFSET ${WINDOW_ROWS - 1}`,
    )
    .get(after)?.seq;
  const conditions: [condition: string, value: string | number | undefined][] = [
    [`seq ${beyond} ?`, after],
    [direction === 'newest' ? 'seq >= ?' : 'seq <= ?', end],
    ['user_id = ?', filter.user],
    [`${name} = ?`, filter.name],
    [`${label} = ?`, filter.label],
    ['happened_at >= ?', filter.from],
    ['happened_at < ?', filter.to],
  ];
  const given = conditions.filter((one): one is [string, string | number] => one[1] !== undefined);
  const rows = client
    .query<RecordRow, (string | number)[]>(
      `SELECT seq, id, user_id, happened_at, received_at, ${name} AS name, ${label} AS label, ${value} AS value
       FROM ${table} WHERE user_id <> '' AND ${given.map(([condition]) => condition).join(' AND ')} ORDER BY seq ${order} LIMIT ${limit}`,
    )
    .all(...given.map(([, bound]) => bound));
  return { rows, next: rows.length === limit ? rows.at(-1)?.seq : end };
}

/** How many rows there are of a kind. */
export function countRows(client: Database, kind: Kind): number {
  return (
    client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${SOURCES[kind].table} WHERE user_id <> ''`).get()?.n ??
    0
  );
}
