import type { Database } from 'bun:sqlite';
import { createDataTest, type PropertyFilter } from '../properties.ts';
import { KINDS, type Kind, type LabelFilter, type RecordSource } from '../records.ts';
import { countGarbage } from './garbage.ts';
import { addSources } from './record-sources.ts';
import { HAPPENED_AT, idOf, RECEIVED_AT, restoreForm } from './row-form.ts';

/**
 * Rows scanned per statement. It keeps read transactions short, and lets a scan with few matches be canceled every few
 * milliseconds.
 */
const WINDOW_ROWS = 10_000;
/** Bytes of rows whose data does not match after which a read ends, so that it can be canceled every few milliseconds. */
const MAX_SKIPPED_BYTES = 4 * 1024 * 1024;
/** Estimated size of a row in bytes, excluding its texts. */
const ROW_BYTES = 100;

/** A filter on rows. Times are microseconds since 1970: `from` is inclusive, `to` is exclusive. */
export interface RecordFilter {
  readonly user: string | undefined;
  readonly name: string | undefined;
  /** undefined: any label. */
  readonly labels?: LabelFilter | undefined;
  /** Filters on the data of events. All must match. */
  readonly properties?: readonly PropertyFilter[] | undefined;
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** A row. `value` is the number of a metric, or the `data` of an event as JSON text. */
export interface RecordRow {
  readonly seq: number;
  readonly id: string;
  readonly user_id: string;
  readonly happened_at: number;
  readonly received_at: number;
  readonly name: string;
  readonly label: string;
  readonly value: number | string;
  /** Only on rows that were imported from another database. */
  source?: RecordSource;
}

/** A row whose ID and times are still in the form in which they are stored. */
interface StoredRow extends Omit<RecordRow, 'id' | 'happened_at' | 'received_at'> {
  id: string;
  happened_at: number;
  received_at: number;
}

/** Limits of one read. At least one row is returned, whatever its size. */
export interface ReadLimits {
  readonly rows: number;
  readonly bytes: number;
}

const SOURCES = {
  metric: { table: 'metrics', name: 'metric_name', label: 'data_string', value: 'metric_value' },
  analytics: { table: 'analytics', name: 'type', label: 'data_index', value: 'data' },
} as const;

/** SQL condition that skips blank (erased or deleted) rows. */
const IS_PRESENT = "user_id <> ''";

/** A position in a scan. */
export interface ScanPosition {
  /** The `seq` of the last row that was read, whether or not it matched. */
  readonly after: number;
  /** The `seq` of the last row of the current window, if it is known. */
  readonly end?: number;
}

/**
 * Reads one window and returns the rows that match the filter.
 *
 * @param direction `newest` first, or `oldest` first
 * @returns the rows, their approximate size in bytes, and the position to continue from; undefined at the end
 */
export function readWindow(
  client: Database,
  kind: Kind,
  filter: RecordFilter,
  position: ScanPosition,
  direction: 'newest' | 'oldest',
  limits: ReadLimits,
): { rows: RecordRow[]; bytes: number; next: ScanPosition | undefined } {
  const { table, name, label, value } = SOURCES[kind];
  const [beyond, order] = direction === 'newest' ? ['<', 'DESC'] : ['>', 'ASC'];
  const { after } = position;
  const end = position.end ?? windowEnd(client, kind, after, direction);
  if (end === undefined) return { rows: [], bytes: 0, next: undefined };
  const { sql, values } = conditionOf(kind, filter);
  const statement = client.query<StoredRow, (string | number)[]>(
    `SELECT seq, id, user_id, happened_at, received_at, ${name} AS name, ${label} AS label, ${value} AS value
     FROM ${table} WHERE seq ${beyond} ? AND ${direction === 'newest' ? 'seq >= ?' : 'seq <= ?'} AND ${sql}
     ORDER BY seq ${order}`,
  );
  const { rows, bytes, stoppedAt = end } = collect(statement.iterate(after, end, ...values), filter, limits);
  addSources(client, rows);
  // If a limit was reached before the end of the window, the next call continues inside it. Otherwise it starts a new
  // window, which is empty at the end of the table.
  return { rows, bytes, next: stoppedAt === end ? { after: end } : { after: stoppedAt, end } };
}

/**
 * Returns the `seq` of the last row of a window; undefined if no rows are left. Windows must be bounded: with a filter that
 * few rows match, a single statement could scan the whole table.
 */
export function windowEnd(
  client: Database,
  kind: Kind,
  after: number,
  direction: 'newest' | 'oldest',
): number | undefined {
  const [beyond, order, last] = direction === 'newest' ? ['<', 'DESC', 'min'] : ['>', 'ASC', 'max'];
  const { table } = SOURCES[kind];
  const statement = client.query<{ seq: number | null }, [number]>(
    `SELECT ${last}(seq) AS seq FROM (SELECT seq FROM ${table} WHERE seq ${beyond} ? ORDER BY seq ${order} LIMIT ${WINDOW_ROWS})`,
  );
  return statement.get(after)?.seq ?? undefined;
}

/**
 * Reads the rows with some keys, and returns those that match the filter, in the order of the keys.
 *
 * @returns the rows, their approximate size in bytes, and the last key that was read if a limit was reached
 */
export function readKeys(
  client: Database,
  kind: Kind,
  filter: RecordFilter,
  keys: readonly number[],
  limits: ReadLimits,
): { rows: RecordRow[]; bytes: number; stoppedAt: number | undefined } {
  const { table, name, label, value } = SOURCES[kind];
  const { sql, values } = conditionOf(kind, filter);
  // CROSS JOIN keeps the order of the keys, and looks each one up
  const statement = client.query<StoredRow, (string | number)[]>(
    `SELECT seq, id, user_id, happened_at, received_at, ${name} AS name, ${label} AS label, ${value} AS value
     FROM (SELECT value AS requested FROM json_each(?)) CROSS JOIN ${table} ON seq = requested WHERE ${sql}`,
  );
  const found = collect(statement.iterate(JSON.stringify(keys), ...values), filter, limits);
  addSources(client, found.rows);
  return found;
}

/** Collects rows whose data matches the filter until a limit is reached, with whole IDs and times since 1970. */
function collect(
  found: Iterable<StoredRow>,
  filter: RecordFilter,
  limits: ReadLimits,
): { rows: RecordRow[]; bytes: number; stoppedAt: number | undefined } {
  const hasData = dataTestOf(filter);
  const rows: RecordRow[] = [];
  let bytes = 0;
  let skippedBytes = 0;
  let stoppedAt: number | undefined;
  for (const row of found) {
    if (hasData(row.value)) {
      restoreForm(row);
      rows.push(row);
      bytes += bytesOf(row);
    } else skippedBytes += bytesOf(row);
    if (rows.length < limits.rows && bytes < limits.bytes && skippedBytes < MAX_SKIPPED_BYTES) continue;
    stoppedAt = row.seq;
    break;
  }
  countGarbage(skippedBytes);
  return { rows, bytes, stoppedAt };
}

/** A row that matches a filter: its key, and the size of its texts in bytes. */
export interface MatchingRow {
  readonly seq: number;
  readonly bytes: number;
}

/** Time after which a scan for keys returns the rows found so far, in milliseconds. */
const SCAN_MS = 10;
/** Smallest and largest number of rows scanned by one statement of a scan for keys. */
const SCAN_ROWS = { min: 100, max: 20_000 };

/** SQL for the size of a row's texts in bytes, which SQLite computes without reading the texts. */
const SIZES = {
  metric: 'octet_length(metric_name) + octet_length(data_string)',
  analytics: 'octet_length(type) + octet_length(data_index) + octet_length(data)',
} as const;

/**
 * Creates a scan for the rows that match a filter, oldest first. Each call scans a window of rows, whose size it adapts
 * so that the call takes about 10 ms.
 *
 * @param cutoffSeq the scan ends after this `seq`
 * @returns a function that scans the rows after a `seq`, and returns where to continue; undefined at the end
 */
export function createKeyScan(
  client: Database,
  kind: Kind,
  filter: RecordFilter,
  cutoffSeq: number,
): (after: number) => { rows: MatchingRow[]; next: number | undefined } {
  const { table, value } = SOURCES[kind];
  const windowEnd = client.prepare<{ seq: number }, [number, number]>(
    `SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ?`,
  );
  const { sql, values } = conditionOf(kind, filter);
  const needsData = Boolean(filter.properties?.length);
  const inWindow = client.prepare<MatchingRow & { data: string }, (string | number)[]>(
    `SELECT seq, ${SIZES[kind]} AS bytes, ${needsData ? value : "''"} AS data
     FROM ${table} WHERE seq > ? AND seq <= ? AND ${sql} ORDER BY seq`,
  );
  const hasData = dataTestOf(filter);
  let windowRows = SCAN_ROWS.min;
  return (after) => {
    const startedAt = performance.now();
    const end = Math.min(windowEnd.get(after, windowRows - 1)?.seq ?? cutoffSeq, cutoffSeq);
    const rows: MatchingRow[] = [];
    let scannedTo = end;
    for (const { seq, bytes, data } of inWindow.iterate(after, end, ...values)) {
      if (hasData(data)) rows.push({ seq, bytes });
      countGarbage(data.length);
      if (!needsData || performance.now() - startedAt < SCAN_MS) continue;
      scannedTo = seq;
      break;
    }
    const growth = Math.min(2, SCAN_MS / (performance.now() - startedAt));
    windowRows = Math.round(Math.min(SCAN_ROWS.max, Math.max(SCAN_ROWS.min, windowRows * growth)));
    return { rows, next: scannedTo < cutoffSeq ? scannedTo : undefined };
  };
}

/** A row of a user: also its name, and when it happened, in microseconds since 1970. */
export interface RowOfUser extends MatchingRow {
  readonly name: string;
  readonly time: number;
}

/** Creates the function that reads the rows of a user, given keys. Skips blank rows and those of other users. */
export function createUserLookup(
  client: Database,
  kind: Kind,
  userId: string,
): (seqs: readonly number[]) => RowOfUser[] {
  const { table, name } = SOURCES[kind];
  const statement = client.query<RowOfUser, [string, string]>(
    `SELECT seq, ${SIZES[kind]} AS bytes, ${name} AS name, ${HAPPENED_AT} AS time
     FROM (SELECT value AS requested FROM json_each(?)) CROSS JOIN ${table} ON seq = requested WHERE user_id = ?`,
  );
  return (seqs) => statement.all(JSON.stringify(seqs), userId);
}

/** Rows read by one call of a scan for blank rows: about 5 ms. */
const BLANK_SCAN_ROWS = 5_000;

/** A row, and 1 if it is blank. */
export interface BlankOrNot {
  readonly seq: number;
  readonly isBlank: number;
}

/**
 * Creates a scan of the rows from one `seq` to another, in order, with some rows before and after them.
 *
 * @param margin number of rows before the first and after the last
 * @returns a function that returns the next rows; undefined at the end
 */
export function createBlankScan(
  client: Database,
  kind: Kind,
  first: number,
  last: number,
  margin: number,
): () => readonly BlankOrNot[] | undefined {
  const { table } = SOURCES[kind];
  const at = (comparison: '<' | '>', order: 'DESC' | 'ASC', seq: number) =>
    client
      .query<{ seq: number }, [number, number]>(
        `SELECT seq FROM ${table} WHERE seq ${comparison} ? ORDER BY seq ${order} LIMIT 1 OFFSET ?`,
      )
      .get(seq, margin - 1)?.seq;
  const end = at('>', 'ASC', last) ?? Number.MAX_SAFE_INTEGER;
  const next = client.query<BlankOrNot, [number, number]>(
    `SELECT seq, user_id = '' AS isBlank FROM ${table} WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ${BLANK_SCAN_ROWS}`,
  );
  let after: number | undefined = (at('<', 'DESC', first) ?? 0) - 1;
  return () => {
    if (after === undefined) return undefined;
    const rows = next.all(after, end);
    after = rows.length < BLANK_SCAN_ROWS ? undefined : rows.at(-1)?.seq;
    return rows;
  };
}

/** See {@link createRunDeletion}. A run whose earlier rows are deleted has at most two guards before its new rows. */
const RUN_GUARDS = 4;

/** Deletes the blank rows from one `seq` to another, inclusive. See reclaiming.ts for when this is safe. */
export function deleteBlankRows(client: Database, kind: Kind, first: number, last: number): void {
  client.query(`DELETE FROM ${SOURCES[kind].table} WHERE seq BETWEEN ? AND ? AND user_id = ''`).run(first, last);
}

/**
 * Creates the function that deletes the blank rows of a run that ends with some rows, except for a few at each of its ends.
 *
 * It goes back only {@link RUN_GUARDS} times `guardRows` rows before them: this reaches the beginning of a run whose earlier rows
 * it has deleted, but not that of millions of rows that were blanked in another way, which reclaiming.ts deletes in steps.
 *
 * @param guardRows number of rows that are kept at each end: see reclaiming.ts
 * @returns takes the first and the last of the rows
 */
export function createRunDeletion(
  client: Database,
  kind: Kind,
  guardRows: number,
): (first: number, last: number) => void {
  const { table } = SOURCES[kind];
  const findLowest = client.query<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq < ? ORDER BY seq DESC LIMIT 1 OFFSET ${RUN_GUARDS * guardRows}`,
  );
  const findPresent = client.query<{ seq: number }, [number, number]>(
    `SELECT seq FROM ${table} WHERE seq > ? AND seq <= ? AND ${IS_PRESENT} ORDER BY seq DESC LIMIT 1`,
  );
  const findFirst = client.query<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1 OFFSET ${guardRows}`,
  );
  const findLast = client.query<{ seq: number }, [number]>(
    `SELECT seq FROM ${table} WHERE seq <= ? ORDER BY seq DESC LIMIT 1 OFFSET ${guardRows}`,
  );
  return (first, last) => {
    const lowest = findLowest.get(first)?.seq ?? -1;
    const from = findFirst.get(findPresent.get(lowest, last)?.seq ?? lowest)?.seq;
    const to = findLast.get(last)?.seq;
    if (from !== undefined && to !== undefined && from <= to) deleteBlankRows(client, kind, from, to);
  };
}

