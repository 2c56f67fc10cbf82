import { stringify } from 'csv-stringify/sync';
import type { Kind } from '../storage/columns.ts';
import type { RecordRow } from '../storage/records.ts';
import { formatInZone } from './calendar.ts';

/** The columns of a record as people read them, in order. */
export const COLUMNS = {
  metric: ['id', 'user_id', 'timestamp', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['id', 'user_id', 'timestamp', 'received_at', 'type', 'data_index', 'data'],
} as const;

/** A record as JSON text. The data of an event is put in as it is stored, so that numbers keep their digits. */
export function recordJson(kind: Kind, row: RecordRow): string {
  const head = {
    id: row.id,
    user_id: row.user_id,
    timestamp: formatInZone(row.happened_at, 'UTC'),
    received_at: formatInZone(row.received_at, 'UTC'),
  };
  if (kind === 'metric') {
    return JSON.stringify({ ...head, metric_name: row.name, metric_value: row.value, data_string: row.label });
  }
  const start = JSON.stringify({ ...head, type: row.name, data_index: row.label }).slice(0, -1);
  return `${start},"data":${row.value}}`;
}

/**
 * Records as CSV (RFC 4180): lines end in CRLF, times are RFC 3339.
 *
 * @param safe whether a text that a spreadsheet would take for a formula gets an apostrophe before it
 */
export function recordsCsv(kind: Kind, rows: readonly RecordRow[], header: boolean, safe: boolean): string {
  const lines = rows.map((row) => {
    const head = [row.id, row.user_id, formatInZone(row.happened_at, 'UTC'), formatInZone(row.received_at, 'UTC')];
    return kind === 'metric' ? [...head, row.name, row.value, row.label] : [...head, row.name, row.label, row.value];
  });
  return stringify(lines, {
    header,
    columns: [...COLUMNS[kind]],
    record_delimiter: 'windows',
    escape_formulas: safe,
    // the default writes numbers in the shortest form that reads back as the same double, as JSON does
    cast: { number: String },
  });
}
