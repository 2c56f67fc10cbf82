import type { Database } from 'bun:sqlite';
import type { Kind } from '../../records.ts';
import { MAX_SEQ } from '../record-id.ts';

/** Rows read at once: with the longest texts they take 30 MB, usually a few hundred KB. */
const READ_ROWS = 1_000;

/** What the column store takes from a row. */
export interface SourceRow {
  readonly seq: number;
  /** Empty for a blank row: one that was erased. */
  readonly userId: string;
  readonly happenedAt: number;
  readonly name: string;
  readonly label: string;
  readonly value: number;
}

/** Makes the function that reads the rows behind a `seq`, and tells whether those were the last ones. */
export function sourceRows(client: Database): (kind: Kind, after: number) => { rows: SourceRow[]; isLast: boolean } {
  const statements = {
    metric: prepare(client, 'metrics', 'metric_name AS name, data_string AS label, metric_value AS value'),
    analytics: prepare(client, 'analytics', 'type AS name, data_index AS label, 0 AS value'),
  };
  return (kind, after) => {
    const rows = statements[kind].all(after);
    return { rows, isLast: rows.length < READ_ROWS };
  };
}

function prepare(client: Database, table: string, columns: string) {
  return client.prepare<SourceRow, [number]>(
    `SELECT seq, user_id AS userId, happened_at AS happenedAt, ${columns} FROM ${table}
     WHERE seq > ? AND seq <= ${MAX_SEQ} ORDER BY seq LIMIT ${READ_ROWS}`,
  );
}
