import { DrizzleQueryError, sql } from 'drizzle-orm';
import type { PostgresTarget } from '../../formats/postgres-url.ts';
import { KINDS, type Kind } from '../../records.ts';
import { SinkConfigurationError } from '../sink.ts';
import { createConnection, type Transaction } from './connection.ts';
import { publicError } from './errors.ts';

/*
 * Reads the tables of the original service. All of it is one transaction, so it sees one snapshot, and the tables are
 * sorted once.
 */

/** IDs per part. */
const IDS_PER_PART = 5_000;
/** Rows that are read at once: bytes of their texts. A single row may be longer. */
const READ_BYTES = 4 * 1024 * 1024;
/** How long sorting a table may take, and how long the reader may be busy with a part, in milliseconds. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
/** How long the whole may take, in milliseconds: as long as a timer of 32 bits lasts. */
const TOTAL_TIMEOUT_MS = 2 ** 31 - 1;
/** Types of IDs, which are compared with texts. */
const ID_TYPES: ReadonlySet<string> = new Set(['text', 'character varying', 'uuid']);

/** The tables, with the columns that differ. Each has `id`, `userId`, `createdAt` and `updatedAt` besides. */
const TABLES = {
  metric: { table: 'AnalyticsMetrics', name: 'analyticMetric', label: 'dataString', value: 'value' },
  analytics: { table: 'AnalyticsDetails', name: 'type', label: 'dataIndex', value: 'data' },
} as const satisfies Record<Kind, Record<string, string>>;

/** A row of the original service. Times are microseconds since 1970; null for `infinity`. */
export interface OriginalRow {
  readonly id: string;
  readonly userId: string;
  readonly createdAt: number | null;
  readonly updatedAt: number | null;
  readonly name: string;
  readonly label: string | null;
  /** The number of a metric, which may be NaN or infinite, or the `data` of an event as JSON text. */
  readonly value: number | string | null;
}

/** A reader of the tables of one database. */
export interface OriginalRows {
  /** Returns the number of rows that were created before a time, and of the others. */
  count(kind: Kind): Promise<{ readonly older: number; readonly newer: number }>;
  /** Yields the IDs of the rows that were created before the time, from the oldest, in parts. */
  ids(kind: Kind): AsyncGenerator<string[]>;
  /** Yields the rows with some IDs, in order of creation. The texts of rows longer than `maxBytes` are not read. */
  rows(
    kind: Kind,
    ids: readonly string[],
    maxBytes: number,
  ): AsyncGenerator<OriginalRow[] | { readonly tooLong: string }>;
}

/**
 * Opens the tables of the original service for reading, and closes them after the work.
 *
 * @param before rows that were created at this time or later are left out, in milliseconds since 1970
 * @throws {SinkConfigurationError} if there are no such tables, or credentials are wrong
 * @throws {Error} with a message for the operator, without values of rows; or that of the work
 */
export async function readOriginalRows<Result>(
  target: PostgresTarget,
  before: number,
  work: (rows: OriginalRows) => Promise<Result>,
): Promise<Result> {
  const connection = createConnection(target);
  let workError: unknown;
  try {
    return await connection.transaction(
      async (transaction) => {
        const idTypes = await findTables(transaction, target.schema);
        try {
          return await work(createReader(transaction, new Date(before).toISOString(), idTypes));
        } catch (error) {
          if (!(error instanceof DrizzleQueryError)) workError = error;
          throw error;
        }
      },
      new AbortController().signal,
      { statementTimeoutMs: STATEMENT_TIMEOUT_MS, totalTimeoutMs: TOTAL_TIMEOUT_MS, isReadOnly: true },
    );
  } catch (error) {
    throw error === workError ? error : publicError(error);
  } finally {
    await connection.close();
  }
}

/** Returns the types of the IDs, by kind. */
async function findTables(transaction: Transaction, schema: string): Promise<Readonly<Record<Kind, string>>> {
  const types: Record<Kind, string> = { metric: '', analytics: '' };
  for (const kind of KINDS) {
    const { table } = TABLES[kind];
    const [found] = await transaction.execute<{ type: string }>(
      sql`SELECT format_type(a.atttypid, NULL) AS type FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace(${`"${schema}"`}) AND c.relname = ${table} AND a.attname = 'id'`,
    );
    if (!found) {
      throw new SinkConfigurationError(
        `PostgreSQL: the schema ${schema} has no table "${table}". Name another schema with ?schema=`,
      );
    }
    if (!ID_TYPES.has(found.type)) {
      throw new SinkConfigurationError(`PostgreSQL: the IDs of "${table}" are of type ${found.type}, not text`);
    }
    types[kind] = found.type;
  }
  return types;
}

