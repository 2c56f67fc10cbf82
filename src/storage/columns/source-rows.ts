import type { Database } from 'bun:sqlite';
import type { Kind } from '../../records.ts';
import { MAX_SEQ } from '../record-id.ts';
import { HAPPENED_AT } from '../row-form.ts';

/** Rows read per statement. Usually a few hundred KB; 30 MB with the longest texts. */
const READ_ROWS = 1_000;

/** The fields of a row that are copied to the column store. */
export interface SourceRow {
  readonly seq: number;
  /** Empty for a blank (erased) row. */
  readonly userId: string;
  readonly happenedAt: number;
  readonly name: string;
  readonly label: string;
  readonly value: number;
}

/** Creates the function that reads the next rows after a `seq`, and reports whether they are the last ones. */
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
    `SELECT seq, user_id AS userId, ${HAPPENED_AT} AS happenedAt, ${columns} FROM ${table}
     WHERE seq > ? AND seq <= ${MAX_SEQ} ORDER BY seq LIMIT ${READ_ROWS}`,
  );
}
