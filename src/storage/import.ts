import { KINDS, type Kind, type LogRecord } from '../records.ts';
import type { Database, Storage } from './database.ts';
import { addImportedRows } from './imported-rows.ts';
import { addToLedger, STORED } from './ledger.ts';
import { markMovedCells } from './moved-cells.ts';
import { COUNTER_RANGE, idWithSeq, MAX_SEQ } from './record-id.ts';
import { openRecordSources } from './record-sources.ts';
import { formOf, HAPPENED_AT, idOf, RECEIVED_AT } from './row-form.ts';
import { assertChanges } from './storage-error.ts';
import { createTransact } from './transact.ts';

/*
 * Limits of one transaction: rows, bytes of their texts, and milliseconds. The time is checked between rows. Each row may
 * write a page of its own, so 500 rows are 2 MB to commit.
 */
const TRANSACTION_ROWS = 500;
const TRANSACTION_BYTES = 1024 ** 2;
const TRANSACTION_MS = 10;

/**
 * The result of importing one record:
 * - `stored`: the record was stored
 * - `identical`: the same record was already stored
 * - `different`: a record with the same ID but different content is already stored, and was kept
 * - `occupied`: no key from the time part of the ID on is free
 * - `erased`: the user was erased after the record was made
 */
export type ImportOutcome = 'stored' | 'identical' | 'different' | 'occupied' | 'erased';

/** Number of keys that are tried for a record whose own is taken: all of a millisecond, and those of one more. */
const MAX_TRIED_KEYS = 2 * COUNTER_RANGE;

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
}

/** The column values of a record, without its key. */
type Columns = [id: string, user: string, happenedAt: number, receivedAt: number, ...(string | number)[]];

/** What an importer needs of an open database. */
export interface ImportContext extends Pick<Storage, 'client' | 'stampWal'> {
  /** Returns whether a user was erased after the record with this key. */
  readonly isErased: (userId: string, seq: number) => boolean;
  /**
   * Called in the first transaction that stores a record. Records may come in any order, but the column store expects rows
   * in commit order, so it must be rebuilt: {@link beginRebuild} begins that at once, {@link markImporting} defers it.
   */
  readonly onFirstStored: (client: Database) => void;
  /** The largest key that a record may get; default: any. */
  readonly maxSeq?: number;
}

/**
 * Creates an importer. Other connections may insert rows meanwhile, but only with keys after all that are imported.
 *
 * A record from another database is known by its ID there. Its ID here was made from its time and a hash, so another record
 * can have the same key: it then gets the next free one, and its ID changes with it. A record of another node can have the same
 * key as one from here, too. It also gets the next free one, but keeps its ID, by which it is found again.
 */
