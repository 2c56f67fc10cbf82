import { afterAll, beforeAll, expect, test } from 'bun:test';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import { parse } from 'csv-parse/sync';
import { parquetReadObjects } from 'hyparquet';
import { expectError, post, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

let target: Target;
let headers: Record<string, string>;
const LABELS = ['plain', 'a "quoted", text', 'two\r\nlines', '=1+1', '@cmd', '-2', 'äöü 日本 🎉', "it's", ' '];

beforeAll(async () => {
  target = await startTarget({ ...UNLIMITED, JWT_VIEWER_ROLES: 'viewer' });
  headers = { authorization: `Bearer ${await token()}` };
  await post(target, '/log_batch', {
    metrics: LABELS.map((data_string, i) => ({
      metric_name: 'm',
      metric_value: [0.1, -1.5e300, 5e-324, 3, -0.25][i % 5],
      data_string,
      timestamp: `2026-03-0${i + 1}T12:00:00.12345${i}Z`,
    })),
    analytics: LABELS.map((data_index) => ({ type: 't', data_index, data: { [data_index]: [1, null, { a: 'b' }] } })),
  });
});
afterAll(() => target.stop());

const get = (address: string) => send(target.url + address, { headers });
const recordsOf = async (kind: string) => (await get(`/api/records/${kind}?limit=1000`)).body.records.reverse();
const lines = (text: string) =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

test('NDJSON contains every record in the format of the pages, oldest first', async () => {
  for (const kind of ['metrics', 'analytics']) {
    const { text, headers: responseHeaders } = await get(`/api/export/${kind}`);
    expect(responseHeaders.get('content-type')).toBe('application/x-ndjson');
    expect(responseHeaders.get('content-disposition')).toBe(`attachment; filename="${kind}.ndjson"`);
    expect(lines(text)).toEqual(await recordsOf(kind));
  }
});

test('exports in every format are attachments in a sandbox', async () => {
  for (const kind of ['metrics', 'analytics']) {
    for (const format of ['ndjson', 'csv', 'parquet']) {
      const response = await get(`/api/export/${kind}?format=${format}`);
      expect(response.status).toBe(200);
      expect(response.headers.get('content-disposition')).toBe(`attachment; filename="${kind}.${format}"`);
      expect(response.headers.get('content-security-policy')).toBe("sandbox; default-src 'none'");
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
    }
  }
});

test('NDJSON resumes after any record', async () => {
  const all = (await get('/api/export/metrics')).text;
  for (const [i, { id }] of lines(all).entries()) {
    const resumed = (await get(`/api/export/metrics?after=${id}`)).text;
    expect(
      all
        .split('\n')
        .slice(0, i + 1)
        .join('\n') + (resumed === '' ? '\n' : `\n${resumed}`),
    ).toBe(all);
  }
});

test('CSV preserves every field', async () => {
  const metrics = parse((await get('/api/export/metrics?format=csv')).text, {
    columns: true,
    record_delimiter: '\r\n',
  });
  const expected = await recordsOf('metrics');
  expect(metrics).toEqual(
    expected.map((row: object) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, String(v)]))),
  );
  const events = parse((await get('/api/export/analytics?format=csv')).text, {
    columns: true,
    record_delimiter: '\r\n',
  });
  expect(events.map((row: unknown) => JSON.parse((row as { data: string }).data))).toEqual(
    (await recordsOf('analytics')).map(({ data }: { data: unknown }) => data),
  );
});

