import { stringify } from 'csv-stringify/sync';
import { keepExactNumbers, parseJson } from '../formats/json.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { formatInZone } from '../query/calendar.ts';
import type { Kind } from '../records.ts';
import { type Analytics, analyticsCheck, isUserId, type LogRecord, type Metric, metricCheck } from '../records.ts';
import { isRecordId, seqOfId } from '../storage/record-id.ts';
import type { RecordRow } from '../storage/records.ts';

/** The columns of a record as people read them, in order. */
const COLUMNS = {
  metric: ['id', 'user_id', 'timestamp', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['id', 'user_id', 'timestamp', 'received_at', 'type', 'data_index', 'data'],
} as const;

/** A record as the database has it. */
export function rowOf(record: LogRecord): RecordRow {
  const { seq, id, userId: user_id, happenedAt: happened_at, receivedAt: received_at } = record;
  const stamp = { seq, id, user_id, happened_at, received_at };
  return record.kind === 'metric'
    ? { ...stamp, name: record.metricName, label: record.dataString, value: record.metricValue }
    : { ...stamp, name: record.type, label: record.dataIndex, value: record.data };
}

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
    // by default only the two together, which end a line here, put a text in quotes
    quoted_match: /[\r\n]/,
    // the shortest form that reads back as the same double, as in JSON
    cast: { number: String },
  });
}

/**
 * Reads a record back from its JSON text, to the bit.
 *
 * @returns the record, or what is wrong with the text
 */
export function parseExported(text: string): LogRecord | string {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch {
    return 'it is no JSON';
  }
  if (typeof value !== 'object' || value === null) return 'it is no object';
  const { id, user_id, timestamp, received_at } = value as Record<string, unknown>;
  if (typeof id !== 'string' || !isRecordId(id)) return 'its id is no UUIDv7';
  if (typeof user_id !== 'string' || !isUserId(user_id)) return 'its user_id is none';
  const happenedAt = typeof timestamp === 'string' ? parseTimestamp(timestamp) : undefined;
  const receivedAt = typeof received_at === 'string' ? parseTimestamp(received_at) : undefined;
  if (happenedAt === undefined || receivedAt === undefined) return 'its times are not in RFC 3339';
  const stamp = { seq: seqOfId(id), id, userId: user_id, happenedAt, receivedAt };
  if (stamp.seq <= 0) return 'its id is from before 2020';
  if (metricCheck.Check(value)) {
    const { metric_name, metric_value, data_string }: Metric = value;
    return { kind: 'metric', ...stamp, metricName: metric_name, metricValue: metric_value, dataString: data_string };
  }
  if (!analyticsCheck.Check(value)) return 'it has the fields of neither a metric nor an event';
  const { type, data_index, data }: Analytics = value;
  const exact = (keepExactNumbers(text) as Analytics | undefined)?.data ?? data;
  return { kind: 'analytics', ...stamp, type, dataIndex: data_index, data: JSON.stringify(exact) };
}
