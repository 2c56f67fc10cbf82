import { parseClickHouseUrl } from '../../formats/clickhouse-url.ts';
import type { LogRecord } from '../../records.ts';
import type { Block, RefusedRow, Sink, SinkOptions } from '../sink.ts';
import { createConnection } from './connection.ts';
import { createEraser } from './erase.ts';
import { isDataError } from './error.ts';
import { ENCODED_COLUMNS, encodeRows } from './row-binary.ts';
import { createTables } from './tables.ts';

/** How long an INSERT may take. */
const INSERT_TIMEOUT_MS = 60_000;
const QUERY_TIMEOUT_MS = 30_000;

/**
 * Creates a sink that stores rows in ClickHouse, on a single server or on a cluster.
 *
 * A resolved {@link Sink.deliver} means that every row is stored on one replica of its shard. It does not wait for a quorum:
 * with two replicas, a dead one would stop forwarding, and 18.16 allows one quorum insert at a time. An operator who
 * prefers that can set `insert_quorum` in the profile of the account.
 *
 * @throws {Error} if the URL is invalid; the message completes a sentence
 */
export function createClickHouseSink({ url }: SinkOptions): Sink {
  const address = parseClickHouseUrl(url);
  const connection = createConnection(address);
  const tables = createTables(connection, address);
  const erase = createEraser(connection, tables, address);
  /** The settings that this version has. */
  let known: ReadonlySet<string> = new Set();

  /** Returns the settings of an INSERT. The token lets a replicated table drop a block that it has stored already. */
  function settingsOf(token: string): Record<string, string | number> {
    const optional = { async_insert: 0, max_partitions_per_insert_block: 0, insert_deduplication_token: token };
    return {
      insert_distributed_sync: 1, // otherwise a row would be acknowledged before it is on its shard
      ...Object.fromEntries(Object.entries(optional).filter(([name]) => known.has(name))),
    };
  }

  async function insert({ kind, node }: Block, records: readonly LogRecord[], signal: AbortSignal): Promise<void> {
    const token = [node, kind, records[0]?.seq, records.at(-1)?.seq, records.length].join('-');
    await connection.run(`INSERT INTO ${tables.of(kind)} (${ENCODED_COLUMNS[kind].join(', ')}) FORMAT RowBinary`, {
      body: encodeRows(records, node),
      settings: settingsOf(token),
      signal,
      timeoutMs: INSERT_TIMEOUT_MS,
    });
  }

  /** Stores records. If ClickHouse rejects their values, halves them until only the bad ones are left. */
  async function store(block: Block, records: readonly LogRecord[], signal: AbortSignal): Promise<RefusedRow[]> {
    try {
      await insert(block, records, signal);
      return [];
    } catch (error) {
      if (!isDataError(error)) throw error;
      const [first] = records;
      if (first && records.length === 1) return [{ id: first.id, seq: first.seq, reason: error.message }];
      const middle = Math.ceil(records.length / 2);
      const rejected = await store(block, records.slice(0, middle), signal);
      return [...rejected, ...(await store(block, records.slice(middle), signal))];
    }
  }

  return {
    async prepare(signal) {
      const settings = await connection.query<{ name: string }>('SELECT name FROM system.settings', {
        signal,
        timeoutMs: QUERY_TIMEOUT_MS,
      });
      known = new Set(settings.map(({ name }) => name));
      await tables.prepare(signal);
    },
    async deliver(block, signal) {
      return { rejected: await store(block, block.records, signal), postponed: [] };
    },
    erase,
    async close() {}, // fetch keeps no state
  };
}
