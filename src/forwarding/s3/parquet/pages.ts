import { zstdDecompressSync } from 'node:zlib';
import { type DecodedArray, type PageHeader, type SchemaTree, snappyUncompress } from 'hyparquet';
import { parquetHeader, readPage } from 'hyparquet/src/column.js';
import { convert, DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { deltaBinaryUnpack } from 'hyparquet/src/delta.js';
import { readRleBitPackedHybrid } from 'hyparquet/src/encoding.js';
import type { Codec, ColumnChunk, ParquetColumn } from './footer.ts';
import { ByteWalker, ParquetError, sizeOf, viewOf } from './thrift.ts';

/*
 * The pages of a column chunk. hyparquet decodes them, one at a time and each in its own buffer, after everything was checked
 * that it trusts: sizes, numbers of values, lengths of runs and of integers.
 */

/** Values of a page or dictionary: hyparquet makes an object of each. DuckDB writes 122,880 at once. */
const MAX_PAGE_VALUES = 2 ** 17;
/** Values in the header of a page. */
const MAX_HEADER_ELEMENTS = 200;
const NO_BYTES = new Uint8Array();
const LEVELS = 'the size of the levels of a page';

// unlike the default, keeps a byte order mark, and replaces nothing
const utf8 = new TextDecoder('utf-8', { ignoreBOM: true, fatal: true });
const stringFromBytes = (bytes: Uint8Array) => utf8.decode(bytes);
const parsers = { ...DEFAULT_PARSERS, timestampFromMicroseconds: Number, stringFromBytes };

type ColumnDecoder = Parameters<typeof readPage>[2];
export type ParquetValue = string | number;

/**
 * Returns a function that returns the values of a column chunk, one after the other. One page of it is in memory.
 *
 * @param takeBytes called with the size of everything before memory is allocated for it; throws if it is too much
 */
export function columnValues(
  bytes: Uint8Array,
  { column, codec }: ColumnChunk,
  rows: number,
  takeBytes: (bytes: number) => void,
): () => ParquetValue | null {
  const decoder = decoderOf(column);
  const isOptional = column.repetition_type === 'OPTIONAL';
  let chunk = new ByteWalker(bytes);
  let rowsLeft = rows;
  let dictionary: DecodedArray | undefined;
  let values: DecodedArray = [];
  let index = 0;

  /** Reads a page. Returns its values, unless it is a dictionary. */
  function nextPage(): DecodedArray {
    const view = viewOf(chunk.rest());
    chunk.elementsLeft = MAX_HEADER_ELEMENTS;
    chunk.struct();
    const header = parquetHeader({ view, offset: 0 });
    const size = sizeOf(header.uncompressed_page_size, Number.MAX_SAFE_INTEGER, 'the size of a page');
    const content = chunk.take(sizeOf(header.compressed_page_size, chunk.left, 'the compressed size of a page'));
    if (chunk.left === 0) chunk = new ByteWalker(NO_BYTES); // the memory is needed for the values
    if (header.type === 'INDEX_PAGE') return [];
    takeBytes(size);
    if (header.type !== 'DICTIONARY_PAGE') return dataPage(header, content, size);
    const num_values = countOf(header.dictionary_page_header, rows);
    takeBytes(4 * num_values);
    const page = pageOf(NO_BYTES, codec, content, size);
    const dictionary_page_header = { num_values, encoding: 'PLAIN' } as const;
    dictionary = convert(decode(page, { type: header.type, dictionary_page_header }), decoder);
    return [];
  }

  function dataPage(
    { type, data_page_header: v1, data_page_header_v2: v2 }: PageHeader,
    content: Uint8Array,
    size: number,
  ) {
    const head = type === 'DATA_PAGE' ? v1 : v2;
    if (head === undefined) throw new ParquetError('a page has no header');
    const num_values = countOf(head, rowsLeft);
    rowsLeft -= num_values;
    let page: Uint8Array;
    let levelBytes = 0;
    if (head === v2) {
      const available = Math.min(content.length, size);
      const definitions = sizeOf(v2.definition_levels_byte_length, available, LEVELS);
      const repetitions = sizeOf(v2.repetition_levels_byte_length, available - definitions, LEVELS);
      const pageCodec = v2.is_compressed === false ? 'UNCOMPRESSED' : codec;
      const valuesAt = definitions + repetitions;
      levelBytes = isOptional ? definitions : 0;
      const levels = content.subarray(repetitions, repetitions + levelBytes);
      page = pageOf(levels, pageCodec, content.subarray(valuesAt), size - valuesAt);
    } else {
      page = pageOf(NO_BYTES, codec, content, size);
      if (isOptional) {
        levelBytes = viewOf(new ByteWalker(page).take(4)).getUint32(0, true);
        page = page.subarray(4);
      }
    }
    const walker = new ByteWalker(page);
    const levels = walker.take(levelBytes);
    const num_nulls = isOptional ? num_values - countPresent(levels, num_values) : 0;
    // a page of NULLs may have no bytes at all
    const encoding = num_nulls < num_values ? head.encoding : 'PLAIN';
    checkValues(encoding, walker, num_values - num_nulls);
    // what differs between the versions is where the levels are
    const result = decode(page, {
      type: 'DATA_PAGE_V2',
      data_page_header_v2: {
        num_values,
        num_nulls,
        num_rows: num_values,
        encoding,
        definition_levels_byte_length: levelBytes,
        repetition_levels_byte_length: 0,
        is_compressed: false,
      },
    });
    if (result.length !== num_values) throw new ParquetError('a page has fewer values than its header says');
    return result;
  }

  function decode(page: Uint8Array, header: Partial<PageHeader> & Pick<PageHeader, 'type'>): DecodedArray {
    const sizes = { compressed_page_size: page.length, uncompressed_page_size: page.length };
    return (
      readPage({ view: viewOf(page), offset: 0 }, { ...header, ...sizes }, decoder, dictionary, undefined, 0).data ?? []
    );
  }

  /** Checks the part of a page that hyparquet would follow to any length. */
  function checkValues(encoding: string, walker: ByteWalker, count: number): void {
    if (encoding === 'PLAIN' || encoding === 'BYTE_STREAM_SPLIT') return;
    if (encoding === 'DELTA_BINARY_PACKED' || encoding === 'DELTA_LENGTH_BYTE_ARRAY') checkDeltas(walker, count);
    else if (encoding === 'DELTA_BYTE_ARRAY') {
      const start = walker.rest();
      checkDeltas(walker, count);
      checkDeltas(walker, count);
      const prefixes = new Int32Array(count);
      deltaBinaryUnpack({ view: viewOf(start), offset: 0 }, count, prefixes);
      // a few bytes can repeat long texts
      for (const prefix of prefixes) takeBytes(Math.max(0, prefix));
    } else if (encoding === 'RLE_DICTIONARY' || encoding === 'PLAIN_DICTIONARY') {
      if (!dictionary?.length) throw new ParquetError('a column has no dictionary');
      checkRuns(walker, walker.byte(), count);
    } else throw new ParquetError('a page has an unknown encoding');
  }

  return () => {
    while (index === values.length) {
      if (chunk.left === 0) throw new ParquetError('a column has fewer values than its row group');
      index = 0;
      try {
        values = nextPage();
      } catch (error) {
        // errors of hyparquet may contain values
        throw error instanceof ParquetError ? error : new ParquetError('a page is cut off or damaged');
      }
    }
    const value: unknown = values[index++];
    // undefined if an index is not in the dictionary
    if (typeof value === 'string' || typeof value === 'number' || value === null) return value;
    throw new ParquetError('a page has values that do not fit its column');
  };
}

/** Returns the number of values of a page. */
function countOf(head: { readonly num_values: number } | undefined, maximum: number): number {
  return sizeOf(head?.num_values, Math.min(maximum, MAX_PAGE_VALUES), 'the number of values of a page');
}

function decoderOf(column: ParquetColumn): ColumnDecoder {
  const tree: SchemaTree = { children: [], count: 1, element: column, path: [column.name] };
  const root: SchemaTree = { children: [tree], count: 2, element: { name: 'root', num_children: 1 }, path: [] };
  const schemaPath = [root, tree];
  return { pathInSchema: tree.path, type: column.type, element: column, schemaPath, codec: 'UNCOMPRESSED', parsers };
}

/** Returns the levels and the decompressed values of a page, in a buffer that ends with them. */
function pageOf(levels: Uint8Array, codec: Codec, content: Uint8Array, size: number): Uint8Array {
  const page = new Uint8Array(levels.length + size);
  page.set(levels);
  const output = page.subarray(levels.length);
  let values = content;
  try {
    if (codec === 'SNAPPY') {
      checkSnappy(new ByteWalker(content), size);
      snappyUncompress(content, output);
      return page;
    }
    if (codec === 'ZSTD') values = zstdDecompressSync(content, { maxOutputLength: Math.max(1, size) });
  } catch {
    throw new ParquetError('a page cannot be decompressed'); // the original error may contain values
  }
  if (values.length !== size) throw new ParquetError('a page has another size than its header says');
  output.set(values);
  return page;
}

/** Checks the lengths in Snappy's format: hyparquet never ends if one is negative. */
function checkSnappy(walker: ByteWalker, size: number): void {
  let sizeLeft = size;
  walker.varint();
  while (walker.left > 0) {
    const tag = walker.byte();
    const kind = tag & 3;
    let length = (kind === 1 ? ((tag >> 2) & 7) + 3 : tag >> 2) + 1;
    if (kind > 0) walker.take(kind === 3 ? 4 : kind);
    else {
      if (length > 60) length = walker.take(length - 60).reduce((sum, byte, i) => sum + byte * 256 ** i, 1);
      walker.take(length);
    }
    sizeLeft -= length;
    if (sizeLeft < 0) throw new ParquetError('a page is larger than its header says');
  }
}

/** Returns the number of values that are not NULL. */
function countPresent(levels: Uint8Array, count: number): number {
  checkRuns(new ByteWalker(levels), 1, count);
  const present = new Uint8Array(count);
  readRleBitPackedHybrid({ view: viewOf(levels), offset: 0 }, 1, present, levels.length);
  return present.reduce((sum, level) => sum + (level === 1 ? 1 : 0), 0);
}

/** Checks runs and packed bits: levels, or indexes in a dictionary. hyparquet repeats a run as often as it says. */
function checkRuns(walker: ByteWalker, width: number, count: number): void {
  if (width > 32) throw new ParquetError('an index has more than 32 bits');
  for (let left = count; left > 0; ) {
    const head = walker.varint();
    const length = Math.floor(head / 2);
    const isRun = head % 2 === 0;
    if (length > left && (isRun || width === 0)) throw new ParquetError('a run has more values than its page');
    // hyparquet takes a byte at least of packed bits, if there is one
    walker.take(isRun ? Math.ceil(width / 8) : Math.max(length * width, Math.min(1, walker.left)));
    left -= isRun ? length : length * 8;
  }
}

/** Checks integers that are differences from the ones before. */
function checkDeltas(walker: ByteWalker, count: number): void {
  const [blockValues, miniblocks, total] = [walker.varint(), walker.varint(), walker.varint()];
  const miniblockValues = blockValues / miniblocks;
  // hyparquet reads 32 bits of them
  if (miniblockValues % 32 !== 0 || miniblockValues === 0 || blockValues > 2 ** 30) {
    throw new ParquetError('a page has an encoding that does not fit its column');
  }
  if (total > count) throw new ParquetError('a page has more values than its header says');
  walker.varint();
  for (let left = count - 1; left > 0; ) {
    walker.varint();
    for (const width of walker.take(miniblocks)) {
      if (left <= 0) break;
      if (width > 64) throw new ParquetError('a difference has more than 64 bits');
      walker.take(Math.min((miniblockValues * width) / 8, walker.left));
      left -= miniblockValues;
    }
  }
}
