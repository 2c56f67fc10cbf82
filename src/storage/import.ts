import type { LogRecord } from '../records.ts';
import { beginRebuild } from './columns/column-store.ts';
import type { Storage } from './database.ts';
import { addToLedger, STORED } from './ledger.ts';
import { assertChanges } from './storage-error.ts';
import { createTransact } from './transact.ts';

/*
 * What one transaction stores at most, so that whoever else writes waits for no longer: rows, bytes of their
 * texts, and milliseconds, looked at after each row.
 */
const TRANSACTION_ROWS = 1_000;
const TRANSACTION_BYTES = 1024 ** 2;
const TRANSACTION_MS = 50;

/**
 * What became of a record:
 * - `stored`
 * - `identical`: it was stored before, with the same content
 * - `different`: its ID is stored with other content, which stays as it is
 * - `occupied`: a record with another ID has its key, the time part of the ID
 * - `erased`: its user was erased after it was recorded
 */
export type Imported = 'stored' | 'identical' | 'different' | 'occupied' | 'erased';

/** The ID of rows that were erased. */
const BLANK = '';

/** Stores records that have their IDs already. */
export interface Importer {
  /**
   * Stores the first of the given records, as many as one transaction may have and at least one.
   *
   * @returns what became of each of them, in order
   */
  store(records: readonly LogRecord[]): Imported[];
  /** Makes everything that was stored durable. */
  finish(): Promise<void>;
}

/** A record as the tables have it, but for its key. */
type Columns = [id: string, user: string, happenedAt: number, receivedAt: number, ...(string | number)[]];

/**
 * Makes an importer. Records may come in any order, which the column store, which follows the order of commits,
 * does not expect: its rebuild begins in the first transaction that stores something, and is finished when it is next opened.
 *
 * @param isErased whether a user was erased after the record with this key
 */
export function createImporter(storage: Storage, isErased: (userId: string, seq: number) => boolean): Importer {
  const { client } = storage;
  // what is replaced is a blank row: an erased one, whose key is free again
  const insert = {
    metric: client.prepare(
      `INSERT OR REPLACE INTO metrics (seq, id, user_id, happened_at, received_at, metric_name, metric_value, data_string)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    analytics: client.prepare(
      `INSERT OR REPLACE INTO analytics (seq, id, user_id, happened_at, received_at, type, data_index, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
  };
  const find = {
    metric: client.prepare(
      `SELECT id, user_id, happened_at, received_at, metric_name, metric_value, data_string FROM metrics WHERE seq = ?`,
    ),
    analytics: client.prepare(
      `SELECT id, user_id, happened_at, received_at, type, data_index, data FROM analytics WHERE seq = ?`,
    ),
  };
  const lastOf = (table: 'metrics' | 'analytics') =>
    client.query<{ seq: number | null }, []>(`SELECT max(seq) AS seq FROM ${table}`).get()?.seq ?? 0;
  const last = { metric: lastOf('metrics'), analytics: lastOf('analytics') };
  const transact = createTransact(client);
  let isRebuilding = false;
  let hasMovedCells = false;

  function storeOne(record: LogRecord): Imported {
    const { kind, seq, userId } = record;
    if (isErased(userId, seq)) return 'erased';
    const columns = columnsOf(record);
    // the keys of both tables are one sequence
    const other = kind === 'metric' ? 'analytics' : 'metric';
    for (const one of [kind, other] as const) {
      const [found] = find[one].values(seq);
      if (!found || found[0] === BLANK) continue;
      if (found[0] !== record.id) return 'occupied';
      return one === kind && columns.every((value, i) => value === found[i]) ? 'identical' : 'different';
    }
    const { changes } = insert[kind].run(seq, ...columns);
    assertChanges(changes, 1);
    // only at the end of a table does SQLite leave the cells of other rows where they are
    if (seq < last[kind]) hasMovedCells = true;
    else last[kind] = seq;
    return 'stored';
  }

  function storeSome(records: readonly LogRecord[]): Imported[] {
    const deadline = performance.now() + TRANSACTION_MS;
    const outcomes: Imported[] = [];
    let bytes = 0;
    for (const record of records.slice(0, TRANSACTION_ROWS)) {
      bytes += sizeOf(record);
      if (outcomes.length > 0 && (bytes > TRANSACTION_BYTES || performance.now() > deadline)) break;
      outcomes.push(storeOne(record));
    }
    const stored = outcomes.filter((outcome) => outcome === 'stored').length;
    if (stored > 0) {
      addToLedger(client, STORED, stored);
      if (!isRebuilding) beginRebuild(client);
    }
    return outcomes;
  }

  return {
    store(records) {
      const outcomes = transact(() => storeSome(records));
      storage.noteLog();
      isRebuilding ||= outcomes.includes('stored');
      return outcomes;
    },
    async finish() {
      await storage.sync();
      if (!hasMovedCells) return;
      try {
        // old copies of moved cells stay in unused parts of pages, where an erasure would not find them
        client.run('VACUUM');
      } catch (error) {
        const { message } = error as Error; // SQLite throws nothing else
        throw new Error(`The records are stored, but the database file could not be compacted: ${message}`, {
          cause: error,
        });
      }
    },
  };
}

function columnsOf(record: LogRecord): Columns {
  const { id, userId, happenedAt, receivedAt } = record;
  return record.kind === 'metric'
    ? [id, userId, happenedAt, receivedAt, record.metricName, record.metricValue, record.dataString]
    : [id, userId, happenedAt, receivedAt, record.type, record.dataIndex, record.data];
}

/** About how many bytes a record takes. */
function sizeOf(record: LogRecord): number {
  const { id, userId } = record;
  const own =
    record.kind === 'metric'
      ? record.metricName.length + record.dataString.length
      : record.type.length + record.dataIndex.length + record.data.length;
  return id.length + userId.length + own;
}
