import type { Kind } from '../records.ts';
import type { Database } from '../storage/database.ts';
import { countGarbage } from '../storage/garbage.ts';
import { openRecordSources } from '../storage/record-sources.ts';
import { newestSeq, type RecordFilter, type RecordRow, readWindow, type ScanPosition } from '../storage/records.ts';
import type { RecordReader } from '../storage/user-records.ts';
import { csvHeader, csvLine, maxCsvBytes, writeCsv } from './csv.ts';
import { recordJson } from './encode.ts';
import { maxJsonBytes, writeJson } from './ndjson.ts';
import { ParquetFile } from './parquet.ts';
import { MAX_PART_BYTES, PartWriter } from './part-writer.ts';

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
  /** The ID of the record, which may have been imported under another `seq`; other nodes can have records with the same one. */
  readonly afterId?: string | undefined;
  /** For CSV: whether text that a spreadsheet would evaluate as a formula is escaped. */
  readonly safe: boolean;
}

/** Limits of one read: half a part, because JSON and CSV escape some characters. */
const READ_LIMITS = { rows: 10_000, bytes: MAX_PART_BYTES / 2 };
/** Encoding makes little further garbage, so the collector runs half as often as after other reads. */
const GARBAGE_SHARE = 0.5;
/** Largest Parquet row group. Its columns are in memory, both as they were encoded and compressed. */
const ROW_GROUP_LIMITS = { rows: 50_000, bytes: 4 * 1024 * 1024 };

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
  const encoder = createEncoder(query);
  yield* encoder.begin();
  for (const window of readRows(client, query, onRows, read)) yield* encoder.add(window);
  yield* encoder.end();
}

/** Encodes the rows of an export in parts of at most 1 MB. Each part has its own buffer. */
export interface RecordEncoder {
  begin(): Iterable<Uint8Array>;
  /** Encodes rows. Yields at least one part, which may be empty. */
  add(window: EncodedWindow): Iterable<Uint8Array>;
  end(): Iterable<Uint8Array>;
}

/** Rows that were read, and their approximate size in bytes. */
interface EncodedWindow {
  readonly rows: readonly RecordRow[];
  readonly bytes: number;
}

/** Creates the encoder of an export. */
export function createEncoder(query: Pick<ExportQuery, 'kind' | 'format' | 'safe'>): RecordEncoder {
  return query.format === 'parquet' ? parquetEncoder(query.kind) : textEncoder(query);
}

function textEncoder({ kind, format, safe }: Pick<ExportQuery, 'kind' | 'format' | 'safe'>): RecordEncoder {
  const parts = new PartWriter();
  const isCsv = format === 'csv';
  return {
    *begin() {
      if (isCsv) yield* parts.write(csvHeader(kind, safe));
    },
    *add({ rows }) {
      for (const row of rows) {
        const bytes = isCsv ? maxCsvBytes(row) : maxJsonBytes(row);
        if (bytes > MAX_PART_BYTES) {
          yield* parts.write(isCsv ? csvLine(kind, row, safe) : `${recordJson(kind, row)}\n`);
          continue;
        }
        if (!parts.hasRoom(bytes)) yield parts.take();
        if (isCsv) writeCsv(parts, kind, row, safe);
        else writeJson(parts, kind, row);
      }
      yield parts.take();
    },
    *end() {
      yield parts.take(); // the header, if there are no rows
    },
  };
}

/** Reads the rows of an export within {@link READ_LIMITS}, one window at a time. */
function* readRows(
  client: Database,
  { kind, after, afterId }: ExportQuery,
  onRows: (rows: number) => void,
  read: RecordReader,
): Generator<{ rows: RecordRow[]; bytes: number }> {
  const until = newestSeq(client, kind);
  const start = (afterId !== undefined ? openRecordSources(client).findMoved(kind, afterId) : undefined) ?? after;
  for (let place: ScanPosition | undefined = { after: start }; place !== undefined && place.after < until; ) {
    const window: ReturnType<typeof read> = read(place, READ_LIMITS);
    onRows(window.rows.length);
    yield window;
    countGarbage(window.bytes * GARBAGE_SHARE);
    place = window.next;
  }
}

function parquetEncoder(kind: Kind): RecordEncoder {
  const file = new ParquetFile(kind);
  let groupRows = 0;
  let groupBytes = 0;
  return {
    begin: () => [],
    *add({ rows, bytes }) {
      file.add(rows);
      groupRows += rows.length;
      groupBytes += bytes;
      yield new Uint8Array(0);
      if (groupRows < ROW_GROUP_LIMITS.rows && groupBytes < ROW_GROUP_LIMITS.bytes) return;
      file.endGroup();
      groupRows = 0;
      groupBytes = 0;
      yield* file.take();
    },
    *end() {
      file.finish();
      yield* file.take();
    },
  };
}
