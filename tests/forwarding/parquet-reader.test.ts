import { describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { DuckDBInstance } from '@duckdb/node-api';
import fc from 'fast-check';
import { parquetReadObjects } from 'hyparquet';
import { COLUMNS, rowOf } from '../../src/export/encode.ts';
import { ParquetFile } from '../../src/export/parquet.ts';
import { type ParquetRow, readParquet } from '../../src/forwarding/s3/parquet/reader.ts';
import { ParquetError } from '../../src/forwarding/s3/parquet/thrift.ts';
import { encodeParquet, recordRowOf } from '../../src/forwarding/s3/parquet-rows.ts';
import { KINDS, type Kind } from '../../src/records.ts';
import {
  bytesOfPages,
  CODEC,
  dataPage,
  dataPageV2,
  dictionaryPage,
  ENCODING,
  indexRun,
  parquetFile,
  plainTexts,
  TEXT,
  varint,
  withFooter,
} from '../harness/parquet-file.ts';
import { temporaryFolder } from '../harness/target.ts';
import { event, metric, records } from '../storage/log.ts';

const MB = 1024 ** 2;

async function read(bytes: Uint8Array, columns: readonly string[]): Promise<ParquetRow[]> {
  const rows: ParquetRow[] = [];
  const source = { bytes: bytes.length, read: async (start: number, end: number) => bytes.subarray(start, end) };
  for await (const batch of readParquet(source, columns)) rows.push(...batch);
  return rows;
}

const TEXTS = ['', '\uFEFFmark', '\u0000', '😀é"\\\n', 'x'.repeat(300)];
const RECORDS = {
  metric: records(3_000, (seq, i) =>
    metric(seq, {
      userId: `user ${i % 7}`,
      happenedAt: -8_000_000_000_000_000 + i * 5_000_000_000_001,
      metricName: TEXTS[1 + (i % 4)] ?? '',
      metricValue: i % 3 === 0 ? -0 : i / 7,
      dataString: `${i}`,
    }),
  ),
  analytics: records(3_000, (seq, i) =>
    event(seq, { type: `${i % 300}`, dataIndex: TEXTS[i % 5] ?? '', data: `{"n":${i},"t":"${'y'.repeat(i % 50)}"}` }),
  ),
} as const;

describe('files of exports', () => {
  test.each(KINDS)('are read as they were written: %s', async (kind: Kind) => {
    const rows = RECORDS[kind].map(rowOf);
    const expectRows = async (bytes: Uint8Array) => {
      const found = (await read(bytes, COLUMNS[kind])).map((row) => recordRowOf(kind, row));
      expect(found).toEqual(rows);
    };
    await expectRows(encodeParquet(kind, rows));
    const file = new ParquetFile(kind);
    for (let start = 0; start < rows.length; start += 500) {
      file.add(rows.slice(start, start + 500));
      if (start % 1_000 === 0) file.endGroup();
    }
    file.finish();
    await expectRows(Buffer.concat([...file.take()]));
  });

  test.each(KINDS)(
    'are read after DuckDB has written them, in all its encodings and codecs: %s',
    async (kind: Kind) => {
      using folder = temporaryFolder();
      const original = join(folder.path, 'original.parquet');
      await Bun.write(original, encodeParquet(kind, RECORDS[kind].map(rowOf)));
      const instance = await DuckDBInstance.create(':memory:');
      const connection = await instance.connect();
      for (const options of [
        '',
        'PARQUET_VERSION V2',
        'COMPRESSION zstd, PARQUET_VERSION V2, DICTIONARY_SIZE_LIMIT 1',
        'COMPRESSION uncompressed, ROW_GROUP_SIZE 2048',
        'COMPRESSION uncompressed, PARQUET_VERSION V2, DICTIONARY_SIZE_LIMIT 1',
      ]) {
        const copy = join(folder.path, 'copy.parquet');
        await connection.run(
          `COPY (SELECT *, [1, 2] AS nested, 7 AS extra FROM read_parquet('${original}')) TO '${copy}' (FORMAT parquet${options && `, ${options}`})`,
        );
        const found = await read(await Bun.file(copy).bytes(), COLUMNS[kind]);
        expect(found.map((row) => recordRowOf(kind, row))).toEqual(RECORDS[kind].map(rowOf));
      }
      connection.closeSync();
    },
  );

  test.each([1, 2, 33, 129])('have pages of few rows: %d', async (count) => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'small.parquet');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    const values = `CASE WHEN i % 4 = 3 THEN NULL ELSE 'user ' || i END AS user_id, 'x' AS type, i::INTEGER AS data_index,
      CASE WHEN i % 3 = 1 THEN NULL ELSE make_timestamp(i * 1000000007) END AS timestamp, NULL::VARCHAR AS data`;
    for (const options of ['V1', 'V2', 'V2, DICTIONARY_SIZE_LIMIT 1', 'V1, DICTIONARY_SIZE_LIMIT 1']) {
      await connection.run(
        `COPY (SELECT ${values} FROM range(${count}) AS t(i)) TO '${path}' (FORMAT parquet, PARQUET_VERSION ${options})`,
      );
      const found = await read(await Bun.file(path).bytes(), ['user_id', 'type', 'data_index', 'timestamp', 'data']);
      expect(found).toEqual(
        Array.from({ length: count }, (_, i) => ({
          user_id: i % 4 === 3 ? null : `user ${i}`,
          type: 'x',
          data_index: i,
          timestamp: i % 3 === 1 ? null : i * 1_000_000_007,
          data: null,
        })),
      );
    }
    connection.closeSync();
  });

  test.each(KINDS)('may have no rows: %s', async (kind: Kind) => {
    expect(await read(encodeParquet(kind, []), COLUMNS[kind])).toEqual([]);
  });

  test('have any number of rows: more than a row group of DuckDB has', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'large.parquet');
    const instance = await DuckDBInstance.create(':memory:');
    const connection = await instance.connect();
    await connection.run(
      `COPY (SELECT CASE WHEN i % 3 = 0 THEN NULL ELSE 'user ' || i % 10 END AS user_id, i * 0.5::DOUBLE AS metric_value
       FROM range(300000) AS t(i)) TO '${path}' (FORMAT parquet)`,
    );
    connection.closeSync();
    const bytes = await Bun.file(path).bytes();
    const found = await read(bytes, ['user_id', 'metric_value']);
    expect(found).toHaveLength(300_000);
    const expected = await parquetReadObjects({ file: bytes.slice().buffer });
    expect(
      found.every((row, i) => Bun.deepEquals(row, { user_id: expected[i]?.['user_id'] ?? null, metric_value: i / 2 })),
    ).toBe(true);
  });
});

