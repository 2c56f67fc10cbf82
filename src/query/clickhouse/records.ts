import { recordJson } from '../../export/encode.ts';
import { createEncoder, type ExportQuery } from '../../export/export.ts';
import { createDataTest } from '../../properties.ts';
import type { Kind } from '../../records.ts';
import type { RecordFilter, RecordRow } from '../../storage/records.ts';
import type { Page, PageQuery } from '../engine.ts';
import { createPage } from '../page.ts';
import type { Connection } from './connection.ts';
import { parseData } from './event-data.ts';
import { integer, type Sql, sql, text } from './sql.ts';
import { conditionOf, TABLES } from './tables.ts';

/** Time limit for reading a page of records, in milliseconds; the page then contains the records found so far. */
const PAGE_TIMEOUT_MS = 1_000;
/** Approximate size of the rows of a window, in bytes, at which it ends early. */
const WINDOW_BYTES = 8 * 1024 * 1024;
/** Rows per window if their data is tested by rawlog, and limits of the rows per window of an export. */
const TESTED_ROWS = 10_000;
const EXPORT_ROWS = { min: 1_000, max: 100_000 };
/** Estimated size of a row in bytes, excluding its texts. */
const ROW_BYTES = 100;

/** A read of rows in the order of `seq`, and of IDs within one `seq`: nodes can use the same one. */
interface WindowQuery {
  readonly kind: Kind;
  readonly filter: RecordFilter;
  readonly direction: 'newest' | 'oldest';
  /** Reads rows beyond this `seq`. */
  readonly after: number;
  /** Reads the oldest rows of that `seq`, too: those with a larger ID than this one. */
  readonly afterId?: string | undefined;
  /** The last `seq`; undefined: there is no limit. */
  readonly until?: number;
  /** Rows that are scanned, apart from those that do not match the condition in the statement. */
  readonly scannedRows: number;
  /** Rows after which the window ends. It may have a few more, since it never ends between rows with the same `seq`. */
  readonly maxRows: number;
  /** Approximate size of the rows, in bytes, after which the window ends. */
  readonly maxBytes: number;
}

interface Window {
  readonly rows: RecordRow[];
  readonly bytes: number;
  /** The `seq` to continue from; undefined at the end. */
  readonly next: number | undefined;
}

/**
 * Reads one window of rows. The first statement finds the keys, so that the second reads long texts only where it has to.
 * Repeated rows follow each other and are dropped here, which is faster than FINAL.
 */
async function readWindow(connection: Connection, query: WindowQuery): Promise<Window> {
  const { kind, filter, direction, after, afterId, until, scannedRows, maxRows, maxBytes } = query;
  const { table, name, label, value } = TABLES[kind];
  const { name: wantedName, user, from, to, labels } = filter;
  const condition = conditionOf(connection, kind, {
    names: wantedName === undefined ? undefined : [wantedName],
    user,
    from,
    to,
    labels,
  });
  const order = direction === 'newest' ? sql`DESC` : sql`ASC`;
  const isNext = direction === 'newest' ? sql`seq < ${integer(after)}` : sql`seq > ${integer(after)}`;
  const isAfter =
    afterId === undefined ? isNext : sql`(${isNext} OR (seq = ${integer(after)} AND id > ${text(afterId)}))`;
  const isBefore = until === undefined ? sql`1` : sql`seq <= ${integer(until)}`;
  const source = (isInWindow: Sql) => sql`${table} WHERE ${isAfter} AND ${isInWindow} AND ${condition}`;
  let found = 0;
  let end: number | undefined;
  const keys = connection.rows(
    sql`SELECT seq FROM ${source(isBefore)} ORDER BY seq ${order} LIMIT ${integer(scannedRows)}`,
    { seq: 'integer' },
  );
  for await (const block of keys) {
    found += block.length;
    end = block.at(-1)?.seq ?? end;
  }
  if (end === undefined) return { rows: [], bytes: 0, next: undefined };
  const isInWindow = direction === 'newest' ? sql`seq >= ${integer(end)}` : sql`seq <= ${integer(end)}`;
  const hasData = createDataTest(filter.properties ?? []);
  const isTested = (filter.properties?.length ?? 0) > 0;
  const rows: RecordRow[] = [];
  let bytes = 0;
  let last: { readonly seq: number; readonly id: string } | undefined;
  const blocks = connection.rows(
    sql`SELECT seq, id, user_id, happened_at, received_at, ${name}, ${label}, ${value} FROM ${source(isInWindow)}
      ORDER BY seq ${order}, id ${order}`,
    {
      ...{ seq: 'integer', id: 'text', user_id: 'text', happened_at: 'integer', received_at: 'integer' },
      ...{ name: 'text', label: 'text', value: kind === 'metric' ? 'double' : 'text' },
    },
  );
  for await (const block of blocks) {
    connection.budget.check();
    for (const row of block) {
      const isFull = rows.length >= maxRows || bytes >= maxBytes;
      if (last && isFull && row.seq !== last.seq) return { rows, bytes, next: last.seq };
      if (row.id === last?.id) continue;
      last = row;
      if (isTested && !hasData(parseData(String(row.value)))) continue;
      rows.push(row);
      bytes += ROW_BYTES + Buffer.byteLength(row.name) + Buffer.byteLength(row.label);
      if (typeof row.value === 'string') bytes += Buffer.byteLength(row.value);
    }
  }
  return { rows, bytes, next: found < scannedRows ? undefined : end };
}

