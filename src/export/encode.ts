import { parseExact, parseJson } from '../formats/json.ts';
import { EARLIEST_TIMESTAMP, formatTimestamp, parseTimestamp } from '../formats/timestamp.ts';
import type { Kind } from '../records.ts';
import {
  exportedEventCheck,
  exportedMetricCheck,
  exportedSourceCheck,
  isUserId,
  type LogRecord,
  type RecordSource,
} from '../records.ts';
import { isRecordId, millisecondOf, seqOfId } from '../storage/record-id.ts';
import type { RecordRow } from '../storage/records.ts';

/** The columns of exported records, in order. */
export const COLUMNS = {
  metric: ['id', 'user_id', 'timestamp', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['id', 'user_id', 'timestamp', 'received_at', 'type', 'data_index', 'data'],
} as const;

/** Converts a record to a database row. */
export function rowOf(record: LogRecord): RecordRow {
  const { seq, id, userId: user_id, happenedAt: happened_at, receivedAt: received_at } = record;
  const stamp = { seq, id, user_id, happened_at, received_at, ...(record.source && { source: record.source }) };
  return record.kind === 'metric'
    ? { ...stamp, name: record.metricName, label: record.dataString, value: record.metricValue }
    : { ...stamp, name: record.type, label: record.dataIndex, value: record.data };
}

/** Serializes a record as JSON. Inserts the data of an event as stored, so that numbers keep their digits. */
export function recordJson(kind: Kind, row: RecordRow): string {
  const head = {
    id: row.id,
    user_id: row.user_id,
    timestamp: formatTimestamp(row.happened_at),
    received_at: formatTimestamp(row.received_at),
    ...(row.source && sourceFields(kind, row.source)),
  };
  if (kind === 'metric') {
    return JSON.stringify({ ...head, metric_name: row.name, metric_value: row.value, data_string: row.label });
  }
  const start = JSON.stringify({ ...head, type: row.name, data_index: row.label }).slice(0, -1);
  return `${start},"data":${row.value}}`;
}

/** The fields of a record that was imported from another database. */
function sourceFields(kind: Kind, { id, isLabelNull, dataForm }: RecordSource) {
  const nulls = [
    ...(isLabelNull ? [kind === 'metric' ? 'data_string' : 'data_index'] : []),
    ...(dataForm === 'null' ? ['data'] : []),
  ];
  return {
    source_id: id,
    ...(nulls.length > 0 && { source_nulls: nulls }),
    ...(dataForm === 'value' && { source_data: 'value' }),
  };
}

/** Returns the source of an exported record, undefined if it has none, or the reason why it is invalid. */
function parseSource(value: object): RecordSource | undefined | string {
  if (!('source_id' in value)) return undefined;
  if (!exportedSourceCheck.Check(value)) return 'its source_id, source_nulls or source_data is invalid';
  const { source_id: id, source_nulls: nulls = [], source_data: data } = value;
  const isDataNull = nulls.includes('data');
  if (isDataNull && data === 'value') return 'its source_nulls and source_data contradict each other';
  return {
    id,
    isLabelNull: nulls.some((name) => name !== 'data'),
    dataForm: isDataNull ? 'null' : (data ?? 'object'),
  };
}

/**
 * Parses an exported record from JSON without losing precision, and validates it like a record that is sent to the API.
 *
 * @param latest the latest accepted time, including the time in the ID, in microseconds since 1970
 * @returns the record, or the reason why the text is invalid
 */
export function parseExported(text: string, latest: number): LogRecord | string {
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (error) {
    return error instanceof RangeError ? 'it is nested too deeply' : 'it is not JSON';
  }
  if (typeof value !== 'object' || value === null) return 'it is not an object';
  const { id, user_id, timestamp, received_at } = value as Record<string, unknown>; // any fields
  if (typeof id !== 'string' || !isRecordId(id)) return 'its id is not a UUIDv7';
  const seq = seqOfId(id);
  if (seq <= 0) return 'the time in its id is before 2020';
  if (millisecondOf(seq) * 1000 > latest) return 'the time in its id is in the future';
  if (typeof user_id !== 'string' || !isUserId(user_id)) return 'its user_id is not a valid user ID';
  const happenedAt = typeof timestamp === 'string' ? parseTimestamp(timestamp) : undefined;
  if (happenedAt === undefined) return 'its timestamp is not an RFC 3339 time';
  const receivedAt = typeof received_at === 'string' ? parseTimestamp(received_at) : undefined;
  if (receivedAt === undefined) return 'its received_at is not an RFC 3339 time';
  for (const [name, time] of [
    ['timestamp', happenedAt],
    ['received_at', receivedAt],
  ] as const) {
    if (time < EARLIEST_TIMESTAMP) return `its ${name} is before the year 1700`;
    if (time > latest) return `its ${name} is in the future`;
  }
  const source = parseSource(value);
  if (typeof source === 'string') return source;
  const stamp = { seq, id, userId: user_id, happenedAt, receivedAt, ...(source && { source }) };
  if (exportedMetricCheck.Check(value)) {
    const { metric_name, metric_value, data_string = '' } = value;
    return { kind: 'metric', ...stamp, metricName: metric_name, metricValue: metric_value, dataString: data_string };
  }
  if (!exportedEventCheck.Check(value)) return 'its fields match neither a metric nor an event';
  const { type, data_index = '', data } = value;
  const exact = parseExact(text)?.at('data') ?? JSON.stringify(data);
  return { kind: 'analytics', ...stamp, type, dataIndex: data_index, data: String(exact) };
}
