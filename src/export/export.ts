import type { Database } from 'bun:sqlite';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Kind } from '../records.ts';
import { type RecordFilter, type RecordRow, readWindow } from '../storage/records.ts';
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

/** Rows of a part: what is in memory at once. */
const PART_ROWS = 10_000;
/** Rows of a Parquet row group. */
const GROUP_ROWS = 50_000;

/**
 * Exports records, oldest first, part by part, at constant memory. Each part is read by statements of its
 * own: rows that are committed meanwhile are in it when they come before its end.
 *
 * @param onRows told how many rows a part has, before it is given
 */
export function* exportRecords(
  client: Database,
  question: ExportQuery,
  onRows: (rows: number) => void = () => {},
): Generator<Uint8Array> {
  const { kind, format, safe } = question;
  if (format === 'parquet') {
    yield* parquet(kind, parts(client, question, GROUP_ROWS, onRows));
    return;
  }
  const encoder = new TextEncoder();
  if (format === 'csv') yield encoder.encode(recordsCsv(kind, [], true, safe));
  for (const rows of parts(client, question, PART_ROWS, onRows)) {
    const text =
      format === 'csv' ? recordsCsv(kind, rows, false, safe) : rows.map((row) => `${recordJson(kind, row)}\n`).join('');
    yield encoder.encode(text);
  }
}

/** The rows, so many at a time. */
function* parts(
  client: Database,
  { kind, filter, after }: ExportQuery,
  size: number,
  onRows: (rows: number) => void,
): Generator<RecordRow[]> {
  let part: RecordRow[] = [];
  for (let next: number | undefined = after; next !== undefined; ) {
    const window: ReturnType<typeof readWindow> = readWindow(client, kind, filter, next, 'oldest', size - part.length);
    part.push(...window.rows);
    next = window.next;
    if (part.length === size) {
      onRows(size);
      yield part;
      part = [];
    }
  }
  if (part.length === 0) return;
  onRows(part.length);
  yield part;
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
