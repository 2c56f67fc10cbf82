import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Kind } from '../records.ts';
import type { Database } from '../storage/database.ts';
import { countGarbage } from '../storage/garbage.ts';
import { newestSeq, type RecordFilter, type RecordRow, readWindow, type ScanPosition } from '../storage/records.ts';
import type { RecordReader } from '../storage/user-records.ts';
import { recordJson, recordsCsv } from './encode.ts';

/** The export formats. */
export const EXPORT_FORMATS = ['ndjson', 'csv', 'parquet'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** The records to export, and their format. */
export interface ExportQuery {
  readonly kind: Kind;
  readonly format: ExportFormat;
  readonly filter: RecordFilter;
  /** Exports records after this `seq`; 0: from the first record. */
  readonly after: number;
  /** For CSV: whether text that a spreadsheet would evaluate as a formula is escaped. */
  readonly safe: boolean;
}

/** Largest part of an export, in bytes. One part at a time is in memory and passed between threads. */
const MAX_PART_BYTES = 1024 * 1024;
/** Limits of one read: half a part, because JSON and CSV escape some characters. */
const READ_LIMITS = { rows: 10_000, bytes: MAX_PART_BYTES / 2 };
/** Largest Parquet row group. Its columns are in memory both as values and as encoded bytes. */
const ROW_GROUP_LIMITS = { rows: 50_000, bytes: 4 * 1024 * 1024 };
/** Longest text, in characters, for which a column chunk has min/max statistics in the Parquet footer. */
const MAX_STATISTICS_LENGTH = 256;

/**
 * Exports records, oldest first, in parts of at most 1 MB, in constant memory. Includes every row that was committed
 * when the export started. Each part is read by separate statements within a few milliseconds, and may be empty if few
 * rows match the filter.
 *
 * @param onRows called after each read with the number of rows read
 * @param read reads rows, oldest first; default: scans the table
 */
export function* exportRecords(
  client: Database,
  query: ExportQuery,
  onRows: (rows: number) => void = () => {},
  read: RecordReader = (position, limits) => readWindow(client, query.kind, query.filter, position, 'oldest', limits),
): Generator<Uint8Array> {
  const { kind, format, safe } = query;
  const windows = readRows(client, query, onRows, read);
  if (format === 'parquet') {
    yield* parquet(kind, windows);
    return;
  }
  const parts = new PartWriter();
  if (format === 'csv') yield* parts.write(recordsCsv(kind, [], true, safe));
  for (const { rows } of windows) {
    if (format === 'csv') yield* parts.write(recordsCsv(kind, rows, false, safe));
    else for (const row of rows) yield* parts.write(`${recordJson(kind, row)}\n`);
    yield parts.take();
  }
  yield parts.take(); // the header, if there are no rows
}

/** Encodes text into parts. Text may be larger than a part. */
class PartWriter {
  readonly #encoder = new TextEncoder();
  #part = new Uint8Array(0);
  #used = 0;

  /** Encodes text, and yields each part that becomes full. */
  *write(text: string): Generator<Uint8Array> {
    for (let at = 0; at < text.length; ) {
      if (this.#part.length === 0) this.#part = new Uint8Array(MAX_PART_BYTES);
      const { read, written } = this.#encoder.encodeInto(
        at === 0 ? text : text.slice(at),
        this.#part.subarray(this.#used),
      );
      at += read;
      this.#used += written;
      // encodeInto never writes part of a character
      if (at < text.length) yield this.take();
    }
  }

  /** Returns the bytes encoded since the last part. */
  take(): Uint8Array {
    const part = this.#used === MAX_PART_BYTES ? this.#part : this.#part.slice(0, this.#used);
    if (part === this.#part) this.#part = new Uint8Array(0);
    this.#used = 0;
    return part;
  }
}

/** Reads the rows of an export within {@link READ_LIMITS}, one window at a time. */
function* readRows(
  client: Database,
  { kind, after }: ExportQuery,
  onRows: (rows: number) => void,
  read: RecordReader,
): Generator<{ rows: RecordRow[]; bytes: number }> {
  const until = newestSeq(client, kind);
  for (let place: ScanPosition | undefined = { after }; place !== undefined && place.after < until; ) {
    const window: ReturnType<typeof read> = read(place, READ_LIMITS);
    onRows(window.rows.length);
    yield window;
    countGarbage(window.bytes);
    place = window.next;
  }
}

const TIME = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MICROS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
} as const;
const TEXT = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } } as const;

/** Encodes rows as Parquet: times as UTC timestamps in microseconds, values as doubles, data as JSON text. */
function* parquet(kind: Kind, windows: Iterable<{ rows: RecordRow[]; bytes: number }>): Generator<Uint8Array> {
  const file = new ParquetFile(kind);
  let group: RecordRow[] = [];
  let groupBytes = 0;
  for (const { rows, bytes } of windows) {
    group.push(...rows);
    groupBytes += bytes;
    yield new Uint8Array(0);
    if (group.length < ROW_GROUP_LIMITS.rows && groupBytes < ROW_GROUP_LIMITS.bytes) continue;
    file.writeGroup(group);
    group = [];
    groupBytes = 0;
    yield* file.take();
  }
  if (group.length > 0) file.writeGroup(group);
  group = [];
  yield* file.take();
  file.finish();
  yield* file.take();
}

/** A Parquet file that is streamed while it is written. */
class ParquetFile {
  readonly #writer = new ByteWriter();
  readonly #file: ParquetWriter;
  readonly #kind: Kind;
  readonly #names: readonly string[];

  constructor(kind: Kind) {
    const kindTypes =
      kind === 'metric'
        ? { metric_name: TEXT, metric_value: { type: 'DOUBLE' } as const, data_string: TEXT }
        : { type: TEXT, data_index: TEXT, data: TEXT };
    const types = { id: TEXT, user_id: TEXT, timestamp: TIME, received_at: TIME, ...kindTypes };
    this.#kind = kind;
    this.#names = Object.keys(types);
    this.#file = new ParquetWriter({
      writer: this.#writer,
      schema: [
        { name: 'records', num_children: this.#names.length },
        ...Object.entries(types).map(([name, type]) => ({ name, repetition_type: 'REQUIRED' as const, ...type })),
      ],
    });
  }

  writeGroup(rows: readonly RecordRow[]): void {
    const name = rows.map((row) => row.name);
    const label = rows.map((row) => row.label);
    const value = rows.map((row) => row.value);
    const columns = [
      rows.map(({ id }) => id),
      rows.map(({ user_id }) => user_id),
      rows.map(({ happened_at }) => BigInt(happened_at)),
      rows.map(({ received_at }) => BigInt(received_at)),
      ...(this.#kind === 'metric' ? [name, value, label] : [name, label, value]),
    ];
    this.#file.write({
      // the writer keeps the untruncated minimum and maximum of each row group in memory until the footer is written
      columnData: columns.map((data, i) => ({
        name: this.#names[i] as string,
        data,
        statistics: data.every((item) => typeof item !== 'string' || item.length <= MAX_STATISTICS_LENGTH),
      })),
      rowGroupSize: rows.length,
    });
  }

  /** Writes the footer. */
  finish(): void {
    this.#file.finish();
  }

  /** Drains the writer's buffer, in parts. The writer's file offset is unaffected. */
  *take(): Generator<Uint8Array> {
    const bytes = this.#writer.getBytes();
    for (let at = 0; at < bytes.length; at += MAX_PART_BYTES) yield bytes.slice(at, at + MAX_PART_BYTES);
    this.#writer.index = 0;
  }
}
