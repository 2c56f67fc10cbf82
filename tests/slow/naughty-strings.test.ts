import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import naughtyStrings from 'big-list-of-naughty-strings';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { DEFAULT_PARSERS } from 'hyparquet/src/convert.js';
import { expectError, post, type Row, rows, send } from '../harness/client.ts';
import { rawRequest } from '../harness/raw-http.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { base64url, goodClaims, token } from '../harness/tokens.ts';

/*
 * Sends the Big List of Naughty Strings (https://github.com/minimaxir/big-list-of-naughty-strings), and more of the
 * same kinds, in every string field. Each string is returned unchanged by every route and file and is found by its
 * exact text. Strings that cannot be stored are rejected with 422.
 */

const EXTRA = [
  ...Array.from({ length: 0xa0 }, (_, code) => String.fromCharCode(code)),
  ...[
    'a\0',
    '\0a',
    'a\0b',
    'a\0c',
    '\0\0',
    '\r',
    '\r\n',
    '\n',
    'a\rb',
    '\u2028',
    '\u2029',
    'a\u2028b',
    '\u200b',
    '\u2060',
  ],
  ...[' a', 'a ', ' a ', '\ta', 'a\t', '\u00a0a', 'a\u00a0', '\u3000', '\ufeff', '\ufeffa', 'a\ufeff', '\ufeff\ufeffa'],
  ...['é', 'e\u0301', 'Å', 'Å', 'ﬁ', 'fi', 'ß', 'SS', 'ſ', 'İ', 'ı', 'I', 'i', 'A', 'a', 'à', 'ａ', '١', '１'],
  ...[
    '\ufffd',
    '\ufffe',
    '\uffff',
    '\ufdd0',
    '\ue000',
    '\u{ffff}',
    '\u{10000}',
    '\u{1f600}',
    '\u{e0001}',
    '\u{10ffff}',
  ],
  ...['👩‍👩‍👧‍👦', '👍🏿', '🇩🇪', '\u202eabc', '\u2066abc\u2069', 'ᄀ'.repeat(50), `e${'\u0301'.repeat(500)}`],
  ...['__proto__', 'constructor', 'prototype', 'toString', 'toJSON', 'valueOf', 'hasOwnProperty', 'length', 'then'],
  ...['0', '-0', '00', '1', '1.0', '01', '10', '9', '4294967294', '4294967295', '12345678901234567890', '1e400', '1e2'],
  ...[
    'NaN',
    'Infinity',
    'null',
    'NULL',
    'undefined',
    'true',
    'False',
    '{}',
    '[]',
    '""',
    '"',
    "'",
    '\\',
    '\\"',
    '\\u0000',
  ],
  ...[
    '"a"',
    'a"',
    '"a',
    "a''b",
    'a,b',
    ',',
    ';',
    'a;b',
    'a|b',
    '=1+1',
    '+1',
    '-1',
    '@a',
    '\\N',
    '\\.',
    '--',
    '/*',
    '%',
    '_',
  ],
  ...[
    '%00',
    '%ff',
    '%25',
    '+',
    'a+b',
    'a b',
    '&',
    'a&b=c',
    '=',
    'a=b',
    '?',
    '?a',
    '??',
    '#',
    '#a',
    '/',
    '..',
    '../..',
    'a:b',
  ],
  ...['$', '$.a', '$1', '$&', '{{a}}', '<b>', ']]>', '<!--', '*', 'a*', '[a-z]', '(', 'data.a', 'a.b', 'a\\.b'],
  ...[
    'other',
    'all',
    'name',
    'none',
    'default',
    'id',
    'data',
    'metrics',
    'count',
    'main.metrics',
    'rowid',
    'sqlite_master',
  ],
];
const TEXTS = [...new Set([...naughtyStrings, ...EXTRA])];
const LONGEST_NAMES = ['x'.repeat(1024), '😀'.repeat(512), '\0'.repeat(1024), '"'.repeat(1024)];
const LONGEST_LABELS = ['x'.repeat(8192), '東'.repeat(8192), '\n'.repeat(8192), '\\'.repeat(8192)];
/** Strings that are valid names. The empty string is tested separately, because only types may be empty. */
const NAMES = [...TEXTS, ...LONGEST_NAMES].filter((text) => text !== '');
/** Returns the label for a name: the same string, or one of the longest labels for the longest names. */
const labelOf = (i: number) => LONGEST_LABELS[i - (NAMES.length - LONGEST_LABELS.length)] ?? (NAMES[i] as string);
const LABELS = NAMES.map((_, i) => labelOf(i));
/** Returns whether a text is a valid user ID: 1 to 255 code points, none of them a control character. */
const isUser = (text: string) => [...text].length <= 255 && text !== '' && !/\p{Cc}/u.test(text);
const VALID_USERS = TEXTS.filter(isUser);
const INVALID_USERS = [...TEXTS, ...LONGEST_NAMES].filter((text) => !isUser(text));