test('formulas=escape leaves no string that a spreadsheet reads as a formula, and keeps numbers', async () => {
  const { text } = await get('/api/export/metrics?format=csv&formulas=escape');
  const labels = parse(text, { columns: true, record_delimiter: '\r\n' }).map(
    (row: unknown) => (row as { data_string: string }).data_string,
  );
  expect(labels).toEqual(LABELS.map((label) => (/^[=@+", ;:|\t\n-]/.test(label) ? `'${label}` : label)));
});

test('Parquet preserves times and values in DuckDB and hyparquet, with and without rows', async () => {
  using folder = temporaryFolder();
  const duck = await (await DuckDBInstance.create(':memory:')).connect();
  for (const [kind, query] of [
    ['metrics', ''],
    ['analytics', ''],
    ['metrics', '&name=none'],
  ] as const) {
    const response = await fetch(`${target.url}/api/export/${kind}?format=parquet${query}`, { headers });
    const bytes = await response.bytes();
    const path = join(folder.path, 'file.parquet');
    await Bun.write(path, bytes);
    const expected = query === '' ? await recordsOf(kind) : [];
    const rows = await parquetReadObjects({ file: bytes.buffer as ArrayBuffer });
    expect(rows.map(({ id }) => id)).toEqual(expected.map(({ id }: { id: string }) => id));
    const kindColumns = kind === 'metrics' ? 'metric_name, metric_value, data_string' : 'type, data_index, data';
    const read = await duck.runAndReadAll(
      `SELECT id, user_id, epoch_us(timestamp)::DOUBLE, epoch_us(received_at)::DOUBLE, ${kindColumns} FROM '${path}'`,
    );
    const micro = (time: string) => Number(Temporal.Instant.from(time).epochNanoseconds / 1000n);
    expect(read.getRows() as unknown[][]).toEqual(
      // biome-ignore lint/suspicious/noExplicitAny: records of either kind
      expected.map((row: any) => [
        row.id,
        row.user_id,
        micro(row.timestamp),
        micro(row.received_at),
        ...(kind === 'metrics'
          ? [row.metric_name, row.metric_value, row.data_string]
          : [row.type, row.data_index, JSON.stringify(row.data)]),
      ]),
    );
  }
});

test('a canceled export does not affect the server', async () => {
  const filler = Array.from({ length: 1000 }, () => ({
    type: 'big',
    data_index: 'x',
    data: { filler: 'y'.repeat(500) },
  }));
  for (let i = 0; i < 30; i++) await post(target, '/log_batch', { analytics: filler });
  for (let i = 0; i < 5; i++) {
    const response = await fetch(`${target.url}/api/export/analytics?type=big`, { headers });
    const reader = response.body?.getReader();
    expect((await reader?.read())?.value?.length).toBeGreaterThan(0);
    await reader?.cancel();
  }
  expect(lines((await get('/api/export/analytics?type=big')).text)).toHaveLength(30_000);
}, 60_000);

test('users with slow readers leave exports for admins and viewers', async () => {
  const bearer = async (claims: Record<string, unknown>) => ({ authorization: `Bearer ${await token(claims)}` });
  const users = await Promise.all(['anna', 'berta', 'carla', 'dora'].map((sub) => bearer({ sub })));
  // more than what the buffers of a connection hold
  const filler = Array.from({ length: 900 }, (_, i) => ({ type: 'wide', data: { i, text: 'y'.repeat(1000) } }));
  for (const user of users) {
    for (let i = 0; i < 12; i++) {
      expect((await post(target, '/log_batch', { analytics: filler }, user)).status).toBe(200);
    }
  }
  const { hostname, port } = new URL(target.url);
  const statuses: string[] = [];
  const sockets: Socket[] = [];
  const open = async ({ authorization }: Record<string, string>) => {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    socket.write(`GET /api/export/analytics HTTP/1.1\r\nHost: x\r\nAuthorization: ${authorization}\r\n\r\n`);
    await new Promise((resolve) => socket.once('readable', resolve)); // and then it reads nothing
    statuses.push(String(socket.read(12)));
  };
  await Promise.all(users.flatMap((user) => Array.from({ length: 8 }, () => open(user))));
  expect(statuses.filter((status) => status === 'HTTP/1.1 200')).toHaveLength(24);
  expect(statuses.filter((status) => status === 'HTTP/1.1 503')).toHaveLength(8);
  const url = `${target.url}/api/export/metrics`;
  expectError(await send(url, { headers: users[0] ?? {} }), 503, 'queries_overloaded');
  for (const role of ['admin', 'viewer']) {
    expect((await send(url, { headers: await bearer({ sub: 'root', role }) })).status).toBe(200);
  }
  for (const socket of sockets) socket.destroy();
}, 60_000);
