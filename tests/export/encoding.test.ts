import { describe, expect, test } from 'bun:test';
import { stringify } from 'csv-stringify/sync';
import fc from 'fast-check';
import { parquetMetadata, parquetReadObjects } from 'hyparquet';
import { csvHeader, csvLine, maxCsvBytes, writeCsv } from '../../src/export/csv.ts';
import { recordJson } from '../../src/export/encode.ts';
import { maxJsonBytes, writeJson } from '../../src/export/ndjson.ts';
import { ParquetFile } from '../../src/export/parquet.ts';
import { MAX_PART_BYTES, PartWriter } from '../../src/export/part-writer.ts';
import { formatTimestamp } from '../../src/formats/timestamp.ts';
import type { Kind } from '../../src/records.ts';
import type { RecordRow } from '../../src/storage/records.ts';

/*
 * The encoders of exports against libraries and plain code, on random rows.
 */

const KINDS = ['metric', 'analytics'] as const;
const HEADERS = {
  metric: ['id', 'user_id', 'timestamp', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['id', 'user_id', 'timestamp', 'received_at', 'type', 'data_index', 'data'],
};

/** Texts of letters and of characters with a meaning in CSV, JSON or a spreadsheet; some are longer than 128. */
const special = fc.constantFrom(
  ...('ab",;:|\t\r\n =+-@\\/\'\0\x7fäé日🦀\u2028\uFF1D\uFF0B\uFF0D\uFF20\uFEFF'.match(/./gsu) ?? []),
);
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: special, maxLength: 12 }) },
  { weight: 2, arbitrary: fc.string({ maxLength: 20 }) },
  { weight: 1, arbitrary: fc.string({ unit: 'binary', maxLength: 20 }) },
  { weight: 1, arbitrary: fc.string({ unit: fc.constantFrom('a', '"', ',', 'é'), minLength: 120, maxLength: 600 }) },
);
const time = fc.oneof(
  fc.integer({ min: Date.UTC(1700, 0, 1) * 1000, max: Date.UTC(2080, 0, 1) * 1000 }),
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map((seconds) => seconds * 1_000_000),
  fc.integer({ min: -1_000_000, max: 2_000_000_000 }).map((milliseconds) => milliseconds * 1000),
  // years that do not have four digits
  fc.integer({ min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
);
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer({ min: -1e9, max: 1e9 }).map((thousandths) => thousandths / 1000),
  fc.maxSafeInteger().map((thousandths) => thousandths / 1000),
  fc.maxSafeInteger(),
  fc.constantFrom(0, -0, 0.001, -0.001, 999_999_999_999.999, 1e12, 1e15, 1e21, 1e-7, 0.1 + 0.2, 1 / 3),
);
const rowOf = (kind: Kind): fc.Arbitrary<RecordRow> =>
  fc.record({
    seq: fc.nat(),
    id: fc.uuid({ version: 7 }),
    user_id: text,
    happened_at: time,
    received_at: time,
    name: text,
    label: text,
    value: kind === 'metric' ? number : fc.dictionary(text, text, { maxKeys: 4 }).map((data) => JSON.stringify(data)),
  });

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** Returns what an encoder writes. */
function written(
  rows: readonly RecordRow[],
  maxBytes: (row: RecordRow) => number,
  write: (parts: PartWriter, row: RecordRow) => void,
): string {
  const parts = new PartWriter();
  let all = '';
  for (const row of rows) {
    const room = maxBytes(row);
    expect(parts.hasRoom(room)).toBe(true);
    const before = parts.used;
    write(parts, row);
    expect(parts.used - before).toBeLessThanOrEqual(room);
    if (parts.used > MAX_PART_BYTES / 2) all += decoder.decode(parts.take());
  }
  return all + decoder.decode(parts.take());
}

/** Writes rows with csv-stringify. */
function referenceCsv(kind: Kind, rows: readonly RecordRow[], safe: boolean): string {
  const lines = rows.map((row) => {
    const head = [row.id, row.user_id, formatTimestamp(row.happened_at), formatTimestamp(row.received_at)];
    return kind === 'metric' ? [...head, row.name, row.value, row.label] : [...head, row.name, row.label, row.value];
  });
  return stringify(lines, {
    header: true,
    columns: HEADERS[kind],
    record_delimiter: 'windows',
    escape_formulas: safe,
    quoted: safe,
    quoted_empty: safe,
    // by default csv-stringify quotes text that contains the record delimiter CRLF, but not a single CR or LF
    quoted_match: /[\r\n]/,
    // LibreOffice treats a quote followed by a separator as the end of a field, even if that quote opens the field
    cast: {
      number: String,
      ...(safe && {
        string: (field: string) =>
          /^[",;:|\t\n ]|^[\s\p{Cc}\p{Cf}]+[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]/u.test(field) ? `'${field}` : field,
      }),
    },
  });
}

test('formulas behind white space, control characters and invisible characters are escaped', () => {
  const row = { seq: 1, id: 'i', user_id: 'u', happened_at: 0, received_at: 0, name: 'n', value: 1 };
  const labelIn = (label: string) => csvLine('metric', { ...row, label }, true).split(',')[6];
  const blanks = [
    '\u00a0',
    '\u3000',
    '\ufeff',
    '\v',
    '\f',
    '\0',
    '\u0085',
    '\u200b',
    '\u2028',
    '\u202e',
    '\0 \u3000\v',
  ];
  for (const blank of blanks) {
    for (const operator of ['=', '+', '-', '@', '\uff1d', '\uff0b', '\uff0d', '\uff20']) {
      expect(labelIn(`${blank}${operator}1`)).toBe(`"'${blank}${operator}1"\r\n`);
    }
    if (blank !== '\0 \u3000\v') expect(labelIn(`${blank}1=`)).toBe(`"${blank}1="\r\n`);
  }
});

describe.each(KINDS)('%s', (kind) => {
  test.each([false, true])('CSV equals that of csv-stringify, with formulas escaped: %p', (safe) => {
    fc.assert(
      fc.property(fc.array(rowOf(kind), { maxLength: 8 }), (rows) => {
        const expected = referenceCsv(kind, rows, safe);
        const header = csvHeader(kind, safe);
        // the encoder replaces lone surrogates
        const wellFormed = expected.toWellFormed();
        expect(header + written(rows, maxCsvBytes, (parts, row) => writeCsv(parts, kind, row, safe))).toBe(wellFormed);
        expect(header + rows.map((row) => csvLine(kind, row, safe)).join('')).toBe(expected);
      }),
      { numRuns: 1_000 },
    );
  });

  test('NDJSON equals the JSON of pages', () => {
    fc.assert(
      fc.property(fc.array(rowOf(kind), { maxLength: 8 }), (rows) => {
        const expected = rows.map((row) => `${recordJson(kind, row)}\n`).join('');
        expect(written(rows, maxJsonBytes, (parts, row) => writeJson(parts, kind, row))).toBe(expected.toWellFormed());
      }),
      { numRuns: 1_000 },
    );
  });

  test('Parquet preserves every value, in row groups of any size, with exact statistics', async () => {
    const groups = fc.array(
      fc.oneof(
        fc.array(rowOf(kind), { maxLength: 8 }),
        // enough rows for dictionaries
        fc
          .array(rowOf(kind), { minLength: 1, maxLength: 300 })
          .map((rows) => Array.from({ length: 3 }, () => rows).flat()),
      ),
      { maxLength: 4 },
    );
    await fc.assert(
      fc.asyncProperty(groups, async (generated) => {
        // all times of a database are microseconds that INT64 represents, and no text has lone surrogates
        const rowGroups = generated.map((rows) =>
          rows.map((row) => ({
            ...row,
            user_id: row.user_id.toWellFormed(),
            name: row.name.toWellFormed(),
            label: row.label.toWellFormed(),
          })),
        );
        const bytes = parquetOf(kind, rowGroups);
        const rows = rowGroups.flat();
        const read = await parquetReadObjects({ file: bytes.buffer, parsers: RAW });
        const value = (row: RecordRow) => (typeof row.value === 'string' ? row.value.toWellFormed() : row.value);
        expect(read.map((row) => HEADERS[kind].map((name) => row[name]))).toEqual(
          rows.map((row) => [
            ...[row.id, row.user_id, BigInt(row.happened_at), BigInt(row.received_at), row.name],
            ...(kind === 'metric' ? [value(row), row.label] : [row.label, value(row)]),
          ]),
        );
        const { row_groups } = parquetMetadata(bytes.buffer);
        const nonEmpty = rowGroups.filter((group) => group.length > 0);
        expect(row_groups.map(({ num_rows }) => num_rows)).toEqual(nonEmpty.map(({ length }) => BigInt(length)));
        for (const [i, group] of nonEmpty.entries()) {
          const times = group.map(({ happened_at }) => happened_at);
          expect(row_groups[i]?.columns[2]?.meta_data?.statistics?.max_value as unknown).toEqual(
            new Date(Math.max(...times) / 1000),
          );
          const users = group.map(({ user_id }) => Buffer.from(user_id)).sort(Buffer.compare);
          const statistics = row_groups[i]?.columns[1]?.meta_data?.statistics;
          if (users.some(({ length }) => length > 256)) expect(statistics).toBeUndefined();
          else if (statistics?.is_min_value_exact)
            expect(String(statistics.min_value)).toBe(decoder.decode(users[0]).replace(/^\uFEFF/, '')); // hyparquet removes it;
        }
      }),
      { numRuns: 60 },
    );
  });
});

/** Leaves times as integers, and byte order marks in texts. */
const RAW = {
  timestampFromMicroseconds: (value: bigint) => value,
  stringFromBytes: (bytes: Uint8Array | undefined) => decoder.decode(bytes),
};

function parquetOf(kind: Kind, rowGroups: readonly (readonly RecordRow[])[]): Uint8Array<ArrayBuffer> {
  const file = new ParquetFile(kind);
  const parts: Uint8Array[] = [];
  for (const rows of rowGroups) {
    // as rows are added after each read
    for (let at = 0; at < rows.length; at += 250) file.add(rows.slice(at, at + 250));
    file.endGroup();
    parts.push(...file.take());
  }
  file.finish();
  parts.push(...file.take());
  return new Uint8Array(Buffer.concat(parts));
}
