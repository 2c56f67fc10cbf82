import type { Kind, LabelFilter } from '../../records.ts';
import type { Connection } from './connection.ts';
import { every, hashes, integer, integers, list, type Sql, some, sql, text } from './sql.ts';

/** The table of a kind, and its columns that differ by kind. Times are microseconds since 1970 in Int64. */
export const TABLES = {
  metric: {
    table: sql`rawlog_metrics`,
    name: sql`metric_name`,
    label: sql`data_string`,
    value: sql`metric_value`,
  },
  analytics: { table: sql`rawlog_analytics`, name: sql`type`, label: sql`data_index`, value: sql`data` },
} as const;

/**
 * Returns the table of a kind for statements that count rows. The forwarder delivers at least once: FINAL drops the rows
 * that ReplacingMergeTree has not merged yet.
 */
export function uniqueRows(kind: Kind): Sql {
  return sql`${TABLES[kind].table} FINAL`;
}

/** The rows that a statement reads. Times are in microseconds since 1970. */
export interface RowCondition {
  /** One of these names; undefined: any. */
  readonly names?: readonly string[] | undefined;
  readonly user?: string | undefined;
  readonly from?: number | undefined;
  /** Exclusive. */
  readonly to?: number | undefined;
  readonly labels?: LabelFilter | undefined;
}

/** Returns the condition of rows that a query may see; properties of event data are not part of it. */
export function conditionOf(
  { isVisible }: Pick<Connection, 'isVisible'>,
  kind: Kind,
  { names, user, from, to, labels }: RowCondition,
): Sql {
  const { name, label } = TABLES[kind];
  return every([
    isVisible,
    ...(names ? [anyOf(name, names)] : []),
    ...(user === undefined ? [] : [sql`user_id = ${text(user)}`]),
    ...(from === undefined ? [] : [sql`happened_at >= ${integer(from)}`]),
    ...(to === undefined ? [] : [sql`happened_at < ${integer(to)}`]),
    ...(labels ? labelConditions(label, labels) : []),
  ]);
}

/** Returns the condition that a column has one of some values. */
export function anyOf(column: Sql, values: readonly string[]): Sql {
  const [first] = values;
  if (first === undefined) return sql`0`;
  return values.length === 1 ? sql`${column} = ${text(first)}` : sql`${column} IN (${list(values.map(text))})`;
}

function labelConditions(column: Sql, { anyOf: included, noneOf, containsAny }: LabelFilter): Sql[] {
  return [
    ...(included.length > 0 ? [anyOf(column, included)] : []),
    ...(noneOf.length > 0 ? [sql`NOT (${anyOf(column, noneOf)})`] : []),
    ...(containsAny.length > 0 ? [some(containsAny.map((part) => sql`position(${column}, ${text(part)}) > 0`))] : []),
  ];
}

/** Returns the expression for the hash of a text, as a decimal number in text. */
export function hashOf(column: Sql): Sql {
  return sql`toString(sipHash64(${column}))`;
}

/**
 * Returns the expression for the number of a text: its index in a list, or the length of the list for others. Texts are
 * compared by their SipHash, since texts may be long, and ClickHouse 18.16 takes seconds to parse a thousand of them.
 *
 * @param known the {@link hashOf} of each text
 */
export function groupNumber(column: Sql, known: readonly string[]): Sql {
  if (known.length === 0) return sql`toUInt32(0)`;
  return sql`toUInt32(transform(sipHash64(${column}), ${hashes(known)}, ${integers(known.keys())}, toInt64(${integer(known.length)})))`;
}
