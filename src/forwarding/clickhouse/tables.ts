import type { ClickHouseAddress } from '../../formats/clickhouse-url.ts';
import { KINDS, type Kind } from '../../records.ts';
import { SinkConfigurationError, SinkUnavailableError } from '../sink.ts';
import type { ClickHouseConnection, RunOptions } from './connection.ts';
import { ClickHouseError, TIMEOUT_EXCEEDED } from './error.ts';

/*
 * The tables. Times are microseconds since 1970 in Int64, because ClickHouse 18.16 has no DateTime64.
 */

/** The name of a kind's table. Readers use it on a single server and on a cluster. */
export const TABLES: Readonly<Record<Kind, string>> = { metric: 'rawlog_metrics', analytics: 'rawlog_analytics' };

const STAMPS = {
  seq: 'UInt64',
  id: 'String',
  node: 'String',
  user_id: 'String',
  happened_at: 'Int64',
  received_at: 'Int64',
} as const;
const COLUMNS: Readonly<Record<Kind, Readonly<Record<string, string>>>> = {
  metric: { ...STAMPS, metric_name: 'String', metric_value: 'Float64', data_string: 'String' },
  analytics: { ...STAMPS, type: 'String', data_index: 'String', data: 'String' },
};
/** Rows with equal keys are duplicates, and are merged. */
const SORTING_KEYS: Readonly<Record<Kind, string>> = {
  metric: 'metric_name, happened_at, id',
  analytics: 'type, happened_at, id',
};
/** The month of receipt. A row's own time may be any time, and must not create thousands of partitions. */
const MONTH = "toYYYYMM(toDateTime(greatest(intDiv(received_at, 1000000), 0), 'UTC'), 'UTC')";

const QUERY_TIMEOUT_MS = 30_000;
/** How long a statement may wait for all nodes of a cluster. Nodes that are down execute it when they return. */
const CLUSTER_SECONDS = 5;
const STATEMENT_TIMEOUT_MS = 60_000;

/** The tables of one database. */
export interface ClickHouseTables {
  /** Creates what is missing and checks the rest. Throws {@link SinkConfigurationError} if a table cannot be used. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Returns the quoted name of the table of a kind to insert into and to query. */
  of(kind: Kind): string;
  /** Returns the table of a kind that stores rows: on a cluster, the one that is on each node. */
  stored(kind: Kind): { readonly name: string; readonly quoted: string };
  /** Executes a statement on all nodes. */
  runOnAll(statement: (onCluster: string) => string, signal: AbortSignal): Promise<void>;
}

/** Quotes a name that contains only letters, digits, hyphens and underscores. */
export function quoted(name: string): string {
  if (!/^[\w-]+$/.test(name)) throw new Error('a name of ClickHouse contains other characters');
  return `\`${name}\``;
}

/** Returns a text as an expression. */
export function literal(text: string): string {
  return `unhex('${Buffer.from(text).toString('hex')}')`;
}

