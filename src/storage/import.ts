import type { Database } from 'bun:sqlite';
import type { LogRecord } from '../records.ts';
import { beginRebuild } from './columns/column-store.ts';

/** What became of a record: another one may have its place, which is the time part of its id. */
export type Imported = 'stored' | 'present' | 'conflict';

/** Stores records that have their ids already. */
export interface Importer {
  /** Stores records in one transaction; tells what became of each. Those that are stored already stay as they are. */
  store(records: readonly LogRecord[]): Imported[];
}

/**
 * Makes an importer. Records may come in any order, so the column store, which follows the order of commits,
 * is made anew after the first that is stored: in the same transaction it is cleared.
 */
export function createImporter(client: Database): Importer {
  const columns = '(?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING';
  const insertMetric = client.prepare(
    `INSERT INTO metrics (seq, id, user_id, happened_at, received_at, metric_name, metric_value, data_string) VALUES ${columns}`,
  );
  const insertAnalytics = client.prepare(
    `INSERT INTO analytics (seq, id, user_id, happened_at, received_at, type, data_index, data) VALUES ${columns}`,
  );
  const idAt = {
    metric: client.prepare<{ id: string }, [number]>('SELECT id FROM metrics WHERE seq = ?'),
    analytics: client.prepare<{ id: string }, [number]>('SELECT id FROM analytics WHERE seq = ?'),
  };
  const count = client.prepare(
    "INSERT INTO ledger (name, items) VALUES ('stored', ?) ON CONFLICT (name) DO UPDATE SET items = items + excluded.items",
  );
  let cleared = false;

  const insert = (record: LogRecord): number => {
    const { seq, id, userId, happenedAt, receivedAt } = record;
    if (record.kind === 'metric') {
      const { metricName, metricValue, dataString } = record;
      return insertMetric.run(seq, id, userId, happenedAt, receivedAt, metricName, metricValue, dataString).changes;
    }
    const { type, dataIndex, data } = record;
    return insertAnalytics.run(seq, id, userId, happenedAt, receivedAt, type, dataIndex, data).changes;
  };

  const transaction = client.transaction((records: readonly LogRecord[]): Imported[] => {
    const outcomes = records.map((record): Imported => {
      // the places of both tables are one sequence
      const other = record.kind === 'metric' ? 'analytics' : 'metric';
      if (idAt[other].get(record.seq)) return 'conflict';
      if (insert(record) > 0) return 'stored';
      return idAt[record.kind].get(record.seq)?.id === record.id ? 'present' : 'conflict';
    });
    const stored = outcomes.filter((outcome) => outcome === 'stored').length;
    if (stored > 0) {
      count.run(stored);
      if (!cleared) beginRebuild(client);
      cleared = true;
    }
    return outcomes;
  });
  return { store: (records) => transaction.immediate(records) };
}
