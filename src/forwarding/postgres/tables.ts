import { type SQL, sql } from 'drizzle-orm';
import {
  bigint,
  doublePrecision,
  getTableConfig,
  index,
  jsonb,
  type PgColumn,
  type PgTable,
  pgTable,
  text,
  timestamp,
  uuid,
} from 'drizzle-orm/pg-core';
import { formatTimestamp } from '../../formats/timestamp.ts';
import { type Kind, type LogRecord, sourceDataOf } from '../../records.ts';
import { seqOfId } from '../../storage/record-id.ts';

/*
 * The tables: those of the original service as Prisma created them, or rawlog's own. Names without a schema: the
 * connection sets the search path.
 */

/** A value of a row, as it is sent: PostgreSQL converts it to the type of the column. */
type Value = string | number | null;

/** The table for the records of one kind. */
export interface SinkTable {
  readonly table: PgTable;
  readonly name: string;
  /** Its columns. The rows of {@link rowOf} have a property of the same name for each. */
  readonly columns: readonly PgColumn[];
  /** Names and columns of the indexes that a new table gets, besides that of its key. */
  readonly indexes: readonly { readonly name: string; readonly columns: readonly string[] }[];
  /** The columns with the ID and the user. */
  readonly id: PgColumn;
  readonly user: PgColumn;
  /** The table of users and its key, to which a new table gets a foreign key if it exists. */
  readonly users?: { readonly table: string; readonly key: string };
  /** Converts a record to a row. */
  rowOf(record: LogRecord, node: string): Readonly<Record<string, Value>>;
  /** SQL condition of the rows up to a cutoff. */
  upTo(cutoff: { readonly id: string; readonly millisecond: number }): SQL;
}

const prismaId = () => text().primaryKey().default(sql`gen_random_uuid()`);
const prismaTime = () => timestamp({ precision: 3, mode: 'string' }).notNull();

const analyticsDetails = pgTable(
  'AnalyticsDetails',
  {
    id: prismaId(),
    createdAt: prismaTime().default(sql`CURRENT_TIMESTAMP`),
    updatedAt: prismaTime().default(sql`CURRENT_TIMESTAMP`),
    userId: text().notNull(),
    type: text().notNull(),
    data: jsonb(),
    dataIndex: text(),
  },
  (table) => [
    index('analyticsDetails').on(table.userId, table.type),
    index('AnalyticsDetails_type_idx').on(table.type),
  ],
);

const analyticsMetrics = pgTable('AnalyticsMetrics', {
  id: prismaId(),
  createdAt: prismaTime().default(sql`CURRENT_TIMESTAMP`),
  updatedAt: prismaTime(),
  analyticMetric: text().notNull(),
  value: doublePrecision().notNull(),
  dataString: text(),
  userId: text().notNull(),
});

const ownColumns = () => ({
  id: uuid().primaryKey(),
  source_id: text(),
  node: text().notNull(),
  seq: bigint({ mode: 'number' }).notNull(),
  user_id: text().notNull(),
  happened_at: timestamp({ withTimezone: true, mode: 'string' }).notNull(),
  received_at: timestamp({ withTimezone: true, mode: 'string' }).notNull(),
});

// No index on names: an index entry is limited to 2,704 bytes, a name may be longer, and its row would be rejected.
const rawlogMetrics = pgTable(
  'rawlog_metrics',
  {
    ...ownColumns(),
    metric_name: text().notNull(),
    metric_value: doublePrecision().notNull(),
    data_string: text(),
  },
  (table) => [
    index('rawlog_metrics_happened_at').on(table.happened_at),
    index('rawlog_metrics_user_id').on(table.user_id),
  ],
);

const rawlogAnalytics = pgTable(
  'rawlog_analytics',
  { ...ownColumns(), type: text().notNull(), data_index: text(), data: jsonb() },
  (table) => [
    index('rawlog_analytics_happened_at').on(table.happened_at),
    index('rawlog_analytics_user_id').on(table.user_id),
  ],
);

const USERS = { table: 'User', key: 'id' };

