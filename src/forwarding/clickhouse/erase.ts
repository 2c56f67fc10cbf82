import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { ClickHouseAddress } from '../../formats/clickhouse-url.ts';
import { KINDS, type Kind } from '../../records.ts';
import { type SinkErasure, SinkUnavailableError } from '../sink.ts';
import type { ClickHouseConnection, RunOptions } from './connection.ts';
import { type ClickHouseTables, literal, quoted } from './tables.ts';

/** Delay before the rows are counted again, which doubles up to its maximum, in milliseconds. */
const MIN_DELAY_MS = 50;
const MAX_DELAY_MS = 5_000;
const COUNT_TIMEOUT_MS = 5 * 60_000;
/**
 * How often the rows are counted on a cluster without `clusterAllReplicas` (18.16): each count reads a random replica of
 * each shard.
 */
const RANDOM_COUNTS = 8;

/** Erases rows from the tables of both kinds. Resolves once queries no longer return them. */
export type Eraser = (erasure: SinkErasure, signal: AbortSignal) => Promise<void>;

/**
 * Creates a function that erases rows by mutations, which ClickHouse executes in the background, on replicas that are down
 * once they return.
 */
export function createEraser(
  connection: ClickHouseConnection,
  tables: ClickHouseTables,
  { database, cluster }: ClickHouseAddress,
): Eraser {
  async function countOf(from: string, condition: string, options: RunOptions): Promise<number> {
    const rows = await connection.query<{ n: string }>(`SELECT count() AS n FROM ${from} WHERE ${condition}`, options);
    const count = Number(rows[0]?.n);
    if (!Number.isSafeInteger(count)) throw new SinkUnavailableError('ClickHouse returned no count');
    return count;
  }

  /** Returns whether a query may still return rows. */
  async function hasRows(kind: Kind, condition: string, signal: AbortSignal): Promise<boolean> {
    const options = { signal, timeoutMs: COUNT_TIMEOUT_MS };
    if (cluster === undefined) return (await countOf(tables.of(kind), condition, options)) > 0;
    const name = 'clusterAllReplicas';
    const sql = `SELECT name FROM system.table_functions WHERE name = '${name}'`;
    if ((await connection.query(sql, options)).length > 0) {
      // replicas that are down are skipped, but the second count fails if a shard has none
      const from = `${name}(${quoted(cluster)}, ${quoted(database)}, ${quoted(tables.stored(kind).name)})`;
      const settings = { skip_unavailable_shards: 1 };
      if ((await countOf(from, condition, { ...options, settings })) > 0) return true;
      return (await countOf(tables.of(kind), condition, options)) > 0;
    }
    const settings = { load_balancing: 'random', prefer_localhost_replica: 0 };
    for (let i = 0; i < RANDOM_COUNTS; i++) {
      if ((await countOf(tables.of(kind), condition, { ...options, settings })) > 0) return true;
    }
    return false;
  }

  /** Returns whether ClickHouse lists a mutation of a table. */
  async function isListed(kind: Kind, condition: string, signal: AbortSignal): Promise<boolean> {
    const table = `database = ${literal(database)} AND table = ${literal(tables.stored(kind).name)}`;
    const options = { signal, timeoutMs: COUNT_TIMEOUT_MS };
    return (await countOf('system.mutations', `${table} AND ${condition}`, options)) > 0;
  }

  /** Returns whether the same deletion is already running, after an earlier call was aborted. */
  function isRunning(kind: Kind, hash: string, cutoffSeq: number, signal: AbortSignal): Promise<boolean> {
    const command = `position(command, '${hash}') > 0 AND position(command, '${cutoffSeq}') > 0`;
    return isListed(kind, `NOT is_done AND ${command}`, signal);
  }

  /**
   * Makes ClickHouse drop the mutations with hashes: from one, a reader could tell whether a user was erased. A table that
   * rawlog has created keeps the last mutation that is done, so that becomes another one.
   */
  async function dropHashes(kind: Kind, signal: AbortSignal): Promise<void> {
    if (cluster === undefined && !(await isListed(kind, "position(command, 'SHA256(user_id)') > 0", signal))) return;
    const table = tables.stored(kind).quoted;
    await tables.runOnAll((onCluster) => `ALTER TABLE ${table}${onCluster} DELETE WHERE 0`, signal);
  }

  async function eraseKind(kind: Kind, { userId, cutoffSeq }: SinkErasure, signal: AbortSignal): Promise<void> {
    if (!Number.isSafeInteger(cutoffSeq)) throw new Error('the cutoff of an erasure is not an integer');
    const isOld = `seq <= ${cutoffSeq}`;
    const condition = `user_id = ${literal(userId)} AND ${isOld}`;
    // on a cluster, a replica that is down may have rows too
    if (cluster === undefined && !(await hasRows(kind, condition, signal))) return dropHashes(kind, signal);
    // a mutation is listed in system.mutations until it is done everywhere, so it contains a hash instead of the user ID
    const hash = createHash('sha256').update(userId).digest('hex').toUpperCase();
    if (!(await isRunning(kind, hash, cutoffSeq, signal))) {
      const deletion = `DELETE WHERE hex(SHA256(user_id)) = '${hash}' AND ${isOld}`;
      const table = tables.stored(kind).quoted;
      await tables.runOnAll((onCluster) => `ALTER TABLE ${table}${onCluster} ${deletion}`, signal);
    }
    for (let delay = MIN_DELAY_MS; await hasRows(kind, condition, signal); delay = Math.min(2 * delay, MAX_DELAY_MS)) {
      await pause(delay, undefined, { signal });
    }
    await dropHashes(kind, signal);
  }

  return async (erasure, signal) => {
    for (const kind of KINDS) await eraseKind(kind, erasure, signal);
  };
}