export function createImporter({
  client,
  stampWal,
  isErased,
  onFirstStored,
  maxSeq = MAX_SEQ,
}: ImportContext): Importer {
  // REPLACE only ever replaces blank rows, whose keys are free again.
  const insert = {
    metric: client.query(
      `INSERT OR REPLACE INTO metrics (seq, id, user_id, happened_at, received_at, metric_name, metric_value, data_string)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    analytics: client.query(
      `INSERT OR REPLACE INTO analytics (seq, id, user_id, happened_at, received_at, type, data_index, data)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
  };
  const find = {
    metric: client.query(
      `SELECT id, user_id, ${HAPPENED_AT}, ${RECEIVED_AT}, metric_name, metric_value, data_string
       FROM metrics WHERE seq = ?`,
    ),
    analytics: client.query(
      `SELECT id, user_id, ${HAPPENED_AT}, ${RECEIVED_AT}, type, data_index, data FROM analytics WHERE seq = ?`,
    ),
  };
  /** Returns the columns of the row with a key, as {@link columnsOf} returns those of a record; undefined if there is none. */
  function rowAt(kind: Kind, seq: number): readonly unknown[] | undefined {
    const [found] = find[kind].values(seq);
    if (!found) return undefined;
    const [id, ...others] = found;
    return [idOf(seq, String(id)), ...others];
  }
  const lastOf = (table: 'metrics' | 'analytics') =>
    client.query<{ seq: number | null }, []>(`SELECT max(seq) AS seq FROM ${table}`).get()?.seq ?? 0;
  const transact = createTransact(client);
  let hasStored = false;

  const sources = openRecordSources(client);

  /** Returns the first free key from a record's own on; undefined if there is none. */
  function freeKey({ seq }: LogRecord): number | undefined {
    for (let key = seq; key < seq + MAX_TRIED_KEYS && key <= maxSeq; key++) {
      if (!occupants(key).some(([, found]) => found)) return key;
    }
    return undefined;
  }

  /** Returns the record as it is to be stored, or its outcome if it is not. */
  function place(record: LogRecord): LogRecord | ImportOutcome {
    const { kind, seq, userId, source } = record;
    if (isErased(userId, seq)) return 'erased';
    if (source) {
      const known = sources.find(kind, source.id);
      if (known) {
        const found = rowAt(kind, known.seq);
        const isSameSource = Bun.deepEquals(known.source, source);
        return isSameSource && found && hasColumns(record, found, 1) ? 'identical' : 'different';
      }
      // the same record, imported without its source, such as from Parquet
      const same = rowAt(kind, seq);
      if (same?.[0] === record.id) return hasColumns(record, same) ? 'identical' : 'different';
      const key = freeKey(record);
      return key === undefined ? 'occupied' : { ...record, seq: key, id: idWithSeq(record.id, key) };
    }
    const here = occupants(seq, kind);
    for (const [searchedKind, found] of here) {
      if (found?.[0] !== record.id) continue;
      return searchedKind === kind && hasColumns(record, found) ? 'identical' : 'different';
    }
    for (const searchedKind of KINDS) {
      const moved = sources.findMoved(searchedKind, record.id);
      if (moved === undefined) continue;
      const found = rowAt(searchedKind, moved);
      return searchedKind === kind && found && hasColumns(record, found) ? 'identical' : 'different';
    }
    if (!here.some(([, found]) => found)) return record;
    const key = freeKey(record);
    return key === undefined ? 'occupied' : { ...record, seq: key };
  }

  /** Returns the rows with a key that are not blank, by kind. Both tables share one sequence of keys. */
  function occupants(seq: number, first: Kind = 'metric') {
    const kinds: readonly Kind[] = first === 'metric' ? ['metric', 'analytics'] : ['analytics', 'metric'];
    return kinds.map((kind) => {
      const found = rowAt(kind, seq);
      return [kind, found && found[0] !== BLANK ? found : undefined] as const;
    });
  }

  /** Stores a record, unless it is not to be stored. Returns the key that it got. */
  function storeOne(record: LogRecord, last: Record<Kind, number>): { outcome: ImportOutcome; seq: number } {
    const placed = place(record);
    if (typeof placed === 'string') return { outcome: placed, seq: record.seq };
    const { kind, seq, source } = placed;
    const [id, userId, happenedAt, receivedAt, ...others] = columnsOf(placed);
    const form = formOf({ seq, id, happenedAt, receivedAt });
    const { changes } = insert[kind].run(seq, form.id, userId, form.happenedAt, form.receivedAt, ...others);
    assertChanges(changes, 1);
    if (source) sources.add(kind, seq, source);
    else if (seq !== record.seq) sources.addMoved(kind, seq, record.id);
    last[kind] = Math.max(last[kind], seq);
    return { outcome: 'stored', seq };
  }

  function storeBatch(records: readonly LogRecord[]): ImportOutcome[] {
    const deadline = performance.now() + TRANSACTION_MS;
    const outcomes: ImportOutcome[] = [];
    const added: Record<Kind, number[]> = { metric: [], analytics: [] };
    const last = { metric: lastOf('metrics'), analytics: lastOf('analytics') };
    let movesCells = false;
    let bytes = 0;
    for (const record of records.slice(0, TRANSACTION_ROWS)) {
      bytes += sizeOf(record);
      if (outcomes.length > 0 && (bytes > TRANSACTION_BYTES || performance.now() > deadline)) break;
      const before = last[record.kind];
      const { outcome, seq } = storeOne(record, last);
      // An insert anywhere but at the end of a table can move the cells of other rows.
      movesCells ||= seq < before && outcome === 'stored';
      outcomes.push(outcome);
      if (outcome === 'stored') added[record.kind].push(seq);
    }
    const stored = outcomes.filter((outcome) => outcome === 'stored').length;
    if (stored > 0) {
      addToLedger(client, STORED, stored);
      if (!hasStored) onFirstStored(client);
      if (movesCells) markMovedCells(client);
      for (const kind of KINDS) addImportedRows(client, kind, added[kind]);
    }
    return outcomes;
  }

  return {
    store(records) {
      const outcomes = transact(() => storeBatch(records));
      stampWal();
      hasStored ||= outcomes.includes('stored');
      return outcomes;
    },
  };
}

/** Returns whether a stored row has the columns of a record, from one of them on. */
function hasColumns(record: LogRecord, found: readonly unknown[], first = 0): boolean {
  return columnsOf(record).every((value, i) => i < first || value === found[i]);
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
