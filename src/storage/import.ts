import type { LogRecord } from '../records.ts';
import { beginRebuild } from './columns/column-store.ts';
import type { Storage } from './database.ts';
import { addToLedger, STORED } from './ledger.ts';
import { assertChanges } from './storage-error.ts';
import { createTransact } from './transact.ts';

/*
 * Limits of one transaction: rows, bytes of their texts, and milliseconds. The time is checked between rows.
 */
const TRANSACTION_ROWS = 1_000;
const TRANSACTION_BYTES = 1024 ** 2;
const TRANSACTION_MS = 50;

/**
 * The result of importing one record:
 * - `stored`: the record was stored
 * - `identical`: the same record was already stored
 * - `different`: a record with the same ID but different content is already stored, and was kept
 * - `occupied`: a record with another ID already has the same key, the time part of the ID
 * - `erased`: the user was erased after the record was made
 */
export type ImportOutcome = 'stored' | 'identical' | 'different' | 'occupied' | 'erased';

/** The ID of blank (erased) rows. */
const BLANK = '';

/** An importer of records that already have IDs. */
export interface Importer {
  /**
   * Stores the first records: as many as fit in one transaction, but at least one.
   *
   * @returns the outcomes of the records that were processed, in order
   */
  store(records: readonly LogRecord[]): ImportOutcome[];
  /** Makes all stored records durable. */
  finish(): Promise<void>;
}

/** The column values of a record, without its key. */
type Columns = [id: string, user: string, happenedAt: number, receivedAt: number, ...(string | number)[]];

/**
 * Creates an importer. Records may come in any order, but the column store expects rows in commit order. The first
 * transaction that stores a record therefore begins a rebuild: see {@link beginRebuild}.
 *
 * @param isErased whether a user was erased after the record with this key
 */
export function createImporter(storage: Storage, isErased: (userId: string, seq: number) => boolean): Importer {
  const { client } = storage;
  // REPLACE only ever replaces blank rows, whose keys are free again.
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

  function storeOne(record: LogRecord): ImportOutcome {
    const { kind, seq, userId } = record;
    if (isErased(userId, seq)) return 'erased';
    const columns = columnsOf(record);
    // Both tables share one sequence of keys.
    const otherKind = kind === 'metric' ? 'analytics' : 'metric';
    for (const searchedKind of [kind, otherKind] as const) {
      const [found] = find[searchedKind].values(seq);
      if (!found || found[0] === BLANK) continue;
      if (found[0] !== record.id) return 'occupied';
      return searchedKind === kind && columns.every((value, i) => value === found[i]) ? 'identical' : 'different';
    }
    const { changes } = insert[kind].run(seq, ...columns);
    assertChanges(changes, 1);
    // An insert anywhere but at the end of a table can move the cells of other rows.
    if (seq < last[kind]) hasMovedCells = true;
    else last[kind] = seq;
    return 'stored';
  }

  function storeBatch(records: readonly LogRecord[]): ImportOutcome[] {
    const deadline = performance.now() + TRANSACTION_MS;
    const outcomes: ImportOutcome[] = [];
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
      const outcomes = transact(() => storeBatch(records));
      storage.stampWal();
      isRebuilding ||= outcomes.includes('stored');
      return outcomes;
    },
    async finish() {
      await storage.sync();
      if (!hasMovedCells) return;
      try {
        // Old copies of moved cells stay in unused parts of pages, where an erasure would not find them.
        client.run('VACUUM');
      } catch (error) {
        const { message } = error as Error; // SQLite throws nothing else
        throw new Error(
          `The records are stored, but the database file could not be compacted: ${message}. Until it is, erasing a user may leave copies of their rows in the file. Run "VACUUM" on ${client.filename} with sqlite3 while rawlog is stopped.`,
          { cause: error },
        );
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

/** Estimates the size of a record in bytes. */
function sizeOf(record: LogRecord): number {
  const { id, userId } = record;
  const texts =
    record.kind === 'metric'
      ? record.metricName.length + record.dataString.length
      : record.type.length + record.dataIndex.length + record.data.length;
  return id.length + userId.length + texts;
}