/**
 * Reads a page of records, newest first.
 *
 * @param maxResultBytes the largest result
 */
export async function page(
  connection: Connection,
  { kind, filter, before, limit }: PageQuery,
  maxResultBytes: number,
): Promise<Page> {
  const deadline = performance.now() + PAGE_TIMEOUT_MS;
  const isTested = (filter.properties?.length ?? 0) > 0;
  const { records, room, add } = createPage(maxResultBytes);
  let last: number | undefined;
  let next: number | undefined = before ?? Number.MAX_SAFE_INTEGER;
  do {
    const maxRows: number = limit - records.length;
    const window: Window = await readWindow(connection, {
      ...{ kind, filter, direction: 'newest', after: next, maxRows, maxBytes: room() },
      scannedRows: isTested ? TESTED_ROWS : maxRows + 1, // one more, to know whether there is another page
    });
    const { rows } = window;
    for (let at = 0; at < rows.length; ) {
      const seq = rows[at]?.seq;
      const together: string[] = []; // a cursor cannot point between them
      for (let row = rows[at]; row && row.seq === seq; row = rows[++at]) together.push(recordJson(kind, row));
      if (!add(together)) return { records, next: last };
      last = seq;
    }
    next = window.next;
  } while (next !== undefined && records.length < limit && room() > 0 && performance.now() < deadline);
  return { records, next };
}

/**
 * Exports records, oldest first, in parts of at most 1 MB. Includes every row that the engine had when the export started.
 *
 * @param connect returns the connection for the next part
 */
export async function* exportRecords(connect: () => Connection, query: ExportQuery): AsyncGenerator<Uint8Array> {
  const { kind, filter } = query;
  const encoder = createEncoder(query);
  yield* encoder.begin();
  const [newest] = await connect().all(sql`SELECT max(seq) FROM ${TABLES[kind].table}`, { seq: 'integer' });
  const until = newest?.seq ?? 0;
  let scannedRows = TESTED_ROWS;
  let { afterId } = query;
  for (let after: number | undefined = query.after; after !== undefined && (after < until || afterId !== undefined); ) {
    const window: Window = await readWindow(connect(), {
      ...{
        kind,
        filter,
        direction: 'oldest',
        after,
        afterId,
        until,
        scannedRows,
        maxRows: scannedRows,
        maxBytes: WINDOW_BYTES,
      },
    });
    yield* encoder.add(window);
    after = window.next;
    afterId = undefined;
    const bytesPerRow = Math.max(ROW_BYTES, window.bytes / Math.max(1, window.rows.length));
    scannedRows = Math.round(Math.min(EXPORT_ROWS.max, Math.max(EXPORT_ROWS.min, WINDOW_BYTES / 2 / bytesPerRow)));
  }
  yield* encoder.end();
}
