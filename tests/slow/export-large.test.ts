import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance } from '@duckdb/node-api';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { createIdSource } from '../../src/ingest/ids.ts';
import type { LogRecord } from '../../src/records.ts';
import { openStorage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { type HttpResponse, send } from '../harness/client.ts';
import { NOTHING } from '../harness/commit.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Exports larger than one part of NDJSON and CSV (10,000 rows) and one row group of Parquet (50,000 rows), with values
 * and strings that often break file formats.
 */

const ROWS = 102_001;
const TEXTS = [
  'plain',
  '',
  ' ',
  '"',
  '""',
  'a,b',
  'a;b',
  'line\nfeed',
  'carriage\rreturn',
  'both\r\nof them',
  '\n',
  '\ttab',
  '=1+1',
  'x;=1+1',
  'x\t=1+1|=1+1 =1+1',
  'x";=1+1',
  ';=1+1;',
  '";=1+1;',
  '";"=1+1;"',
  ' =1+1 ',
  '|=1+1|',
  '\uff1d1+1',
  '+1',
  '-1',
  '@x',
  "'",
  '\ufeffmark',
  'nul\0nul',
  'ü\u0308 🦀 \u{10ffff} \u2028',
  'NULL',
  '\\N',
  '0123',
  '{"a":1}',
];
const VALUES = [0, 1, -1, 0.1, 5e-324, -1.7976931348623157e308, 2 ** 53 + 2, 1 / 3, 1e21, 123456.789, -1e-7];

const folder = temporaryFolder();
const dataDir = join(folder.path, 'data');
let target: Target;
let headers: Record<string, string>;
let duck: DuckDBConnection;
const stored: LogRecord[] = [];

beforeAll(async () => {
  const storage = openStorage(join(dataDir, 'rawlog.db'));
  const writer = createWriter(storage);
  let now = Date.UTC(2026, 0, 1);
  const nextId = createIdSource(() => now, 0);
  for (let i = 0; i < ROWS; i++) {
    if (i % 1000 === 0) now++;
    const happenedAt = Date.UTC(1700, 0, 1) * 1000 + i * 80_000_000_001;
    const stamp = { ...nextId(), userId: `user ${i % 3}`, happenedAt, receivedAt: now * 1000 };
    const [text = '', other = ''] = [TEXTS[i % TEXTS.length], TEXTS[(i >> 3) % TEXTS.length]];
    if (i % 2 === 0) {
      const metricValue = VALUES[i % VALUES.length] as number;
      stored.push({ kind: 'metric', ...stamp, metricName: text || 'm', metricValue, dataString: other || 'd' });
    } else {
      const data = JSON.stringify({ [text]: other, i });
      stored.push({ kind: 'analytics', ...stamp, type: text, dataIndex: other, data });
    }
  }
  for (let i = 0; i < stored.length; i += 4000) await writer.commit({ ...NOTHING, records: stored.slice(i, i + 4000) });
  storage.close();
  target = await startTarget(UNLIMITED, { dataDir });
  headers = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
  duck = await (await DuckDBInstance.create(':memory:')).connect();
});
afterAll(async () => {
  duck.closeSync();
  await target.stop();
  folder[Symbol.dispose]();
});

const get = (address: string): Promise<HttpResponse> => send(target.url + address, { headers });
const timeOf = (text: string) => Number(Temporal.Instant.from(text).epochNanoseconds / 1000n);

/** Returns the fields of a record in column order. */
function fieldsOf(record: LogRecord): (string | number)[] {
  const { id, userId, happenedAt, receivedAt } = record;
  const head = [id, userId, happenedAt, receivedAt];
  return record.kind === 'metric'
    ? [...head, record.metricName, record.metricValue, record.dataString]
    : [...head, record.type, record.dataIndex, record.data];
}

const LABEL = { metrics: 'data_string', analytics: 'data_index' } as const;
const HEADERS = {
  metrics: ['id', 'user_id', 'timestamp', 'received_at', 'metric_name', 'metric_value', 'data_string'],
  analytics: ['id', 'user_id', 'timestamp', 'received_at', 'type', 'data_index', 'data'],
} as const;

describe.each(['metrics', 'analytics'] as const)('export of %s', (kind) => {
  const expected = () => stored.filter((record) => (record.kind === 'metric') === (kind === 'metrics')).map(fieldsOf);

  test('NDJSON contains every row once, in commit order and exact to the bit', async () => {
    const { text } = await get(`/api/export/${kind}`);
    expect(text.endsWith('\n')).toBe(true);
    const rows = text
      .slice(0, -1)
      .split('\n')
      .map((line) => {
        const { timestamp, received_at, ...row } = JSON.parse(line);
        const { id, user_id, ...kindColumns } = row;
        const values = Object.values(kindColumns).map((value) =>
          typeof value === 'object' ? JSON.stringify(value) : value,
        );
        return [id, user_id, timeOf(timestamp), timeOf(received_at), ...values];
      });
    expect(isSame(rows, expected())).toBe(true);
  });

  test('CSV contains the same rows, and quotes fields that contain commas, quotes or line breaks', async () => {
    const { text, headers: responseHeaders } = await get(`/api/export/${kind}?format=csv`);
    expect(responseHeaders.get('content-type')).toBe('text/csv; charset=utf-8; header=present');
    const [first, ...lines] = parse(text, { record_delimiter: '\r\n' }) as string[][];
    expect(first).toEqual([...HEADERS[kind]]);
    const rows = lines.map(([id, user, timestamp = '', received = '', name, value, last]) => {
      const kindColumns = kind === 'metrics' ? [name, Number(value), last] : [name, value, last];
      return [id, user, timeOf(timestamp), timeOf(received), ...kindColumns];
    });
    expect(isSame(rows, expected())).toBe(true);
    // RFC 4180: outside of quotes, a line break only ends a record
    const outside = text.replaceAll(/"(?:[^"]|"")*"/g, '').replaceAll('\r\n', '');
    expect(outside).not.toMatch(/[\r\n"]/);
  });

  test('Parquet contains the same rows in several row groups, with both readers', async () => {
    const response = await fetch(`${target.url}/api/export/${kind}?format=parquet`, { headers });
    const bytes = await response.bytes();
    const path = join(folder.path, `${kind}.parquet`);
    await Bun.write(path, bytes);
    const [, , , , ...kindColumns] = HEADERS[kind];
    // as bytes, because the decoders of both readers drop a leading byte order mark
    const columns = kindColumns.map((name) => (name === 'metric_value' ? name : `hex("${name}")`));
    const read = await duck.runAndReadAll(
      `SELECT id, user_id, epoch_us("timestamp")::DOUBLE, epoch_us(received_at)::DOUBLE, ${columns}
       FROM read_parquet('${path}')`,
    );
    const decoded = read
      .getRows()
      .map((row) => [
        ...row.slice(0, 4),
        ...row.slice(4).map((value) => (typeof value === 'string' ? Buffer.from(value, 'hex').toString() : value)),
      ]);
    expect(isSame(decoded, expected())).toBe(true);
    const groups = await duck.runAndReadAll(`SELECT DISTINCT row_group_id FROM parquet_metadata('${path}')`);
    expect(groups.getRows().length).toBe(2);
    const rows = await parquetReadObjects({ file: bytes.buffer as ArrayBuffer });
    const values = rows.map((row) => {
      return HEADERS[kind].map((name) => (row[name] instanceof Date ? row[name].getTime() : row[name]));
    });
    const readable = expected().map(([id, user, happened, received, ...fields]) => {
      // a Date only has milliseconds
      const times = [happened, received].map((value) => Math.trunc(Number(value) / 1000));
      return [
        id,
        user,
        ...times,
        ...fields.map((value) => (typeof value === 'string' ? value.replace(/^\ufeff/, '') : value)),
      ];
    });
    expect(isSame(values, readable)).toBe(true);
  });

  test('every format is valid without rows', async () => {
    const none = kind === 'metrics' ? 'name=no+such+name' : 'type=no+such+type';
    expect((await get(`/api/export/${kind}?${none}`)).text).toBe('');
    expect((await get(`/api/export/${kind}?${none}&format=csv`)).text).toBe(`${HEADERS[kind].join(',')}\r\n`);
    const response = await fetch(`${target.url}/api/export/${kind}?${none}&format=parquet`, { headers });
    const path = join(folder.path, 'none.parquet');
    await Bun.write(path, await response.bytes());
    const read = await duck.runAndReadAll(`SELECT * FROM read_parquet('${path}')`);
    expect(read.columnNames()).toEqual([...HEADERS[kind]]);
    expect(read.getRows()).toEqual([]);
    expect(await parquetReadObjects({ file: await Bun.file(path).arrayBuffer() })).toEqual([]);
  });

  test('an export resumes after any row without gaps', async () => {
    const { text } = await get(`/api/export/${kind}`);
    const lines = text.split('\n');
    const count = lines.length - 1;
    for (const at of [0, 9_999, 10_000, 49_999, count - 1]) {
      const { id } = JSON.parse(lines[at] as string);
      expect((await get(`/api/export/${kind}?after=${id}`)).text === lines.slice(at + 1).join('\n')).toBe(true);
    }
    // after an ID that no row has, and with a filter
    const before = '01000000-0000-7000-8000-000000000000';
    expect((await get(`/api/export/${kind}?after=${before}`)).text === text).toBe(true);
    expect((await get(`/api/export/${kind}?after=ffffffff-ffff-7fff-bfff-ffffffffffff`)).text).toBe('');
    const { id } = JSON.parse(lines[30_000] as string);
    const remaining = lines.slice(30_001).filter((line) => line.includes('"user_id":"user 1"'));
    const filtered = await get(`/api/export/${kind}?after=${id}&user_id=user+1`);
    expect(filtered.text === remaining.map((line) => `${line}\n`).join('')).toBe(true);
  });

  test('filters select the same rows as on the pages', async () => {
    const query = `user_id=user+2&from=1900-01-01T00:00:00Z&to=1920-06-01T00:00:00Z&${LABEL[kind]}=%3D1%2B1`;
    const { body } = await get(`/api/records/${kind}?${query}&limit=1000`);
    expect(body.records.length).toBeGreaterThan(3);
    const { text } = await get(`/api/export/${kind}?${query}`);
    const exported = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(exported).toEqual(body.records.toReversed());
  });

  test('pages of filtered rows respect their limit, however far apart the rows are', async () => {
    const query = `user_id=user+2&${LABEL[kind]}=%3D1%2B1`;
    const exported = (await get(`/api/export/${kind}?${query}`)).text.trimEnd().split('\n');
    expect(exported.length).toBeGreaterThan(300);
    const seen: unknown[] = [];
    for (let cursor = ''; ; ) {
      const { body } = await get(`/api/records/${kind}?${query}&limit=400${cursor}`);
      expect(body.records.length).toBeLessThanOrEqual(400);
      seen.push(...body.records);
      if (body.next_cursor === null) break;
      cursor = `&cursor=${body.next_cursor}`;
    }
    expect(seen).toEqual(exported.map((line) => JSON.parse(line)).reverse());
  });
});

test('formulas=escape leaves no field that starts a formula, and keeps numbers unchanged', async () => {
  const { text } = await get('/api/export/metrics?format=csv&formulas=escape');
  const [, ...rows] = parse(text, { record_delimiter: '\r\n' }) as string[][];
  const plain = parse((await get('/api/export/metrics?format=csv')).text, { record_delimiter: '\r\n' }) as string[][];
  expect(rows.map((row) => row[5])).toEqual(plain.slice(1).map((row) => row[5]));
  for (const [i, row] of rows.entries()) {
    for (const place of [1, 4, 6]) {
      expect(row[place]).not.toMatch(/^[=+\-@\t\r]/);
      if (row[place] !== plain[i + 1]?.[place]) expect(row[place]).toBe(`'${plain[i + 1]?.[place]}`);
    }
  }
});

test('formulas=escape leaves no formula for a spreadsheet with any separator', async () => {
  const { text } = await get('/api/export/metrics?format=csv&formulas=escape');
  for (const separator of [',', ';', '\t', ' ', '|', ':']) {
    const cells = cellsOf(text, separator).filter((cell) => Number.isNaN(Number(cell)));
    expect(cells.filter((cell) => /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(cell))).toEqual([]);
  }
});

/**
 * Splits CSV like LibreOffice Calc: a quote at the start of a field opens it, a doubled quote is a literal quote, and
 * a single quote closes the field only before a separator or a line break.
 */
function cellsOf(text: string, separator: string): string[] {
  const ends = (at: number) => at >= text.length || text[at] === separator || text.startsWith('\r\n', at);
  const spacesAt = (at: number) => /^ */.exec(text.slice(at, at + 100))?.[0].length ?? 0;
  const cells: string[] = [];
  for (let at = 0; at < text.length; at++) {
    let cell = '';
    if (text[at] === '"') {
      for (at++; at < text.length; at++) {
        if (text[at] !== '"') cell += text[at];
        else if (text[at + 1] === '"') cell += text[at++];
        else if (ends(at + 1) || ends(at + 1 + spacesAt(at + 1))) break;
        else cell += '"';
      }
      at++;
    }
    for (; !ends(at); at++) cell += text[at];
    cells.push(cell);
    if (text[at] === '\r') at++;
  }
  return cells;
}

test.each(['ndjson', 'csv', 'parquet'])('a canceled %s export does not affect the server', async (format) => {
  const whole = await get(`/api/export/metrics?format=${format}`);
  const address = `${target.url}/api/export/metrics?format=${format}`;
  await Promise.all(
    Array.from({ length: 6 }, async (_, i) => {
      const abort = new AbortController();
      const response = await fetch(address, { headers, signal: abort.signal });
      const reader = response.body?.getReader();
      await reader?.read();
      if (i % 2 === 0) await reader?.cancel();
      else abort.abort();
    }),
  );
  expect((await get(`/api/export/metrics?format=${format}`)).text === whole.text).toBe(true);
  expect((await get('/api/metrics')).status).toBe(200);
  expect(target.logLines().filter(({ level }) => level === 'error')).toEqual([]);
});

/** Returns whether two tables are equal, value by value; -0 is not 0. */
function isSame(actual: readonly (readonly unknown[])[], expected: readonly (readonly unknown[])[]): boolean {
  const at = expected.findIndex((row, i) => !row.every((value, k) => Object.is(value, actual[i]?.[k])));
  if (at >= 0) expect(actual[at]).toEqual([...(expected[at] as unknown[])]);
  return at < 0 && actual.length === expected.length;
}