/**
 * Rows with the ID of an imported record have no UUIDv7: their records' IDs were made from `createdAt`, so that is compared.
 */
const originalUpTo: SinkTable['upTo'] = ({ id, millisecond }) =>
  sql`CASE WHEN "id" ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$'
      THEN "id" COLLATE "C" <= ${id}
      ELSE "createdAt" <= ${timeOf(millisecond * 1000)}::timestamp(3) END`;
const ownUpTo: SinkTable['upTo'] = ({ id }) => sql`"id" <= ${id}::uuid`;

/** The tables by the `tables` of a URL and the kind of records. */
export const SINK_TABLES: Readonly<Record<'original' | 'rawlog', Readonly<Record<Kind, SinkTable>>>> = {
  original: {
    metric: {
      ...partsOf(analyticsMetrics),
      id: analyticsMetrics.id,
      user: analyticsMetrics.userId,
      users: USERS,
      rowOf: (record) => ({
        ...originalStamps(record),
        analyticMetric: nameOf(record),
        value: metricValueOf(record),
        dataString: labelOf(record),
      }),
      upTo: originalUpTo,
    },
    analytics: {
      ...partsOf(analyticsDetails),
      id: analyticsDetails.id,
      user: analyticsDetails.userId,
      users: USERS,
      rowOf: (record) => ({
        ...originalStamps(record),
        type: nameOf(record),
        data: dataOf(record),
        dataIndex: labelOf(record),
      }),
      upTo: originalUpTo,
    },
  },
  rawlog: {
    metric: {
      ...partsOf(rawlogMetrics),
      id: rawlogMetrics.id,
      user: rawlogMetrics.user_id,
      rowOf: (record, node) => ({
        ...ownStamps(record, node),
        metric_name: nameOf(record),
        metric_value: metricValueOf(record),
        data_string: labelOf(record),
      }),
      upTo: ownUpTo,
    },
    analytics: {
      ...partsOf(rawlogAnalytics),
      id: rawlogAnalytics.id,
      user: rawlogAnalytics.user_id,
      rowOf: (record, node) => ({
        ...ownStamps(record, node),
        type: nameOf(record),
        data_index: labelOf(record),
        data: dataOf(record),
      }),
      upTo: ownUpTo,
    },
  },
};

function partsOf(table: PgTable): Pick<SinkTable, 'table' | 'name' | 'columns' | 'indexes'> {
  const { name, columns, indexes } = getTableConfig(table);
  return {
    table,
    name,
    columns,
    indexes: indexes.map(({ config }) => ({
      name: config.name ?? '',
      columns: config.columns.map((column) => ('name' in column ? String(column.name) : '')),
    })),
  };
}

function originalStamps(record: LogRecord) {
  return {
    id: record.source?.id ?? record.id,
    createdAt: timeOf(record.happenedAt),
    updatedAt: timeOf(record.receivedAt),
    userId: record.userId,
  };
}

function ownStamps(record: LogRecord, node: string) {
  return {
    id: record.id,
    source_id: record.source?.id ?? null,
    node,
    seq: seqOfId(record.id),
    user_id: record.userId,
    happened_at: formatTimestamp(record.happenedAt),
    received_at: formatTimestamp(record.receivedAt),
  };
}

/** Formats microseconds since 1970 in whole milliseconds, truncated, which PostgreSQL would round. */
function timeOf(microseconds: number): string {
  return formatTimestamp(Math.floor(microseconds / 1000) * 1000);
}

function nameOf(record: LogRecord): string {
  return record.kind === 'metric' ? record.metricName : record.type;
}

function labelOf(record: LogRecord): string | null {
  if (record.source?.isLabelNull) return null;
  return record.kind === 'metric' ? record.dataString : record.dataIndex;
}

function metricValueOf(record: LogRecord): Value {
  if (record.kind !== 'metric') return null;
  return Object.is(record.metricValue, -0) ? '-0' : record.metricValue; // JSON has no way to write it as a number
}

function dataOf(record: LogRecord): string | null {
  return record.kind === 'analytics' ? sourceDataOf(record) : null;
}
