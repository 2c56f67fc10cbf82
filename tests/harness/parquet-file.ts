import type { SchemaElement } from 'hyparquet';
import { ByteWriter } from 'hyparquet-writer';
import { serializeTCompactProtocol } from 'hyparquet-writer/src/thrift.js';

/*
 * Writes Parquet files that no honest writer would: every size and number is what a test says. Fields are those of
 * https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift.
 */

/** A page, with a header of the test's choice. */
export interface RawPage {
  readonly header: Readonly<Record<`field_${number}`, unknown>>;
  readonly content: Uint8Array;
}

/** A column chunk. Its claims default to what is true. */
export interface RawColumn {
  readonly name: string;
  readonly codec?: number;
  readonly pages: readonly RawPage[];
  readonly claims?: { readonly bytes?: number; readonly offset?: number };
}

export interface RawGroup {
  readonly rows: number;
  readonly columns: readonly RawColumn[];
  readonly bytes?: number;
}

/** The kinds of encodings and codecs, by their numbers. */
export const ENCODING = { plain: 0, delta: 5, deltaLength: 6, deltaText: 7, dictionary: 8, split: 9 };
export const CODEC = { none: 0, snappy: 1, zstd: 6 };
const TYPES = ['BOOLEAN', 'INT32', 'INT64', 'INT96', 'FLOAT', 'DOUBLE', 'BYTE_ARRAY'];

/** A column of texts. */
export const TEXT: Omit<SchemaElement, 'name'> = { type: 'BYTE_ARRAY', repetition_type: 'REQUIRED' };

/** Returns a data page (v1) of some values, whose size when decompressed is a claim. */
export function dataPage(content: Uint8Array, values: number, encoding: number, size = content.length): RawPage {
  const header = { field_1: values, field_2: encoding, field_3: 3, field_4: 3 };
  return { header: { field_1: 0, field_2: size, field_3: content.length, field_5: header }, content };
}

/** Returns a data page (v2) of some values without levels. */
export function dataPageV2(content: Uint8Array, values: number, encoding: number): RawPage {
  const header = {
    field_1: values,
    field_2: 0,
    field_3: values,
    field_4: encoding,
    field_5: 0,
    field_6: 0,
    field_7: false,
  };
  return { header: { field_1: 3, field_2: content.length, field_3: content.length, field_8: header }, content };
}

/** Returns a dictionary page. */
export function dictionaryPage(content: Uint8Array, values: number, size = content.length): RawPage {
  const header = { field_1: values, field_2: ENCODING.plain };
  return { header: { field_1: 2, field_2: size, field_3: content.length, field_7: header }, content };
}

/** Returns texts in the encoding PLAIN. */
export function plainTexts(texts: readonly string[]): Uint8Array {
  const parts = texts.map((text) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return Buffer.concat([length, bytes]);
  });
  return Buffer.concat(parts);
}

/** Returns a number of at most 7 bits per byte. */
export function varint(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Uint8Array.from([...bytes, rest]);
}

/** Returns a run of equal indexes of one byte in a dictionary, for a data page. */
export function indexRun(length: number, index = 0): Uint8Array {
  return Buffer.concat([Uint8Array.of(8), varint(2 * length), Uint8Array.of(index)]);
}

/** Returns the bytes of the pages of a column chunk. */
export function bytesOfPages(pages: readonly RawPage[]): Uint8Array {
  const writer = new ByteWriter();
  for (const { header, content } of pages) {
    serializeTCompactProtocol(writer, header);
    writer.appendBytes(content);
  }
  return writer.getBytes();
}

/** Writes a file. */
export function parquetFile(schema: readonly SchemaElement[], groups: readonly RawGroup[]): Uint8Array {
  const writer = new ByteWriter();
  writer.appendBytes(Buffer.from('PAR1'));
  const rowGroups = groups.map(({ rows, columns, bytes = 1 }) => ({
    field_1: columns.map(({ name, codec = CODEC.none, pages, claims }) => {
      const start = writer.offset;
      writer.appendBytes(bytesOfPages(pages));
      const offset = BigInt(claims?.offset ?? start);
      return {
        field_2: offset,
        field_3: {
          field_1: TYPES.indexOf(schema.find((element) => element.name === name)?.type ?? 'BYTE_ARRAY'),
          field_2: [0],
          field_3: [name],
          field_4: codec,
          field_5: BigInt(rows),
          field_6: BigInt(bytes),
          field_7: BigInt(claims?.bytes ?? writer.offset - start),
          field_9: offset,
        },
      };
    }),
    field_2: BigInt(bytes),
    field_3: BigInt(rows),
  }));
  const footer = new ByteWriter();
  serializeTCompactProtocol(footer, {
    field_1: 2,
    field_2: schema.map(({ name, type, repetition_type, num_children, logical_type }) => ({
      field_1: type && TYPES.indexOf(type),
      field_3: repetition_type && ['REQUIRED', 'OPTIONAL', 'REPEATED'].indexOf(repetition_type),
      field_4: name,
      field_5: num_children,
      field_10:
        logical_type?.type === 'TIMESTAMP' ? { field_8: { field_1: true, field_2: { field_2: {} } } } : undefined,
    })),
    field_3: BigInt(groups.reduce((sum, { rows }) => sum + rows, 0)),
    field_4: rowGroups,
  });
  return withFooter(writer.getBytes(), footer.getBytes());
}

/** Appends a footer, and the length that it claims to have. */
export function withFooter(start: Uint8Array, footer: Uint8Array, length = footer.length): Uint8Array {
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(length);
  tail.write('PAR1', 4);
  return Buffer.concat([start, footer, tail]);
}
