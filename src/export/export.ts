import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import type { Kind } from '../records.ts';
import type { Database } from '../storage/database.ts';
import { newestSeq, type RecordFilter, type RecordRow, readWindow, type ScanPlace } from '../storage/records.ts';
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
/** Rows that are read at once: half a part, because JSON and CSV write some characters longer than they are. */
const READ = { rows: 10_000, bytes: MAX_PART_BYTES / 2 };
/** A row group of Parquet, at most: its columns are in memory as values and as encoded bytes. */
const GROUP = { rows: 50_000, bytes: 4 * 1024 * 1024 };
/**
 * Bytes of rows, about, after which garbage is collected: left to itself, the collector lets 60 to 120 MB of rows and
 * encoded texts gather. It takes some milliseconds each time.
 */
const COLLECT_BYTES = 8 * 1024 * 1024;
/** Longest text whose column has its smallest and largest value in the footer of a Parquet file. */
const MAX_STATISTICS_LENGTH = 256;

/**
 * Exports records, oldest first, in parts of at most 1 MB, in constant memory. Every row that was committed when
 * the export began is in it. Each part is read by statements of its own, in some milliseconds: it is empty where
 * few rows pass the filter.
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
    yield* parquet(kind, reads(client, query, onRows));
    return;
  }
  const parts = new PartWriter();
  if (format === 'csv') yield* parts.write(recordsCsv(kind, [], true, safe));
  for (const { rows } of reads(client, query, onRows)) {
    if (format === 'csv') yield* parts.write(recordsCsv(kind, rows, false, safe));
    else for (const row of rows) yield* parts.write(`${recordJson(kind, row)}\n`);
    yield parts.take();
  }
  yield parts.take(); // the header, where there is no row
}

/** Encodes texts into parts. A text can be larger than a part. */
class PartWriter {
  readonly #encoder = new TextEncoder();
  #part = new Uint8Array(0);
  #used = 0;

  /** Encodes a text; yields the parts that it fills. */
  *write(text: string): Generator<Uint8Array> {
    for (let at = 0; at < text.length; ) {
      if (this.#part.length === 0) this.#part = new Uint8Array(MAX_PART_BYTES);
      const { read, written } = this.#encoder.encodeInto(
        at === 0 ? text : text.slice(at),
        this.#part.subarray(this.#used),
      );
      at += read;
      this.#used += written;
      // a character whose bytes have no room is not written
      if (at < text.length) yield this.take();
    }
  }

  /** Takes what has been encoded since the last part. */
  take(): Uint8Array {
    const part = this.#used === MAX_PART_BYTES ? this.#part : this.#part.slice(0, this.#used);
    if (part === this.#part) this.#part = new Uint8Array(0);
    this.#used = 0;
    return part;
  }
}

/** Reads the rows of an export, so many and so many bytes at a time, of one window each. */
function* reads(
  client: Database,
  { kind, filter, after }: ExportQuery,
  onRows: (rows: number) => void,
): Generator<{ rows: RecordRow[]; bytes: number }> {
  const until = newestSeq(client, kind);
  let garbage = 0;
  for (let place: ScanPlace | undefined = { after }; place !== undefined && place.after < until; ) {
    const window: ReturnType<typeof readWindow> = readWindow(client, kind, filter, place, 'oldest', READ);
    onRows(window.rows.length);
    yield window;
    garbage += window.bytes;
    if (garbage >= COLLECT_BYTES) {
      Bun.gc(true);
      garbage = 0;
    }
    place = window.next;
  }
}

const TIME = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MICROS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
} as const;
const TEXT = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } } as const;

/** Parquet: times as UTC timestamps in microseconds, values as doubles, data as JSON text. */
function* parquet(kind: Kind, reads: Iterable<{ rows: RecordRow[]; bytes: number }>): Generator<Uint8Array> {
  const file = new ParquetFile(kind);
  let group: RecordRow[] = [];
  let groupBytes = 0;
  for (const { rows, bytes } of reads) {
    group.push(...rows);
    groupBytes += bytes;
    yield new Uint8Array(0);
    if (group.length < GROUP.rows && groupBytes < GROUP.bytes) continue;
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

/** A file of Parquet that is taken away while it is written. */
class ParquetFile {
  readonly #writer = new ByteWriter();
  readonly #file: ParquetWriter;
  readonly #kind: Kind;
  readonly #names: readonly string[];

  constructor(kind: Kind) {
    const own =
      kind === 'metric'
        ? { metric_name: TEXT, metric_value: { type: 'DOUBLE' } as const, data_string: TEXT }
        : { type: TEXT, data_index: TEXT, data: TEXT };
    const types = { id: TEXT, user_id: TEXT, timestamp: TIME, received_at: TIME, ...own };
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
      // the writer keeps the smallest and the largest value of each group, as they are, until the file ends
      columnData: columns.map((data, i) => ({
        name: this.#names[i] as string,
        data,
        statistics: data.every((one) => typeof one !== 'string' || one.length <= MAX_STATISTICS_LENGTH),
      })),
      rowGroupSize: rows.length,
    });
  }

  /** Writes the footer. */
  finish(): void {
    this.#file.finish();
  }

  /** Takes what has been written out of the writer, which goes on counting its place in the file. */
  *take(): Generator<Uint8Array> {
    const bytes = this.#writer.getBytes();
    for (let at = 0; at < bytes.length; at += MAX_PART_BYTES) yield bytes.slice(at, at + MAX_PART_BYTES);
    this.#writer.index = 0;
  }
}
