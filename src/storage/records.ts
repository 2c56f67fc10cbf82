import type { Database } from 'bun:sqlite';
import type { Kind } from '../records.ts';

/**
 * Rows looked at in one statement, so that no read transaction is long, and a scan that few rows pass can be canceled
 * every few milliseconds.
 */
const WINDOW_ROWS = 10_000;
/** What a row takes beside its texts, in bytes, about. */
const ROW_BYTES = 100;

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

/** How much is wanted at most. One row is always read, however large. */
export interface Room {
  readonly rows: number;
  readonly bytes: number;
}

const SOURCES = {
  metric: { table: 'metrics', name: 'metric_name', label: 'data_string', value: 'metric_value' },
  analytics: { table: 'analytics', name: 'type', label: 'data_index', value: 'data' },
} as const;

/** Blank rows are those that were erased. */
const IS_PRESENT = "user_id <> ''";

/** A place in a scan: behind the row with the `seq` `after`, in a window whose last row has the `seq` `end`, if known. */
export interface ScanPlace {
  readonly after: number;
  readonly end?: number;
}

/**
 * Reads rows from one window, and returns those that pass the filter.
 *
 * @param direction `newest` first, or `oldest` first
 * @param room how many rows and bytes are wanted
 * @returns the rows, about how many bytes they have, and where to continue; undefined at the end
 */
export function readWindow(
  client: Database,
  kind: Kind,
  filter: RecordFilter,
  place: ScanPlace,
  direction: 'newest' | 'oldest',
  room: Room,
): { rows: RecordRow[]; bytes: number; next: ScanPlace | undefined } {
  const { table, name, label, value } = SOURCES[kind];
  const [beyond, order, last] = direction === 'newest' ? ['<', 'DESC', 'min'] : ['>', 'ASC', 'max'];
  const { after } = place;
  // where the window ends: with a filter that few rows pass, a statement without an end would read them all
  const end =
    place.end ??
    client
      .query<{ seq: number | null }, [number]>(
        `SELECT ${last}(seq) AS seq FROM (SELECT seq FROM ${table} WHERE seq ${beyond} ? ORDER BY seq ${order} LIMIT ${WINDOW_ROWS})`,
      )
      .get(after)?.seq ??
    undefined;
  if (end === undefined) return { rows: [], bytes: 0, next: undefined };
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
  const statement = client.query<RecordRow, (string | number)[]>(
    `SELECT seq, id, user_id, happened_at, received_at, ${name} AS name, ${label} AS label, ${value} AS value
     FROM ${table} WHERE ${IS_PRESENT} AND ${given.map(([condition]) => condition).join(' AND ')}
     ORDER BY seq ${order} LIMIT ?`,
  );
  const rows: RecordRow[] = [];
  let bytes = 0;
  for (const row of statement.iterate(...given.map(([, bound]) => bound), room.rows)) {
    rows.push(row);
    bytes += bytesOf(row);
    if (bytes >= room.bytes) break;
  }
  const lastSeq = rows.at(-1)?.seq;
  const isFull = rows.length === room.rows || bytes >= room.bytes;
  // a window that ends with its last row may be the last one: then nothing is left to continue with
  return {
    rows,
    bytes,
    next: isFull && lastSeq !== undefined && lastSeq !== end ? { after: lastSeq, end } : { after: end },
  };
}

/** Returns the `seq` of the newest row of a kind; 0 if there is none. */
export function newestSeq(client: Database, kind: Kind): number {
  return client.query<{ seq: number | null }, []>(`SELECT max(seq) AS seq FROM ${SOURCES[kind].table}`).get()?.seq ?? 0;
}

/** The bytes of a row as JSON, about. */
function bytesOf({ user_id, name, label, value }: RecordRow): number {
  const texts = Buffer.byteLength(user_id) + Buffer.byteLength(name) + Buffer.byteLength(label);
  return ROW_BYTES + texts + (typeof value === 'string' ? Buffer.byteLength(value) : 0);
}

/** Returns how many rows there are of a kind. */
export function countRows(client: Database, kind: Kind): number {
  const { table } = SOURCES[kind];
  return client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table} WHERE ${IS_PRESENT}`).get()?.n ?? 0;
}

/**
 * Returns how many rows there are behind a `seq`, and when the first of them was received, in microseconds since 1970.
 *
 * @param limit how far to count
 */
export function countRowsAfter(
  client: Database,
  kind: Kind,
  after: number,
  limit: number,
): { rows: number; oldestReceivedAt: number | undefined } {
  const { table } = SOURCES[kind];
  const first = client
    .query<{ received_at: number }, [number]>(`SELECT received_at FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1`)
    .get(after);
  if (!first) return { rows: 0, oldestReceivedAt: undefined };
  const count = client
    .query<{ n: number }, [number, number]>(
      `SELECT count(*) AS n FROM (SELECT 1 FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?)`,
    )
    .get(after, limit);
  return { rows: count?.n ?? 0, oldestReceivedAt: first.received_at };
}