/** The schema of a file with the column `id`. */
const SCHEMA = [
  { name: 'root', num_children: 1 },
  { name: 'id', ...TEXT },
];
const OPTIONAL_SCHEMA = [
  { name: 'root', num_children: 1 },
  { name: 'id', ...TEXT, repetition_type: 'OPTIONAL' as const },
];
/** A column of times. */
const TIME = {
  type: 'INT64',
  repetition_type: 'REQUIRED',
  logical_type: { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'MICROS' },
} as const;
const uint32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);
const rleOfOne = (values: number) => [
  dictionaryPage(plainTexts(['x']), 1),
  dataPage(indexRun(values), values, ENCODING.dictionary),
];
const file = (
  rows: number,
  pages: Parameters<typeof parquetFile>[1][number]['columns'][number]['pages'],
  codec = CODEC.none,
) => parquetFile(SCHEMA, [{ rows, columns: [{ name: 'id', codec, pages }] }]);
const zeros = (bytes: number) => new Uint8Array(bytes);
/** The Snappy encoding of zeros: a literal, then copies of 64 bytes. */
const snappyZeros = (bytes: number) => {
  const copies = Math.ceil(bytes / 64) - 1;
  const copy = Uint8Array.of(0xfe, 1, 0);
  return Buffer.concat([varint(bytes), Uint8Array.of((63 << 2) & 0xff), ...Array(copies).fill(copy)]);
};
const delta = (count: number, block = 128, miniblocks = 4) =>
  Buffer.concat([varint(block), varint(miniblocks), varint(count), varint(0)]);

