import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Kind } from '../records.ts';
import type { Database } from '../storage/database.ts';
import { type RecordFilter, type RecordRow, type Room, readWindow } from '../storage/records.ts';
import { recordJson, recordsCsv } from './encode.ts';

/** The forms in which records leave. */
export const EXPORT_FORMATS = ['ndjson', 'csv', 'parquet'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** Which records are exported, and how. */
export interface ExportQuery {
  readonly kind: Kind;
  readonly format: ExportFormat;
  readonly filter: RecordFilter;
  /** The `seq` behind which to begin; 0: at the first record. */
  readonly after: number;
  /** For CSV: whether texts that a spreadsheet would take for formulas are made harmless. */
  readonly safe: boolean;
}

/** Largest part of an export, in bytes: one is in memory at once, and on its way between threads. */
const MAX_PART_BYTES = 1024 * 1024;
/** Bytes of the rows that are read at once, about: half a part, because JSON and CSV write some characters longer. */
const READ_BYTES = MAX_PART_BYTES / 2;
const READ_ROWS = 10_000;
/** A row group of Parquet, at most: its columns are in memory as values and as encoded bytes. */
const GROUP = { rows: 50_000, bytes: 4 * 1024 * 1024 };

/**
 * Exports records, oldest first, in parts of at most 1 MB, in constant memory. Each part is read by statements of
 * its own: rows that are committed meanwhile are included if they come before the end.
 *
 * @param onRows called with the number of rows of each read
 */
export function* exportRecords(
  client: Database,
  query: ExportQuery,
  onRows: (rows: number) => void = () => {},
): Generator<Uint8Array> {
  const { kind, format, safe } = query;
  if (format === 'parquet') {
    for (const bytes of parquet(kind, reads(client, query, GROUP, onRows))) yield* partsOf(bytes);
    return;
  }
  const encoder = new TextEncoder();
  if (format === 'csv') yield encoder.encode(recordsCsv(kind, [], true, safe));
  for (const rows of reads(client, query, { rows: READ_ROWS, bytes: READ_BYTES }, onRows)) {
    const text =
      format === 'csv' ? recordsCsv(kind, rows, false, safe) : rows.map((row) => `${recordJson(kind, row)}\n`).join('');
    yield* partsOf(encoder.encode(text));
  }
}

/** Cuts bytes into parts. A row can be larger than a part. */
function* partsOf(bytes: Uint8Array): Generator<Uint8Array> {
  if (bytes.length <= MAX_PART_BYTES) {
    yield bytes;
    return;
  }
  for (let at = 0; at < bytes.length; at += MAX_PART_BYTES) yield bytes.slice(at, at + MAX_PART_BYTES);
}

/** The rows, so many and so many bytes at a time. */
function* reads(
  client: Database,
  { kind, filter, after }: ExportQuery,
  room: Room,
  onRows: (rows: number) => void,
): Generator<RecordRow[]> {
  let rows: RecordRow[] = [];
  let bytes = 0;
  for (let next: number | undefined = after; next !== undefined; ) {
    const left = { rows: room.rows - rows.length, bytes: room.bytes - bytes };
    const window: ReturnType<typeof readWindow> = readWindow(client, kind, filter, next, 'oldest', left);
    rows.push(...window.rows);
    bytes += window.bytes;
    next = window.next;
    if (rows.length < room.rows && bytes < room.bytes) continue;
    onRows(rows.length);
    yield rows;
    rows = [];
    bytes = 0;
  }
  if (rows.length === 0) return;
  onRows(rows.length);
  yield rows;
}

const TIME = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MICROS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
} as const;
const TEXT = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } } as const;

/** Parquet: times as UTC timestamps in microseconds, values as doubles, data as JSON text. */
function* parquet(kind: Kind, groups: Iterable<RecordRow[]>): Generator<Uint8Array> {
  const own =
    kind === 'metric'
      ? { metric_name: TEXT, metric_value: { type: 'DOUBLE' } as const, data_string: TEXT }
      : { type: TEXT, data_index: TEXT, data: TEXT };
  const types = { id: TEXT, user_id: TEXT, timestamp: TIME, received_at: TIME, ...own };
  const names = Object.keys(types);
  const writer = new ByteWriter();
  const file = new ParquetWriter({
    writer,
    schema: [
      { name: 'records', num_children: names.length },
      ...Object.entries(types).map(([name, type]) => ({ name, repetition_type: 'REQUIRED' as const, ...type })),
    ],
  });
  /** Takes what has been written so far out of the writer, which goes on counting its place in the file. */
  const taken = () => {
    const bytes = writer.getBytes().slice();
    writer.index = 0;
    return bytes;
  };
  for (const rows of groups) {
    const first = rows.map(({ name }) => name);
    const label = rows.map((row) => row.label);
    const value = rows.map((row) => row.value);
    const columns = [
      rows.map(({ id }) => id),
      rows.map(({ user_id }) => user_id),
      rows.map(({ happened_at }) => BigInt(happened_at)),
      rows.map(({ received_at }) => BigInt(received_at)),
      ...(kind === 'metric' ? [first, value, label] : [first, label, value]),
    ];
    file.write({
      columnData: columns.map((data, i) => ({ name: names[i] as string, data })),
      rowGroupSize: rows.length,
    });
    yield taken();
  }
  file.finish();
  yield taken();
}