function createReader(transaction: Transaction, before: string, idTypes: Readonly<Record<Kind, string>>): OriginalRows {
  const createdBefore = sql`"createdAt" < ${before}::timestamp`;
  return {
    async count(kind) {
      const table = sql.identifier(TABLES[kind].table);
      const [found] = await transaction.execute<{ older: string; newer: string }>(
        sql`SELECT count(*) FILTER (WHERE ${createdBefore}) AS older,
          count(*) FILTER (WHERE NOT ${createdBefore}) AS newer FROM ${table}`,
      );
      return { older: Number(found?.older), newer: Number(found?.newer) };
    },
    async *ids(kind) {
      const table = sql.identifier(TABLES[kind].table);
      await transaction.execute(
        sql`DECLARE original_ids NO SCROLL CURSOR FOR
          SELECT "id"::text AS id FROM ${table} WHERE ${createdBefore} ORDER BY "createdAt", "id"`,
      );
      for (;;) {
        const part = await transaction.execute<{ id: string }>(
          sql`FETCH ${sql.raw(String(IDS_PER_PART))} FROM original_ids`,
        );
        if (part.length === 0) break;
        yield part.map(({ id }) => id);
      }
      await transaction.execute(sql`CLOSE original_ids`);
    },
    async *rows(kind, ids, maxBytes) {
      const { table, name, label, value } = TABLES[kind];
      const text = kind === 'metric' ? sql`0` : sql`coalesce(octet_length(${sql.identifier(value)}::text), 0)`;
      const isListed = (list: readonly string[]) =>
        sql`"id" IN (SELECT value::${sql.raw(idTypes[kind])} FROM json_array_elements_text(${JSON.stringify(list)}::json))`;
      const sizes = await transaction.execute<{ id: string; bytes: number }>(
        sql`SELECT "id"::text AS id, ${text} + coalesce(octet_length(${sql.identifier(label)}::text), 0)
          + octet_length(${sql.identifier(name)}::text) + octet_length("userId"::text) AS bytes
          FROM ${sql.identifier(table)} WHERE ${isListed(ids)} ORDER BY "createdAt", "id"`,
      );
      const read = async (list: readonly string[]): Promise<OriginalRow[]> => {
        const rows = await transaction.execute<Readonly<Record<keyof OriginalRow, string | null>>>(
          sql`SELECT "id"::text AS id, "userId"::text AS "userId", ${micros('createdAt')} AS "createdAt",
            ${micros('updatedAt')} AS "updatedAt", ${sql.identifier(name)}::text AS name,
            ${sql.identifier(label)}::text AS label, ${sql.identifier(value)}::text AS value
            FROM ${sql.identifier(table)} WHERE ${isListed(list)} ORDER BY "createdAt", "id"`,
        );
        return rows.map((row) => ({
          id: row.id ?? '',
          userId: row.userId ?? '',
          createdAt: row.createdAt === null ? null : Number(row.createdAt),
          updatedAt: row.updatedAt === null ? null : Number(row.updatedAt),
          name: row.name ?? '',
          label: row.label,
          value: kind === 'metric' && row.value !== null ? Number(row.value) : row.value,
        }));
      };
      let group: string[] = [];
      let groupBytes = 0;
      for (const { id, bytes } of sizes) {
        if (bytes > maxBytes) {
          yield { tooLong: id };
          continue;
        }
        if (group.length > 0 && groupBytes + bytes > READ_BYTES) {
          yield await read(group);
          group = [];
          groupBytes = 0;
        }
        group.push(id);
        groupBytes += bytes;
      }
      if (group.length > 0) yield await read(group);
    },
  };
}

/** SQL of a time in microseconds since 1970; NULL for `infinity`. */
function micros(column: string) {
  const name = sql.identifier(column);
  return sql`CASE WHEN isfinite(${name}) THEN round((extract(epoch FROM ${name}) * 1000000)::numeric)::text END`;
}
