import { type SQL, sql } from 'drizzle-orm';
import { parsePostgresUrl } from '../../formats/postgres-url.ts';
import { KINDS, type Kind, type LogRecord } from '../../records.ts';
import { millisecondOf } from '../../storage/record-id.ts';
import type { Block, Outcome, RefusedRow, Sink, SinkOptions } from '../sink.ts';
import { createConnection, type Transaction } from './connection.ts';
import { describeError, isDataError, publicError, sqlStateOf } from './errors.ts';
import { prepareTable, type UserReference } from './preparation.ts';
import { SINK_TABLES, type SinkTable } from './tables.ts';

/** SQLSTATE of a row that refers to a user that does not exist. */
const FOREIGN_KEY_VIOLATION = '23503';
const UNKNOWN_USER = 'the table of users has no such user';
const NOT_STORED = 'the table did not store the row: a trigger or a rule discarded it';

/** Rows deleted per transaction of an erasure: each locks them, and may scan the whole table. */
const ERASED_ROWS = 50_000;
const ERASURE_TIMEOUT_MS = 600_000;

/**
 * Creates a sink that stores records in PostgreSQL, one transaction per block. A row that is already there, by its ID, is
 * left as it is.
 *
 * @throws {Error} if the URL is invalid
 */
export function createPostgresSink({ url, node }: SinkOptions): Sink {
  const target = parsePostgresUrl(url.href);
  const tables = SINK_TABLES[target.tables];
  const connection = createConnection(target);
  const references: Record<Kind, readonly UserReference[]> = { metric: [], analytics: [] };

  /** Stores rows, or divides them until the rows that the server does not accept are alone. */
  async function store(
    table: SinkTable,
    users: readonly UserReference[],
    records: readonly LogRecord[],
    outcome: { rejected: RefusedRow[]; postponed: RefusedRow[] },
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const { unknown, missing } = await connection.transaction(
        (transaction) => insert(transaction, table, users, records, node),
        signal,
      );
      outcome.postponed.push(...unknown.map((record) => refused(record, UNKNOWN_USER)));
      outcome.rejected.push(...missing.map((record) => refused(record, NOT_STORED)));
    } catch (error) {
      if (!isDataError(error)) throw error;
      const [first] = records;
      if (records.length > 1 || !first) {
        const middle = records.length >> 1;
        await store(table, users, records.slice(0, middle), outcome, signal);
        await store(table, users, records.slice(middle), outcome, signal);
      } else if (sqlStateOf(error) === FOREIGN_KEY_VIOLATION) {
        outcome.postponed.push(refused(first, UNKNOWN_USER));
      } else {
        outcome.rejected.push(refused(first, describeError(error)));
      }
    }
  }

  return {
    prepare: (signal) =>
      withPublicErrors(signal, async () => {
        await connection.transaction(async (transaction) => {
          for (const kind of KINDS) references[kind] = await prepareTable(transaction, target.schema, tables[kind]);
        }, signal);
      }),
    deliver: ({ kind, records }: Block, signal) =>
      withPublicErrors(signal, async () => {
        const outcome: Outcome & { rejected: RefusedRow[]; postponed: RefusedRow[] } = { rejected: [], postponed: [] };
        await store(tables[kind], references[kind], records, outcome, signal);
        return outcome;
      }),
    erase: ({ userId, cutoffId, cutoffSeq }, signal) =>
      withPublicErrors(signal, async () => {
        for (const kind of KINDS) {
          const { table, id, user, upTo } = tables[kind];
          const limit = upTo({ id: cutoffId, millisecond: millisecondOf(cutoffSeq) });
          const rows = sql`SELECT ${id} FROM ${table} WHERE ${user} = ${userId} AND ${limit} LIMIT ${ERASED_ROWS}`;
          for (let deleted = ERASED_ROWS; deleted === ERASED_ROWS; ) {
            const options = { statementTimeoutMs: ERASURE_TIMEOUT_MS };
            const work = (transaction: Transaction) => transaction.delete(table).where(sql`${id} IN (${rows})`);
            deleted = (await connection.transaction(work, signal, options)).count;
          }
        }
      }),
    close: () => connection.close(),
  };
}

/**
 * Inserts rows that are not there yet.
 *
 * @returns the records that were not stored: those of unknown users, and those that the table discarded
 */
async function insert(
  transaction: Transaction,
  sinkTable: SinkTable,
  users: readonly UserReference[],
  records: readonly LogRecord[],
  node: string,
): Promise<{ unknown: readonly LogRecord[]; missing: readonly LogRecord[] }> {
  const { table, id, columns, rowOf } = sinkTable;
  const unknownUsers = await findUnknown(transaction, users, records);
  const unknown = records.filter(({ userId }) => unknownUsers.has(userId));
  const rows = records.filter(({ userId }) => !unknownUsers.has(userId)).map((record) => rowOf(record, node));
  if (rows.length === 0) return { unknown, missing: [] };
  // one parameter for all rows: with one per value, a statement is limited to 65,535, and takes longer to build and to parse
  const types = columns.map((column) => sql`${sql.identifier(column.name)} ${sql.raw(inputType(column.getSQLType()))}`);
  const values = columns.map((column) =>
    column.getSQLType() === 'jsonb'
      ? sql`r.${sql.identifier(column.name)}::jsonb`
      : sql`r.${sql.identifier(column.name)}`,
  );
  const source = sql`SELECT ${list(values)} FROM json_to_recordset(${JSON.stringify(rows)}::json) AS r(${list(types)})`;
  const { count } = await transaction.insert(table).select(source).onConflictDoNothing({ target: id });
  if (count === rows.length) return { unknown, missing: [] };
  // the others were there before, or the table discarded them
  const ids = JSON.stringify(rows.map((row) => row[id.name]));
  const present = await transaction
    .select({ id: sql<string>`${id}::text` })
    .from(table)
    .where(sql`${id} IN (SELECT value::${sql.raw(id.getSQLType())} FROM json_array_elements_text(${ids}::json))`);
  const presentIds = new Set(present.map((row) => row.id));
  const missing = records.filter(
    (record) => !unknownUsers.has(record.userId) && !presentIds.has(String(rowOf(record, node)[id.name])),
  );
  return { unknown, missing };
}

/** Returns the users of records that a table which the rows refer to does not have. */
async function findUnknown(
  transaction: Transaction,
  references: readonly UserReference[],
  records: readonly LogRecord[],
): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  if (references.length === 0) return found;
  const users = JSON.stringify([...new Set(records.map(({ userId }) => userId))]);
  for (const { schema, table, column } of references) {
    const name = sql`${sql.identifier(schema)}.${sql.identifier(table)}`;
    const rows = await transaction.execute<{ value: string }>(
      sql`SELECT value FROM json_array_elements_text(${users}::json)
        WHERE NOT EXISTS (SELECT 1 FROM ${name} AS u WHERE u.${sql.identifier(column)}::text = value)`,
    );
    for (const { value } of rows) found.add(value);
  }
  return found;
}

/** Returns the type in which a value is sent for a column. JSON travels as text, so that numbers keep their digits. */
function inputType(type: string): string {
  return type === 'jsonb' ? 'text' : type;
}

function list(parts: readonly SQL[]): SQL {
  return sql.join([...parts], sql`, `);
}

function refused({ id, seq }: LogRecord, reason: string): RefusedRow {
  return { id, seq, reason };
}

/** Replaces errors of statements, whose messages contain values, but not the reason of an abort. */
async function withPublicErrors<Result>(signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    throw signal.aborted ? signal.reason : publicError(error);
  }
}
