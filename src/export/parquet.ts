import type { ColumnChunk, SchemaElement, Statistics } from 'hyparquet';
import { ByteWriter, ParquetWriter } from 'hyparquet-writer';
import { writePageHeader } from 'hyparquet-writer/src/datapage.js';
import { writeRleBitPackedHybrid } from 'hyparquet-writer/src/encoding.js';
import { SnappyCompressor } from 'snappyjs/snappy_compressor.js';
import type { Kind } from '../records.ts';
import type { RecordRow } from '../storage/records.ts';
import { PageBuffer } from './page-buffer.ts';
import { MAX_PART_BYTES } from './part-writer.ts';

/*
 * hyparquet-writer writes the file, its page headers, its footer and dictionary indexes. It does not write the values and
 * their statistics, because its several native calls per text and a BigInt per time took about 10 µs per row, more than
 * all of an export may take. For the same reason, snappyjs compresses the pages. A test reads files with hyparquet and
 * DuckDB.
 */

/** Rows by which the text columns of a row group are judged, and the largest share of distinct texts for a dictionary. */
const SAMPLE_ROWS = 1_000;
const MAX_DISTINCT_SHARE = 0.5;

const TIME = {
  type: 'INT64',
  converted_type: 'TIMESTAMP_MICROS',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
} as const;
const TEXT = { type: 'BYTE_ARRAY', converted_type: 'UTF8', logical_type: { type: 'STRING' } } as const;
const DOUBLE = { type: 'DOUBLE' } as const;

const text = (name: string, of: (row: RecordRow) => string) => ({ name, type: TEXT, create: () => new TextColumn(of) });
const time = (name: string, of: (row: RecordRow) => number) => ({ name, type: TIME, create: () => new TimeColumn(of) });

const STAMPS = [
  text('id', ({ id }) => id),
  text('user_id', ({ user_id }) => user_id),
  time('timestamp', ({ happened_at }) => happened_at),
  time('received_at', ({ received_at }) => received_at),
];
const COLUMNS = {
  metric: [
    ...STAMPS,
    text('metric_name', ({ name }) => name),
    // the value of a metric is a number
    { name: 'metric_value', type: DOUBLE, create: () => new DoubleColumn(({ value }) => value as number) },
    text('data_string', ({ label }) => label),
  ],
  analytics: [
    ...STAMPS,
    text('type', ({ name }) => name),
    text('data_index', ({ label }) => label),
    text('data', ({ value }) => value as string), // the data of an event is JSON text
  ],
};

/** A column while a row group is written. */
interface ColumnEncoder {
  /** Begins a row group, and adds its first rows. */
  begin(rows: readonly RecordRow[]): void;
  add(rows: readonly RecordRow[]): void;
  /** Ends the row group. Returns its pages. They are valid until the next one begins. */
  end(): {
    /** The number of values in the dictionary, and its page. */
    readonly dictionary?: { readonly size: number; readonly page: Uint8Array } | undefined;
    readonly page: Uint8Array;
    readonly statistics: Statistics | undefined;
  };
}

/**
 * A Parquet file that is streamed while it is written: times as UTC timestamps in microseconds, values as doubles, data as
 * JSON text.
 */
export class ParquetFile {
  readonly #writer = new ByteWriter();
  /** Reused for all pages: allocating memory for each one took longer than writing to it. */
  #compressed = new Uint8Array(0);
  readonly #file: ParquetWriter;
  readonly #codec: 'SNAPPY' | 'ZSTD';
  readonly #columns: readonly { readonly name: string; readonly type: SchemaElement['type']; encoder: ColumnEncoder }[];
  /** The first rows of a row group, until there are enough of them to judge its columns. */
  #firstRows: RecordRow[] = [];
  /** Number of rows in the row group that the columns have; 0 before they have begun it. */
  #rows = 0;