/** Files of up to a few megabytes that claim to be, or are, much more. */
const HOSTILE: readonly (readonly [string, () => Uint8Array, RegExp])[] = [
  [
    'a footer longer than the file',
    () => withFooter(Buffer.from('PAR1'), zeros(10), 2 ** 32 - 1),
    /longer than the file/,
  ],
  ['a footer of 65 MB', () => withFooter(Buffer.from('PAR1'), zeros(65 * MB)), /more than 67108864 bytes/],
  // field 4, a list of 2^31 structs
  [
    '2^31 row groups',
    () => withFooter(Buffer.from('PAR1'), Buffer.concat([Uint8Array.of(0x49, 0xfc), varint(2 ** 31), zeros(100)])),
    /cut off/,
  ],
  [
    '2^31 columns',
    () =>
      withFooter(
        Buffer.from('PAR1'),
        Buffer.concat([Uint8Array.of(0x49, 0x1c, 0x19, 0xfc), varint(2 ** 31), zeros(100)]),
      ),
    /cut off/,
  ],
  [
    '8 million columns without a byte of their own',
    () =>
      withFooter(
        Buffer.from('PAR1'),
        Buffer.concat([Uint8Array.of(0x49, 0x1c, 0x19, 0xfc), varint(8 * MB), zeros(8 * MB + 2)]),
      ),
    /too many elements/,
  ],
  [
    '8 million columns in its schema',
    () =>
      withFooter(Buffer.from('PAR1'), Buffer.concat([Uint8Array.of(0x29, 0xfc), varint(8 * MB), zeros(8 * MB + 1)])),
    /too many/,
  ],
  [
    'metadata that is nested a million times',
    () => withFooter(Buffer.from('PAR1'), Buffer.alloc(MB, 0x1c)),
    /nested too deeply/,
  ],
  [
    'lists that are nested a million times',
    () => withFooter(Buffer.from('PAR1'), Buffer.concat([Uint8Array.of(0x19), Buffer.alloc(MB, 0x19)])),
    /nested too deeply/,
  ],
  [
    'an integer of a million bytes',
    () => withFooter(Buffer.from('PAR1'), Buffer.concat([Uint8Array.of(0x15), Buffer.alloc(MB, 0xff)])),
    /too long/,
  ],
  [
    '2^40 rows',
    () => file(2 ** 40, rleOfOne(2 ** 20)),
    /the number of rows of a row group is 1099511627776; at most 1048576/,
  ],
  [
    'a row group that claims 65 MB',
    () => parquetFile(SCHEMA, [{ rows: 1, bytes: 65 * MB, columns: [] }]),
    /the size of a row group/,
  ],
  [
    'a column chunk that claims 2^40 bytes',
    () => parquetFile(SCHEMA, [{ rows: 1, columns: [{ name: 'id', pages: rleOfOne(1), claims: { bytes: 2 ** 40 } }] }]),
    /the size of a column/,
  ],
  [
    'a column chunk after the file',
    () =>
      parquetFile(SCHEMA, [
        { rows: 1, columns: [{ name: 'id', pages: rleOfOne(1), claims: { offset: 100, bytes: 1_000 } }] },
      ]),
    /ends after the file/,
  ],
  [
    'a page of 2^31 values',
    () =>
      file(10, [dictionaryPage(plainTexts(['x']), 1), dataPage(indexRun(2 ** 30), 2 ** 31 - 1, ENCODING.dictionary)]),
    /number of values of a page/,
  ],
  [
    'a dictionary of 2^31 values',
    () => file(10, [dictionaryPage(plainTexts(['x']), 2 ** 31 - 1)]),
    /number of values of a page/,
  ],
  ['a dictionary of more values than bytes', () => file(1_000, [dictionaryPage(plainTexts(['x']), 1_000)]), /cut off/],
  [
    'zstd that is larger than its page says',
    () => file(1, [dataPage(zstdCompressSync(zeros(512 * MB)), 1, ENCODING.plain, MB)], CODEC.zstd),
    /cannot be decompressed/,
  ],
  [
    'a page of 512 MB of zstd',
    () => file(1, [dataPage(zstdCompressSync(zeros(512 * MB)), 1, ENCODING.plain, 512 * MB)], CODEC.zstd),
    /more than 67108864 bytes when decompressed/,
  ],
  [
    'many pages of zstd',
    () => file(64, Array(64).fill(dataPage(zstdCompressSync(zeros(4 * MB)), 1, ENCODING.plain, 4 * MB)), CODEC.zstd),
    /more than 67108864 bytes when decompressed/,
  ],
  [
    'Snappy that is larger than its page says',
    () => file(1, [dataPage(snappyZeros(64 * MB), 1, ENCODING.plain, MB)], CODEC.snappy),
    /cannot be decompressed/,
  ],
  [
    'a page that claims 2 GB of Snappy',
    () => file(1, [dataPage(zeros(10), 1, ENCODING.plain, 2 ** 31 - 1)], CODEC.snappy),
    /more than 67108864 bytes when decompressed/,
  ],
  [
    'a page whose size is negative',
    () => file(1, [dataPage(zeros(10), 1, ENCODING.plain, -1)], CODEC.snappy),
    /missing or negative/,
  ],
  ['2^31 miniblocks', () => file(10, [dataPage(delta(10, 128, 2 ** 31), 10, ENCODING.deltaLength)]), /does not fit/],
  ['2^31 lengths', () => file(10, [dataPage(delta(2 ** 31), 10, ENCODING.deltaLength)]), /more values than/],
  [
    'a run of 2^30 values',
    () =>
      file(100_000, [dictionaryPage(plainTexts(['x']), 1), dataPage(indexRun(2 ** 30), 100_000, ENCODING.dictionary)]),
    /a run has more values/,
  ],
  [
    'a run of 2^30 levels',
    () => {
      const levels = Buffer.concat([varint(2 ** 31), Uint8Array.of(1)]);
      const page = dataPage(Buffer.concat([uint32(levels.length), levels, plainTexts(['x'])]), 1, ENCODING.plain);
      return parquetFile(OPTIONAL_SCHEMA, [{ rows: 1, columns: [{ name: 'id', pages: [page] }] }]);
    },
    /a run has more values/,
  ],
  [
    'packed bits of no width for 2^31 values',
    () => {
      const bits = Buffer.concat([Uint8Array.of(0), varint(2 ** 31 - 1)]);
      return file(1, [dictionaryPage(plainTexts(['x']), 1), dataPageV2(bits, 1, ENCODING.dictionary)]);
    },
    /a run has more values/,
  ],
  [
    'a page of indexes without a dictionary',
    () => file(2, [dataPage(indexRun(2), 2, ENCODING.dictionary)]),
    /no dictionary/,
  ],
  [
    'an index that is not in its dictionary',
    () => file(2, [dictionaryPage(plainTexts(['x']), 1), dataPage(indexRun(2, 1), 2, ENCODING.dictionary)]),
    /do not fit/,
  ],
  [
    'a difference of a megabyte',
    () => {
      const schema = [
        { name: 'root', num_children: 1 },
        { ...TIME, name: 'id' },
      ];
      const page = dataPage(Buffer.concat([delta(10), Buffer.alloc(MB, 0xff), zeros(100)]), 10, ENCODING.delta);
      return parquetFile(schema, [{ rows: 10, columns: [{ name: 'id', pages: [page] }] }]);
    },
    /too long/,
  ],
  [
    'texts that end after their page, in the next ones',
    () => {
      // all bytes of the file are UTF-8
      const beyond = dataPage(uint32(0x0b7f), 1, ENCODING.plain);
      const honest = dataPage(plainTexts(['x'.repeat(50)]), 1, ENCODING.plain);
      return file(200, [...Array(100).fill(beyond), ...Array(100).fill(honest)]);
    },
    /cut off/,
  ],
  [
    'Snappy that goes back by a negative length',
    () =>
      file(
        1,
        [dataPage(Uint8Array.of(10, 0xfc, 0xfa, 0xff, 0xff, 0xff, 0, 0, 0), 1, ENCODING.plain, 10)],
        CODEC.snappy,
      ),
    /cannot be decompressed/,
  ],
  [
    'more nested columns than hyparquet has room for',
    () =>
      parquetFile(
        [...Array(20_000).fill({ name: 'a', num_children: 1 }), { name: 'id', ...TEXT }],
        [{ rows: 1, columns: [{ name: 'id', pages: rleOfOne(1) }] }],
      ),
    /rows without columns/,
  ],
  [
    'a text that repeats the one before it, each time longer',
    () => {
      // 100,000 texts, each with all bytes of the one before and one more: 5 GB
      const count = 100_000;
      const blocks = Math.ceil((count - 1) / 128);
      const prefixes = Buffer.concat([delta(count), ...Array(blocks).fill(Uint8Array.of(2, 0, 0, 0, 0))]);
      const suffixes = Buffer.concat([
        varint(128),
        varint(4),
        varint(count),
        varint(2),
        ...Array(blocks).fill(Uint8Array.of(0, 0, 0, 0, 0)),
      ]);
      return file(count, [
        dataPage(Buffer.concat([prefixes, suffixes, Buffer.alloc(count, 'x')]), count, ENCODING.deltaText),
      ]);
    },
    /more than 67108864 bytes when decompressed/,
  ],
  [
    'the same bytes in a thousand row groups',
    () => {
      const columns = [{ name: 'id', pages: rleOfOne(10) }];
      const bytes = bytesOfPages(rleOfOne(10)).length;
      const again = { rows: 10, columns: [{ name: 'id', pages: [], claims: { offset: 4, bytes } }] };
      return parquetFile(SCHEMA, [{ rows: 10, columns }, ...Array(5_000).fill(again)]);
    },
    /overlap/,
  ],
  [
    'a schema of 50,000 levels',
    () =>
      parquetFile(
        [...Array(50_000).fill({ name: 'a', num_children: 1 }), { name: 'id', ...TEXT }],
        [{ rows: 1, columns: [{ name: 'id', pages: rleOfOne(1) }] }],
      ),
    /too many elements|rows without columns/,
  ],
];

describe('a hostile file', () => {
  test.each(HOSTILE)('with %s is rejected', async (_, make, message) => {
    const bytes = make();
    const error = await read(bytes, ['id']).then(
      (rows) => (rows.every((row) => Object.keys(row).length === 0) ? new ParquetError('rows without columns') : rows),
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ParquetError);
    expect((error as Error).message).toMatch(message);
  });

  test('that is an honest one with other bytes ends in rows or in a ParquetError', async () => {
    const honest = KINDS.map((kind) => encodeParquet(kind, RECORDS[kind].slice(0, 60).map(rowOf)));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...honest),
        fc.array(fc.tuple(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), fc.nat(255)), {
          minLength: 1,
          maxLength: 4,
        }),
        async (bytes, changes) => {
          const changed = bytes.slice();
          for (const [place, byte] of changes) changed[Math.floor(place * changed.length)] = byte;
          const result = await read(changed, COLUMNS.metric).catch((error: unknown) => error);
          expect(Array.isArray(result) || result instanceof ParquetError).toBe(true);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});