export function createTables(connection: ClickHouseConnection, address: ClickHouseAddress): ClickHouseTables {
  const { database, cluster } = address;
  const storedName = (kind: Kind) => (cluster === undefined ? TABLES[kind] : `${TABLES[kind]}_local`);
  const qualified = (table: string) => `${quoted(database)}.${quoted(table)}`;
  const queryOptions = (signal: AbortSignal): RunOptions => ({ signal, timeoutMs: QUERY_TIMEOUT_MS });

  async function runOnAll(statement: (onCluster: string) => string, signal: AbortSignal): Promise<void> {
    const onCluster = cluster === undefined ? '' : ` ON CLUSTER ${quoted(cluster)}`;
    try {
      await connection.run(statement(onCluster), {
        settings: cluster === undefined ? {} : { distributed_ddl_task_timeout: CLUSTER_SECONDS },
        returnsNodes: cluster !== undefined,
        signal,
        timeoutMs: STATEMENT_TIMEOUT_MS,
      });
    } catch (error) {
      // the statement is queued for the nodes that are down; its effect is checked afterwards
      if (cluster === undefined || !(error instanceof ClickHouseError) || error.code !== TIMEOUT_EXCEEDED) throw error;
    }
  }

  /** Creates the database unless it exists. An account without the right to create one can use an existing one. */
  async function createDatabase(signal: AbortSignal): Promise<void> {
    const sql = `SELECT name FROM system.databases WHERE name = ${literal(database)}`;
    if ((await connection.query(sql, queryOptions(signal))).length > 0) return;
    await runOnAll((onCluster) => `CREATE DATABASE IF NOT EXISTS ${quoted(database)}${onCluster}`, signal);
  }

  async function createTable(table: string, columns: string, engine: string, signal: AbortSignal): Promise<void> {
    const sql = (onCluster: string) =>
      `CREATE TABLE IF NOT EXISTS ${qualified(table)}${onCluster} (${columns}) ENGINE = ${engine}`;
    await runOnAll(sql, signal);
  }

  async function createTables(kind: Kind, existing: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
    const columns = Object.entries(COLUMNS[kind])
      .map(([name, type]) => `${name} ${type}`)
      .join(', ');
    const storage = `PARTITION BY ${MONTH} ORDER BY (${SORTING_KEYS[kind]}) SETTINGS finished_mutations_to_keep = 1`;
    const local = storedName(kind);
    if (!existing.has(local)) {
      const path = `/clickhouse/tables/{shard}/${database}/${local}`;
      const engine =
        cluster === undefined ? 'ReplacingMergeTree' : `ReplicatedReplacingMergeTree('${path}', '{replica}')`;
      await createTable(local, columns, `${engine} ${storage}`, signal);
    }
    if (cluster !== undefined && !existing.has(TABLES[kind])) {
      const target = [cluster, database, local].map((name) => quoted(name)).join(', ');
      await createTable(TABLES[kind], columns, `Distributed(${target}, cityHash64(user_id))`, signal);
    }
  }

  async function readTables(signal: AbortSignal): Promise<Map<string, { engine: string; sorting_key: string }>> {
    const sql = `SELECT name, engine, sorting_key FROM system.tables WHERE database = ${literal(database)} AND name LIKE 'rawlog%'`;
    const rows = await connection.query<{ name: string; engine: string; sorting_key: string }>(
      sql,
      queryOptions(signal),
    );
    return new Map(rows.map(({ name, ...rest }) => [name, rest]));
  }

  async function readColumns(signal: AbortSignal): Promise<Map<string, string>> {
    const sql = `SELECT table, name, type FROM system.columns WHERE database = ${literal(database)} AND table LIKE 'rawlog%'`;
    const rows = await connection.query<{ table: string; name: string; type: string }>(sql, queryOptions(signal));
    return new Map(rows.map(({ table, name, type }) => [`${table}.${name}`, type]));
  }

  async function check(signal: AbortSignal): Promise<void> {
    const tables = await readTables(signal);
    const types = await readColumns(signal);
    for (const kind of KINDS) {
      for (const table of new Set([storedName(kind), TABLES[kind]])) {
        const found = tables.get(table);
        if (found === undefined) throw new SinkUnavailableError(`ClickHouse has not created the table ${table} yet`);
        for (const [name, type] of Object.entries(COLUMNS[kind])) {
          const actual = types.get(`${table}.${name}`);
          if (actual === type) continue;
          const problem = actual === undefined ? 'has no column' : `has another type than ${type} in the column`;
          throw new SinkConfigurationError(`The ClickHouse table ${database}.${table} ${problem} ${name}. ${REMEDY}`);
        }
        if (table === storedName(kind)) {
          // other keys would merge different rows, and other engines would keep duplicates
          if (!found.engine.endsWith('ReplacingMergeTree') || found.sorting_key !== SORTING_KEYS[kind]) {
            const key = `ReplacingMergeTree with ORDER BY (${SORTING_KEYS[kind]})`;
            throw new SinkConfigurationError(`The ClickHouse table ${database}.${table} is not a ${key}. ${REMEDY}`);
          }
        } else if (found.engine !== 'Distributed') {
          throw new SinkConfigurationError(
            `The ClickHouse table ${database}.${table} is not a Distributed table. ${REMEDY}`,
          );
        }
      }
    }
  }

  return {
    async prepare(signal) {
      await createDatabase(signal);
      const existing = new Set((await readTables(signal)).keys());
      for (const kind of KINDS) await createTables(kind, existing, signal);
      await check(signal);
    },
    of: (kind) => qualified(TABLES[kind]),
    stored: (kind) => ({ name: storedName(kind), quoted: qualified(storedName(kind)) }),
    runOnAll,
  };
}

const REMEDY = 'Rename or drop it, or name another database in the URL.';