  /**
   * @param codec how pages are compressed: zstd makes smaller files, Snappy is faster
   */
  constructor(kind: Kind, codec: 'SNAPPY' | 'ZSTD' = 'SNAPPY') {
    this.#codec = codec;
    const columns = COLUMNS[kind];
    this.#columns = columns.map(({ name, type: { type }, create }) => ({ name, type, encoder: create() }));
    const elements = columns.map(({ name, type }): SchemaElement => ({ name, repetition_type: 'REQUIRED', ...type }));
    this.#file = new ParquetWriter({
      writer: this.#writer,
      schema: [{ name: 'records', num_children: elements.length }, ...elements],
    });
  }

  /** Adds rows to the current row group. */
  add(rows: readonly RecordRow[]): void {
    if (this.#rows > 0) {
      for (const { encoder } of this.#columns) encoder.add(rows);
      this.#rows += rows.length;
      return;
    }
    this.#firstRows.push(...rows);
    if (this.#firstRows.length >= SAMPLE_ROWS) this.#beginGroup();
  }

  /** Ends the current row group. Does nothing if it has no rows. */
  endGroup(): void {
    if (this.#rows === 0) this.#beginGroup();
    const rows = this.#rows;
    this.#rows = 0;
    if (rows === 0) return;
    const start = this.#writer.offset;
    const columns = this.#columns.map(({ name, type, encoder }) => this.#writeColumn(name, type, encoder, rows));
    this.#file.num_rows += BigInt(rows);
    this.#file.row_groups.push({
      columns,
      total_byte_size: columns.reduce((sum, { meta_data }) => sum + (meta_data?.total_uncompressed_size ?? 0n), 0n),
      num_rows: BigInt(rows),
      total_compressed_size: BigInt(this.#writer.offset - start),
    });
  }

  /** Ends the current row group and writes the footer. */
  finish(): void {
    this.endGroup();
    this.#file.finish();
  }

  /** Drains the writer's buffer, in parts. The writer's file offset is unaffected. */
  *take(): Generator<Uint8Array> {
    const bytes = this.#writer.getBytes();
    for (let at = 0; at < bytes.length; at += MAX_PART_BYTES) yield bytes.slice(at, at + MAX_PART_BYTES);
    this.#writer.index = 0;
  }

  #beginGroup(): void {
    const rows = this.#firstRows;
    this.#firstRows = [];
    for (const { encoder } of this.#columns) encoder.begin(rows);
    this.#rows = rows.length;
  }

  #writeColumn(name: string, type: SchemaElement['type'], encoder: ColumnEncoder, rows: number): ColumnChunk {
    if (type === undefined) throw new Error(`the column ${name} has no type`);
    const { dictionary, page, statistics } = encoder.end();
    const start = this.#writer.offset;
    const dictionaryBytes = dictionary ? this.#writePage(dictionary.page, dictionary.size, 'DICTIONARY_PAGE') : 0;
    const dataStart = this.#writer.offset;
    const encoding = dictionary ? 'RLE_DICTIONARY' : 'PLAIN';
    const dataBytes = this.#writePage(page, rows, encoding);
    return {
      meta_data: {
        type,
        encodings: dictionary ? ['PLAIN', encoding] : [encoding],
        path_in_schema: [name],
        codec: this.#codec,
        num_values: BigInt(rows),
        total_compressed_size: BigInt(this.#writer.offset - start),
        total_uncompressed_size: BigInt(dictionaryBytes + dataBytes),
        data_page_offset: BigInt(dataStart),
        ...(dictionary && { dictionary_page_offset: BigInt(start) }),
        ...(statistics && { statistics: { ...statistics, null_count: 0n } }),
        encoding_stats: [
          ...(dictionary ? [{ page_type: 'DICTIONARY_PAGE', encoding: 'PLAIN', count: 1 } as const] : []),
          { page_type: 'DATA_PAGE_V2', encoding, count: 1 },
        ],
      },
      file_offset: BigInt(start),
    };
  }

  /**
   * Compresses and writes a page.
   *
   * @param content `DICTIONARY_PAGE`, or the encoding of a data page
   * @returns its uncompressed size including the header, in bytes
   */
  #writePage(page: Uint8Array, values: number, content: 'DICTIONARY_PAGE' | 'PLAIN' | 'RLE_DICTIONARY'): number {
    const compressed = this.#compress(page);
    const start = this.#writer.offset;
    const sizes = { uncompressed_page_size: page.length, compressed_page_size: compressed.length };
    writePageHeader(
      this.#writer,
      content === 'DICTIONARY_PAGE'
        ? { type: content, ...sizes, dictionary_page_header: { num_values: values, encoding: 'PLAIN' } }
        : {
            type: 'DATA_PAGE_V2',
            ...sizes,
            data_page_header_v2: {
              num_values: values,
              num_nulls: 0,
              num_rows: values,
              encoding: content,
              definition_levels_byte_length: 0,
              repetition_levels_byte_length: 0,
              is_compressed: true,
            },
          },
    );
    const headerBytes = this.#writer.offset - start;
    this.#writer.appendBytes(compressed);
    return headerBytes + page.length;
  }

  /** Compresses a page. The result is valid until the next page is compressed. */
  #compress(page: Uint8Array): Uint8Array {
    if (this.#codec === 'ZSTD') return Bun.zstdCompressSync(page as Uint8Array<ArrayBuffer>);
    const compressor = new SnappyCompressor(page);
    const room = compressor.maxCompressedLength();
    if (this.#compressed.length < room) this.#compressed = new Uint8Array(room);
    return this.#compressed.subarray(0, compressor.compressToBuffer(this.#compressed));
  }
}

/** A column of texts. In a row group with few distinct texts, values are indexes in a dictionary. */
class TextColumn implements ColumnEncoder {
  readonly #of: (row: RecordRow) => string;
  /** The texts of the dictionary if there is one, otherwise all texts. */
  readonly #texts = new PageBuffer();
  #dictionary: Map<string, number> | undefined;
  #indexes: number[] = [];

  constructor(of: (row: RecordRow) => string) {
    this.#of = of;
  }

  begin(rows: readonly RecordRow[]): void {
    const distinct = new Set(rows.map(this.#of));
    this.#dictionary = distinct.size <= MAX_DISTINCT_SHARE * rows.length ? new Map() : undefined;
    this.#indexes = [];
    this.#texts.clear();
    this.add(rows);
  }

  add(rows: readonly RecordRow[]): void {
    const of = this.#of;
    const dictionary = this.#dictionary;
    if (dictionary === undefined) {
      for (const row of rows) this.#texts.addText(of(row));
      return;
    }
    for (const row of rows) {
      const value = of(row);
      let index = dictionary.get(value);
      if (index === undefined) {
        index = dictionary.size;
        dictionary.set(value, index);
        this.#texts.addText(value);
      }
      this.#indexes.push(index);
    }
  }

  end(): ReturnType<ColumnEncoder['end']> {
    const texts = this.#texts.content();
    const statistics = this.#texts.textStatistics();
    if (this.#dictionary === undefined) return { page: texts, statistics };
    const { size } = this.#dictionary;
    const bitWidth = Math.max(1, 32 - Math.clz32(size - 1));
    const indexes = new ByteWriter(2 * this.#indexes.length);
    indexes.appendUint8(bitWidth);
    writeRleBitPackedHybrid(indexes, this.#indexes, bitWidth);
    return { dictionary: { size, page: texts }, page: indexes.getBytes(), statistics };
  }
}

/** A column of numbers. */
abstract class NumberColumn implements ColumnEncoder {
  readonly #of: (row: RecordRow) => number;
  readonly #page = new PageBuffer();
  #least = Number.POSITIVE_INFINITY;
  #most = Number.NEGATIVE_INFINITY;

  constructor(of: (row: RecordRow) => number) {
    this.#of = of;
  }

  begin(rows: readonly RecordRow[]): void {
    this.#page.clear();
    this.#least = Number.POSITIVE_INFINITY;
    this.#most = Number.NEGATIVE_INFINITY;
    this.add(rows);
  }

  add(rows: readonly RecordRow[]): void {
    const of = this.#of;
    for (const row of rows) {
      const value = of(row);
      this.write(this.#page, value);
      if (value < this.#least) this.#least = value;
      if (value > this.#most) this.#most = value;
    }
  }

  end(): ReturnType<ColumnEncoder['end']> {
    return { page: this.#page.content(), statistics: this.statisticsOf(this.#least, this.#most) };
  }

  protected abstract write(page: PageBuffer, value: number): void;
  protected abstract statisticsOf(least: number, most: number): Statistics;
}

class TimeColumn extends NumberColumn {
  protected override write(page: PageBuffer, value: number): void {
    page.addInt64(value);
  }

  protected override statisticsOf(least: number, most: number): Statistics {
    return { min_value: BigInt(least), max_value: BigInt(most) };
  }
}

class DoubleColumn extends NumberColumn {
  protected override write(page: PageBuffer, value: number): void {
    page.addDouble(value);
  }

  protected override statisticsOf(least: number, most: number): Statistics {
    // Parquet requires that a zero is negative as a minimum and positive as a maximum
    return { min_value: least === 0 ? -0 : least, max_value: most === 0 ? 0 : most };
  }
}