/** Bytes of the numbers and the ID of a record, by kind: eight for each number. Most rows store fewer: see row-form.ts. */
const FIXED_BYTES: Readonly<Record<Kind, number>> = { metric: 32 + 36, analytics: 24 + 36 };

/** A number of rows, and the size of their fields in bytes. */
export interface RowSum {
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Creates the function that adds up the rows with some keys that happened before a time, in microseconds since 1970. Skips
 * blank rows.
 */
export function createExpiredSum(
  client: Database,
  kind: Kind,
): (keys: readonly number[] | Float64Array, before: number) => RowSum {
  const statement = client.query<RowSum, [string, number]>(
    `SELECT count(*) AS rows,
            coalesce(sum(octet_length(user_id) + ${SIZES[kind]}), 0) + count(*) * ${FIXED_BYTES[kind]} AS bytes
     FROM (SELECT value AS requested FROM json_each(?)) CROSS JOIN ${SOURCES[kind].table} ON seq = requested
     WHERE ${IS_PRESENT} AND ${HAPPENED_AT} < ?`,
  );
  return (keys, before) => statement.get(`[${keys.join(',')}]`, before) ?? { rows: 0, bytes: 0 };
}

/**
 * Creates the test of which rows are blank, or were blank and are deleted.
 *
 * @returns a function that returns the indexes of these rows, given keys
 */
export function createBlankTest(client: Database, kind: Kind): (seqs: readonly number[]) => number[] {
  const statement = client.prepare<{ at: number }, [string]>(
    `SELECT key AS at FROM json_each(?) AS searched LEFT JOIN ${SOURCES[kind].table} AS stored ON stored.seq = searched.value
     WHERE coalesce(stored.user_id, '') = ''`,
  );
  return (seqs) => statement.all(JSON.stringify(seqs)).map(({ at }) => at);
}

/** Returns the SQL condition of a filter, except on properties, with its values in order. Blank rows do not match. */
function conditionOf(kind: Kind, filter: RecordFilter): { sql: string; values: (string | number)[] } {
  const { name, label } = SOURCES[kind];
  const conditions: [condition: string, value: string | number | undefined][] = [
    ['user_id = ?', filter.user],
    [`${name} = ?`, filter.name],
    [`${HAPPENED_AT} >= ?`, filter.from],
    [`${HAPPENED_AT} < ?`, filter.to],
  ];
  const active = conditions.filter((condition): condition is [string, string | number] => condition[1] !== undefined);
  const labels = labelConditions(label, filter.labels);
  return {
    sql: [IS_PRESENT, ...active.map(([condition]) => condition), ...labels.conditions].join(' AND '),
    values: [...active.map(([, value]) => value), ...labels.values],
  };
}

/** Creates the test of whether a row's data matches a filter's properties. Only events have data. */
function dataTestOf({ properties = [] }: RecordFilter): (json: unknown) => boolean {
  const hasData = createDataTest(properties);
  return properties.length > 0 ? (json) => hasData(JSON.parse(json as string)) : () => true;
}

/** Returns the SQL conditions of a label filter, with their values in order. */
function labelConditions(column: string, filter: LabelFilter | undefined): { conditions: string[]; values: string[] } {
  if (filter === undefined) return { conditions: [], values: [] };
  const { anyOf, noneOf, containsAny } = filter;
  const marks = (texts: readonly string[]) => texts.map(() => '?').join(', ');
  const conditions = [
    ...(anyOf.length > 0 ? [`${column} IN (${marks(anyOf)})`] : []),
    ...(noneOf.length > 0 ? [`${column} NOT IN (${marks(noneOf)})`] : []),
    ...(containsAny.length > 0 ? [`(${containsAny.map(() => `instr(${column}, ?) > 0`).join(' OR ')})`] : []),
  ];
  return { conditions, values: [...anyOf, ...noneOf, ...containsAny] };
}

/** Returns the `seq` of the newest row of a kind; 0 if there are no rows. */
export function newestSeq(client: Database, kind: Kind): number {
  return client.query<{ seq: number | null }, []>(`SELECT max(seq) AS seq FROM ${SOURCES[kind].table}`).get()?.seq ?? 0;
}

/** Returns whether a user has rows of any kind after a `seq`. */
export function hasRowsOfUserAfter(client: Database, userId: string, seq: number): boolean {
  return KINDS.some(
    (kind) =>
      client.query(`SELECT 1 FROM ${SOURCES[kind].table} WHERE seq > ? AND user_id = ? LIMIT 1`).get(seq, userId) !==
      null,
  );
}

/** Returns the ID of the newest row of any kind; undefined if there are no rows. */
export function newestId(client: Database): string | undefined {
  const newest = KINDS.map((kind) =>
    client
      .query<{ seq: number; id: string }, []>(
        `SELECT seq, id FROM ${SOURCES[kind].table} WHERE ${IS_PRESENT} ORDER BY seq DESC LIMIT 1`,
      )
      .get(),
  ).flatMap((row) => row ?? []);
  const [last] = newest.sort((a, b) => b.seq - a.seq);
  return last && idOf(last.seq, last.id);
}

/** Estimates the size of a row in bytes, as text without escapes. */
function bytesOf({ user_id, name, label, value }: RecordRow): number {
  const texts = Buffer.byteLength(user_id) + Buffer.byteLength(name) + Buffer.byteLength(label);
  return ROW_BYTES + texts + (typeof value === 'string' ? Buffer.byteLength(value) : 0);
}

/** Returns whether there are more than `limit` rows from one `seq` to another, inclusive. */
export function hasMoreRows(client: Database, kind: Kind, first: number, last: number, limit: number): boolean {
  const statement = client.query(`SELECT 1 FROM ${SOURCES[kind].table} WHERE seq BETWEEN ? AND ? LIMIT 1 OFFSET ?`);
  return statement.get(first, last, limit) !== null;
}

/** Returns the number of rows of a kind. */
export function countRows(client: Database, kind: Kind): number {
  const { table } = SOURCES[kind];
  return client.query<{ n: number }, []>(`SELECT count(*) AS n FROM ${table} WHERE ${IS_PRESENT}`).get()?.n ?? 0;
}

/** Rows that {@link countRowsInParts} reads per statement: about 20 ms. */
const COUNTED_ROWS = 100_000;

/** As {@link countRows}, but yields while it counts, so that the caller can cancel it. */
export function* countRowsInParts(client: Database, kind: Kind, partRows = COUNTED_ROWS): Generator<undefined, number> {
  const part = client.query<{ last: number | null; n: number | null }, [number, number]>(
    `SELECT max(seq) AS last, sum(${IS_PRESENT}) AS n
     FROM (SELECT seq, user_id FROM ${SOURCES[kind].table} WHERE seq > ? ORDER BY seq LIMIT ?)`,
  );
  let total = 0;
  for (let after = -1; ; ) {
    const { last, n } = part.get(after, partRows) ?? {};
    if (last == null) return total;
    after = last;
    total += n ?? 0;
    yield;
  }
}

/**
 * Returns the number of rows after a `seq`, and when the first of them was received, in microseconds since 1970.
 *
 * @param limit the count stops at this number
 */
export function countRowsAfter(
  client: Database,
  kind: Kind,
  after: number,
  limit: number,
): { rows: number; oldestReceivedAt: number | undefined } {
  const { table } = SOURCES[kind];
  const first = client
    .query<{ received_at: number }, [number]>(
      `SELECT ${RECEIVED_AT} AS received_at FROM ${table} WHERE seq > ? ORDER BY seq LIMIT 1`,
    )
    .get(after);
  if (!first) return { rows: 0, oldestReceivedAt: undefined };
  const count = client
    .query<{ n: number }, [number, number]>(
      `SELECT count(*) AS n FROM (SELECT 1 FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?)`,
    )
    .get(after, limit);
  return { rows: count?.n ?? 0, oldestReceivedAt: first.received_at };
}