/** Returns data with a text as keys and values at every level. */
function dataOf(text: string): unknown {
  const object = JSON.parse(`{"b":0,${JSON.stringify(text)}:1}`);
  return { list: [text, [text]], text, object, [`${text}${text}`]: { a: { [`_${text}`]: text } } };
}

let target: Target;
let admin: { authorization: string };
beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, MAX_NAMES_PER_USER: '10000' });
  admin = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
});
afterAll(() => target.stop());

/** The records sent, by ID. */
const sent = { metrics: new Map<string, Row>(), analytics: new Map<string, Row>() };
type Kind = keyof typeof sent;
const KINDS = ['metrics', 'analytics'] as const;

/** Runs an action for every item, 16 at a time; more would only wait in queues. */
async function forEachConcurrently<T>(items: readonly T[], act: (item: T, i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const work = async () => {
    while (next < items.length) {
      const i = next++;
      await act(items[i] as T, i);
    }
  };
  await Promise.all(Array.from({ length: 16 }, work));
}

/** Records a batch and adds its items to {@link sent}. */
async function recordBatch(batch: { metrics?: Row[]; analytics?: Row[] }, sub = 'root'): Promise<void> {
  const { status, body } = await post(target, '/log_batch', batch, admin);
  expect({ status, detail: body.detail }).toEqual({ status: 200, detail: undefined });
  for (const kind of KINDS) {
    const label = kind === 'metrics' ? { data_string: '' } : { data_index: '' };
    for (const [i, item] of (batch[kind] ?? []).entries()) {
      sent[kind].set(body[kind][i], { user_id: sub, ...label, ...item });
    }
  }
}

/** Returns a different time for each item, because the items become the steps of a funnel. */
const secondOf = (i: number) => new Date(Date.UTC(2026, 0, 1) + i * 1000).toISOString();

describe('every valid string', () => {
  test('is stored in batches as names, labels, keys and values', async () => {
    const metrics = NAMES.map((metric_name, i) => ({ metric_name, metric_value: i, data_string: labelOf(i) }));
    const analytics = NAMES.map((type, i) => ({ type, data_index: labelOf(i), data: dataOf(type) }));
    for (let at = 0; at < NAMES.length; at += 400) {
      await recordBatch({ metrics: metrics.slice(at, at + 400), analytics: analytics.slice(at, at + 400) });
    }
    await recordBatch({
      metrics: NAMES.map((_, i) => ({ metric_name: 'grouped', metric_value: i, data_string: labelOf(i) })),
    });
    await recordBatch({
      analytics: [
        ...NAMES.map((_, i) => ({ type: 'grouped', data: {}, data_index: labelOf(i), timestamp: secondOf(i) })),
        { type: '', data: {} },
      ],
    });
  });

  test('is stored in batches as user IDs', async () => {
    const metric = { metric_name: 'by user', metric_value: 1, data_string: 'a' };
    await recordBatch({ metrics: VALID_USERS.map((user_id) => ({ ...metric, user_id })) });
    await recordBatch({ analytics: VALID_USERS.map((user_id) => ({ type: 'by user', data: {}, user_id })) });
  });

  test('is stored by the single-record routes as the user of a token', () =>
    forEachConcurrently(VALID_USERS, async (sub) => {
      const headers = { authorization: `Bearer ${await token({ sub })}` };
      const metric = { metric_name: sub, metric_value: 1, data_string: sub };
      const event = { type: sub, data: dataOf(sub), data_index: sub };
      const responses = [
        await post(target, '/log_raw_metric', metric, headers),
        await post(target, '/log_raw_analytics', event, headers),
      ];
      expect(responses.map(({ status }) => status)).toEqual([200, 200]);
      sent.metrics.set(responses[0]?.body, { user_id: sub, ...metric });
      sent.analytics.set(responses[1]?.body, { user_id: sub, ...event });
    }));

  /** User IDs without outer spaces, which are not part of a header value. */
  const inHeader = VALID_USERS.filter((user) => !/^ | $/.test(user));
  test('is stored as the user in X-Act-As-User-Id, in UTF-8', () =>
    forEachConcurrently(inHeader, async (user_id) => {
      const metric = { metric_name: 'by header', metric_value: 1, data_string: 'a' };
      const response = await actAs(Buffer.from(user_id).toString('latin1'), metric);
      expect(response).toMatch(/^HTTP\/1.1 200 /);
      sent.metrics.set(/"([\w-]{36})"$/.exec(response.trimEnd())?.[1] ?? '', { user_id, ...metric });
    }));
});

/** Sends a metric with a raw X-Act-As-User-Id, one byte per character. */
async function actAs(bytes: string, metric: object): Promise<string> {
  const body = JSON.stringify(metric);
  const head = [
    'POST /log_raw_metric HTTP/1.1',
    'Host: x',
    'Connection: close',
    `Authorization: ${admin.authorization}`,
  ];
  return rawRequest(target.url, [...head, `X-Act-As-User-Id: ${bytes}`, `Content-Length: ${body.length}`, '', body], {
    encoding: 'latin1',
  });
}

describe('every invalid string', () => {
  const HALVES = ['\ud800', '\udfff', 'a\ud83d', '\ude00b', '\ud800\ud800', '\udc00\ud800', '\0\udbff'];
  const METRIC = { metric_name: 'a', metric_value: 1, data_string: 'a' };
  const EVENT = { type: 'a', data: {}, data_index: 'a' };
  const inMetric = (field: string, texts: readonly string[]) =>
    texts.map((text) => ({ kind: 'metrics', field, item: { ...METRIC, [field]: text } }));
  const inEvent = (field: string, texts: readonly string[]) =>
    texts.map((text) => ({ kind: 'analytics', field, item: { ...EVENT, [field]: text } }));
  const longer = (texts: readonly string[]) => texts.map((text) => `${text}x`);
  const rejected: { kind: string; field: string; item: object }[] = [
    ...inMetric('metric_name', [...HALVES, ...longer(LONGEST_NAMES), '']),
    ...inMetric('data_string', [...HALVES, ...longer(LONGEST_LABELS), '']),
    ...inMetric('metric_value', TEXTS),
    ...inMetric('timestamp', TEXTS),
    ...inMetric('user_id', [...HALVES, ...INVALID_USERS]),
    ...inEvent('type', [...HALVES, ...longer(LONGEST_NAMES)]),
    ...inEvent('data_index', [...HALVES, ...longer(LONGEST_LABELS)]),
    ...inEvent('data', TEXTS),
    ...inEvent('user_id', [...HALVES, ...INVALID_USERS]),
  ];

  test('is rejected in every field, together with its batch', async () => {
    const before = KINDS.map((kind) => rows(target, kind).length);
    for (const kind of KINDS) {
      const items = rejected.filter((row) => row.kind === kind);
      // a response lists at most 64 issues
      for (let at = 0; at < items.length; at += 64) {
        const some = items.slice(at, at + 64);
        const batch = { metrics: [METRIC], analytics: [EVENT], [kind]: some.map(({ item }) => item) };
        const response = await post(target, '/log_batch', batch, admin);
        expectError(response, 422, 'validation_failed');
        const places = response.body.detail.map(({ loc }: { loc: unknown }) => loc);
        expect(places).toEqual(some.map(({ field }, i) => ['body', kind, i, field]));
      }
    }
    expect(KINDS.map((kind) => rows(target, kind).length)).toEqual(before);
  });

  test('is rejected in X-Act-As-User-Id, unless a header cannot contain it', async () => {
    // CR, LF and NUL end or corrupt a header, for which Bun's HTTP server returns 400
    const carried = INVALID_USERS.filter((user) => !/[\0\r\n]|^[ \t]|[ \t]$/.test(user) && user !== '');
    await forEachConcurrently(carried, async (user) => {
      const response = await actAs(Buffer.from(user).toString('latin1'), METRIC);
      expect({ user, status: response.split(' ')[1] }).toEqual({ user, status: expect.stringMatching(/^4(00|22)$/) });
    });
  });

  test('is rejected with 401 as the subject of a token', async () => {
    const record = async (bearer: string) => {
      const response = await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${bearer}` });
      expectError(response, 401, 'unauthorized');
    };
    await forEachConcurrently([...INVALID_USERS, ...HALVES], async (sub) => record(await token({ sub })));
    // bytes that are not UTF-8: once decoded, they would all be the same user
    for (const sub of ['a\xff', 'a\xe9', '\xed\xa0\x80']) {
      const claims = Buffer.from(JSON.stringify(goodClaims({ sub })), 'latin1').toString('base64url');
      const signed = `${base64url({ alg: 'HS256' })}.${claims}`;
      await record(`${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`);
    }
  });
});

describe('every stored string', () => {
  /** Compares records with those sent, ignoring times. */
  function expectAsSent(kind: Kind, records: readonly Row[]): void {
    const different = records.flatMap(({ id, timestamp: _, received_at: __, ...record }) => {
      const expected = sent[kind].get(String(id));
      const fields =
        kind === 'metrics' ? ['metric_name', 'metric_value', 'data_string'] : ['type', 'data_index', 'data'];
      const isSame = ['user_id', ...fields].every(
        (field) => JSON.stringify(record[field]) === JSON.stringify(expected?.[field]),
      );
      return isSame ? [] : [{ record, expected }];
    });
    expect(different).toEqual([]);
    expect(records.map(({ id }) => id).sort()).toEqual([...sent[kind].keys()].sort());
  }
  const withData = (record: Row): Row =>
    'data' in record ? { ...record, data: JSON.parse(String(record['data'])) } : record;
  const exported = (kind: Kind, format: string) =>
    fetch(`${target.url}/api/export/${kind}?format=${format}`, { headers: admin });
  const lines = (text: string): Row[] => {
    expect(text.endsWith('\n')).toBe(true);
    return text
      .slice(0, -1)
      .split('\n')
      .map((line) => JSON.parse(line));
  };
  const readCsv = (text: string): Row[] => {
    const records: Record<string, string>[] = parse(text, { columns: true, record_delimiter: '\r\n' });
    return records
      .map((record) => ({
        ...record,
        ...('metric_value' in record && { metric_value: Number(record['metric_value']) }),
      }))
      .map(withData);
  };

  test.each(KINDS)('is unchanged on the record pages of %s', async (kind) => {
    const records: Row[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const more: string = cursor === '' ? '' : `&cursor=${cursor}`;
      const { body } = await send(`${target.url}/api/records/${kind}?limit=1000${more}`, { headers: admin });
      records.push(...body.records);
      cursor = body.next_cursor;
    }
    expectAsSent(kind, records);
  });

  test.each(KINDS)('is unchanged in NDJSON of %s', async (kind) => {
    expectAsSent(kind, lines(await (await exported(kind, 'ndjson')).text()));
  });

  test.each(KINDS)('is unchanged in CSV of %s', async (kind) => {
    expectAsSent(kind, readCsv(await (await exported(kind, 'csv')).text()));
  });

  test.each(KINDS)('is unchanged in Parquet of %s, with hyparquet and DuckDB', async (kind) => {
    using folder = temporaryFolder();
    const file = await (await exported(kind, 'parquet')).bytes();
    expectAsSent(kind, await readParquet(file));
    const path = join(folder.path, 'file.parquet');
    await Bun.write(path, file);
    const duck = await (await DuckDBInstance.create(':memory:')).connect();
    const name = kind === 'metrics' ? 'metric_name' : 'type';
    // prefixed with a letter, because the package drops a leading byte order mark
    const texts = ['user_id', name, ...(kind === 'metrics' ? ['data_string'] : ['data_index'])];
    const columns = texts.map((column) => `'x' || ${column} AS ${column}`);
    const kindColumn = kind === 'metrics' ? 'metric_value' : 'data';
    const read = await duck.runAndReadAll(`SELECT id, ${kindColumn}, ${columns} FROM '${path}'`);
    const unmarked = (record: Row): Row => ({
      ...record,
      ...Object.fromEntries(texts.map((column) => [column, String(record[column]).slice(1)])),
    });
    expectAsSent(kind, (read.getRowObjects() as Row[]).map(unmarked).map(withData));
    // readers skip rows by the smallest and the largest string of a column, in UTF-8 order
    const found = await duck.prepare(`SELECT count(*)::INT FROM '${path}' WHERE ${name} = $1`);
    for (const text of ['\0', '\ufeff', '\ue000', '\uffff', '\u{10000}', '\u{10ffff}']) {
      found.bindVarchar(1, text);
      expect((await found.runAndReadAll()).getRows()).toEqual([[sentWith(kind, name, text)]]);
    }
  });

  async function readParquet(file: Uint8Array): Promise<Row[]> {
    const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
    const parsers = { ...DEFAULT_PARSERS, stringFromBytes: (bytes: Uint8Array) => decoder.decode(bytes) };
    return (await parquetReadObjects({ file: file.buffer as ArrayBuffer, parsers })).map(withData);
  }

  test('is unchanged by rawlog export, and by rawlog import into a new database', async () => {
    using folder = temporaryFolder();
    const path = (name: string) => join(folder.path, name);
    const run = async (args: string[], dataDir = path('imported')) => {
      const { exitCode, stdout, stderr } = await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
      expect({ args, exitCode, stderr: exitCode === 0 ? '' : stderr }).toEqual({ args, exitCode: 0, stderr: '' });
      return stdout;
    };
    await run(['export', path('first')], target.dataDir);
    const first = readFileSync(path('first'), 'utf8');
    const records = lines(first);
    expectAsSent(
      'metrics',
      records.filter((record) => 'metric_name' in record),
    );
    expectAsSent(
      'analytics',
      records.filter((record) => 'type' in record),
    );
    expect(await run(['import', path('first')])).toStartWith(`Imported ${records.length} records; 0 `);
    for (const kind of KINDS) {
      expect(rows({ databasePath: join(path('imported'), 'rawlog.db') }, kind)).toEqual(rows(target, kind));
    }
    await Promise.all([run(['export', path('second')]), run(['verify'])]);
    expect(readFileSync(path('second'), 'utf8') === first).toBe(true);
  });
});

/** Returns how many records were sent with a text in a field. */
function sentWith(kind: Kind, field: string, text: string): number {
  counted[`${kind}.${field}`] ??= Map.groupBy(sent[kind].values(), (record) => record[field]);
  return counted[`${kind}.${field}`]?.get(text)?.length ?? 0;
}
const counted: Record<string, Map<unknown, Row[]>> = {};

describe('every string in queries', () => {
  const get = async (path: string, query: Record<string, string | string[]> = {}) => {
    const pairs = Object.entries(query).flatMap(([name, values]) =>
      [values].flat().map((value) => `${name}=${encodeURIComponent(value)}`),
    );
    const { status, body } = await send(`${target.url}${path}?${pairs.join('&')}`, { headers: admin });
    expect({ pairs, status }).toEqual({ pairs, status: 200 });
    return body;
  };
  /** Indexes of the names that fit into a URL together with their labels. */
  const places = NAMES.map((_, i) => i).filter((i) => encodeURIComponent(`${NAMES[i]}${labelOf(i)}`).length < 12_000);

  test('is listed as a name', async () => {
    const counts = (list: Row[], field: string) => list.map((row) => [row[field], row['count']]).sort();
    const expected = (kind: Kind, field: string) =>
      [...new Set([...sent[kind].values()].map((record) => String(record[field])))]
        .map((text) => [text, sentWith(kind, field, text)])
        .sort();
    const { metrics } = await get('/api/metrics');
    expect(counts(metrics, 'name')).toEqual(expected('metrics', 'metric_name'));
    const { types } = await get('/api/analytics');
    expect(counts(types, 'type')).toEqual(expected('analytics', 'type'));
  });

  test('is returned as a separate group', async () => {
    const series = await get('/api/metrics/series', { name: 'grouped', group_by: 'data_string', top: '1000' });
    const sums = series.groups.map((group: Row) => [group['data_string'], group['sum']]);
    expect(sums.sort()).toEqual(LABELS.map((label, i) => [label, i]).sort());
    const counts = await get('/api/analytics/counts', { type: 'grouped', group_by: 'data_index', top: '1000' });
    const labels = counts.groups.map((group: Row) => [group['data_index'], group['count']]);
    expect(labels.sort()).toEqual(LABELS.map((label) => [label, 1]).sort());
  });

  test('is found exactly, as a name with its label', () =>
    forEachConcurrently(places, async (i) => {
      const text = NAMES[i] as string;
      const series = await get('/api/metrics/series', { name: text, data_string: labelOf(i) });
      const counts = await get('/api/analytics/counts', { type: text, data_index: labelOf(i) });
      const both = { metrics: sentWith('metrics', 'metric_name', text), events: sentWith('analytics', 'type', text) };
      expect({ text, metrics: series.count, events: counts.count }).toEqual({ text, ...both });
    }));

  test('is found as a label of records', () =>
    forEachConcurrently(places, async (i) => {
      const [kind, query] =
        i % 2 === 0
          ? ['metrics', { name: 'grouped', data_string: labelOf(i) }]
          : ['analytics', { type: 'grouped', data_index: labelOf(i) }];
      const { records } = await get(`/api/records/${kind}`, query);
      const { name: metric_name, ...found } = query;
      expect(records).toMatchObject([metric_name === undefined ? found : { ...found, metric_name, metric_value: i }]);
    }));

  test('is found as a user', () =>
    forEachConcurrently(VALID_USERS, async (user_id) => {
      const series = await get('/api/metrics/series', { name: 'by user', user_id });
      expect({ user_id, count: series.count }).toEqual({ user_id, count: 1 });
    }));

  test('is found as a step of a funnel', async () => {
    const labels = LABELS.filter((label) => label.length < 1000);
    for (let at = 0; at < labels.length - 1; at += 19) {
      // the last step of each funnel is the first of the next
      const step = labels.slice(at, at + 20);
      const { steps } = await get('/api/analytics/funnel', { type: 'grouped', step });
      expect(steps).toMatchObject(step.map((label) => ({ step: label, users: 1 })));
    }
  });

  test('is found as the type and label of a step, with colons and backslashes of the type escaped', () =>
    forEachConcurrently(places, async (i) => {
      const type = NAMES[i] as string;
      const step = `${type.replaceAll(/[\\:]/g, '\\$&')}:${labelOf(i)}`;
      if (encodeURIComponent(step).length > 6_000) return;
      const { steps } = await get('/api/analytics/funnel', { step: [step, step] });
      const events = [...sent.analytics.values()].filter(
        (row) => row['type'] === type && row['data_index'] === labelOf(i),
      );
      const users = new Set(events.map((row) => row['user_id'])).size;
      expect(steps[0]).toMatchObject({ step, type, data_index: labelOf(i), users });
    }));
});
