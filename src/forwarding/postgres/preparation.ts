import { type SQL, sql } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { SinkConfigurationError } from '../sink.ts';
import type { Transaction } from './connection.ts';
import type { SinkTable } from './tables.ts';

/*
 * Creates the tables that are missing, and checks those that exist.
 */

/** Key of the advisory lock that lets one node at a time create tables. The first bytes of "rawlog" as a number. */
const CREATION_LOCK = 0x7261776c;
/** Types as PostgreSQL names them without a precision, by drizzle's names, where they differ. */
const TYPE_NAMES: Readonly<Record<string, string>> = { 'timestamp(3)': 'timestamp without time zone' };

/** A column of another table that the users of a table's rows must be in. */
export interface UserReference {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
}

interface FoundColumn extends Record<string, unknown> {
  readonly name: string;
  readonly type: string;
  /** Whether rows without a value are rejected. */
  readonly is_required: boolean;
  /** Whether a unique index covers this column only. */
  readonly is_unique: boolean;
}

/**
 * Creates a table if it is missing, otherwise checks its columns.
 *
 * @returns the columns that foreign keys of its users refer to, if they can be read
 * @throws {SinkConfigurationError} if the table has other columns
 */
export async function prepareTable(
  transaction: Transaction,
  schema: string,
  table: SinkTable,
): Promise<readonly UserReference[]> {
  const place = sql`c.relnamespace = to_regnamespace(${`"${schema}"`})`;
  if ((await columnsOf(transaction, place, table.name)).length === 0) await create(transaction, schema, table);
  const found = await columnsOf(transaction, place, table.name);
  const problem = problemOf(table, found);
  if (problem) {
    throw new SinkConfigurationError(`PostgreSQL: the table ${JSON.stringify(table.name)} ${problem}`);
  }
  return userReferences(transaction, place, table);
}

function columnsOf(transaction: Transaction, place: SQL, name: string): Promise<FoundColumn[]> {
  return transaction.execute<FoundColumn>(
    sql`SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type,
      a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS is_required,
      EXISTS (SELECT 1 FROM pg_index i WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate
        AND i.indpred IS NULL AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum) AS is_unique
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
    WHERE ${place} AND c.relname = ${name} AND a.attnum > 0 AND NOT a.attisdropped`,
  );
}

function problemOf({ columns, id }: SinkTable, found: readonly FoundColumn[]): string | undefined {
  for (const column of columns) {
    const match = found.find(({ name }) => name === column.name);
    if (!match) return `has no column ${JSON.stringify(column.name)}`;
    const type = typeOf(column);
    if (match.type !== type && !(type === 'text' && match.type === 'character varying')) {
      return `has a column ${JSON.stringify(column.name)} of type ${match.type}, not ${type}`;
    }
    if (column === id && !match.is_unique) return `has no unique index on ${JSON.stringify(column.name)}`;
  }
  const extra = found.find(({ name, is_required }) => is_required && columns.every((column) => column.name !== name));
  return extra && `has a required column ${JSON.stringify(extra.name)}, which rawlog does not know`;
}

function typeOf(column: PgColumn): string {
  const type = column.getSQLType();
  return TYPE_NAMES[type] ?? type;
}

/** Creates the schema and a table. Nodes that do so at the same time wait for each other. */
async function create(transaction: Transaction, schema: string, table: SinkTable): Promise<void> {
  await transaction.execute(sql`SELECT pg_advisory_xact_lock(${CREATION_LOCK})`);
  const name = sql`${sql.identifier(schema)}.${sql.identifier(table.name)}`;
  const [state] = await transaction.execute<{ has_schema: boolean; has_users: boolean }>(
    sql`SELECT to_regnamespace(${`"${schema}"`}) IS NOT NULL AS has_schema, EXISTS (
      SELECT 1 FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
      WHERE c.relnamespace = to_regnamespace(${`"${schema}"`}) AND c.relname = ${table.users?.table ?? ''}
        AND c.relkind IN ('r', 'p') AND a.attname = ${table.users?.key ?? ''}
        AND format_type(a.atttypid, NULL) = 'text') AS has_users`,
  );
  // IF NOT EXISTS would need the privilege to create a schema even if it exists
  if (!state?.has_schema) await transaction.execute(sql`CREATE SCHEMA ${sql.identifier(schema)}`);
  const parts = table.columns.map(definitionOf);
  if (table.users && state?.has_users) {
    const reference = sql`${sql.identifier(schema)}.${sql.identifier(table.users.table)}`;
    parts.push(
      sql`CONSTRAINT ${sql.identifier(`${table.name}_${table.user.name}_fkey`)} FOREIGN KEY (${sql.identifier(table.user.name)})
        REFERENCES ${reference} (${sql.identifier(table.users.key)}) ON DELETE CASCADE ON UPDATE CASCADE`,
    );
  }
  await transaction.execute(sql`CREATE TABLE IF NOT EXISTS ${name} (${sql.join(parts, sql`, `)})`);
  for (const { name: indexName, columns } of table.indexes) {
    const list = sql.join(
      columns.map((column) => sql.identifier(column)),
      sql`, `,
    );
    await transaction.execute(sql`CREATE INDEX IF NOT EXISTS ${sql.identifier(indexName)} ON ${name} (${list})`);
  }
}

function definitionOf(column: PgColumn): SQL {
  const parts = [sql`${sql.identifier(column.name)} ${sql.raw(column.getSQLType())}`];
  if (column.primary) parts.push(sql`PRIMARY KEY`);
  else if (column.notNull) parts.push(sql`NOT NULL`);
  if (column.default !== undefined) parts.push(sql`DEFAULT ${column.default}`);
  return sql.join(parts, sql` `);
}

function userReferences(transaction: Transaction, place: SQL, table: SinkTable): Promise<UserReference[]> {
  return transaction.execute<UserReference & Record<string, unknown>>(
    sql`SELECT n.nspname AS schema, r.relname AS table, b.attname AS column
    FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_attribute a ON a.attrelid = c.oid AND k.conkey = ARRAY[a.attnum]
    JOIN pg_class r ON r.oid = k.confrelid
    JOIN pg_namespace n ON n.oid = r.relnamespace
    JOIN pg_attribute b ON b.attrelid = r.oid AND k.confkey = ARRAY[b.attnum]
    WHERE ${place} AND c.relname = ${table.name} AND k.contype = 'f' AND a.attname = ${table.user.name}
      AND has_column_privilege(r.oid, b.attnum, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE')`,
  );
}
