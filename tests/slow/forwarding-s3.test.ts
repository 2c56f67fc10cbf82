import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DuckDBInstance } from '@duckdb/node-api';
import type { S3Access } from '../../src/formats/s3.ts';
import { createS3Sink } from '../../src/forwarding/s3/sink.ts';
import { type Block, SinkConfigurationError } from '../../src/forwarding/sink.ts';
import type { LogRecord } from '../../src/records.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { temporaryFolder } from '../harness/target.ts';
import { event, FIRST_SEQ, idOf, metric, records } from '../storage/log.ts';

const NEVER = new AbortController().signal;
const DAY_SEQS = 86_400_000 * 4096;
const LEAVING_USER = 'user|leaving';

let folder: ReturnType<typeof temporaryFolder>;
let server: S3Server;
let tests = 0;
beforeAll(async () => {
  folder = temporaryFolder();
  server = await startS3Server(folder.path);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function accessOf({ env }: S3Server): S3Access {
  return {
    endpoint: env['S3_ENDPOINT'],
    region: undefined,
    accessKeyId: env['S3_ACCESS_KEY_ID'],
    secretAccessKey: env['S3_SECRET_ACCESS_KEY'],
    sessionToken: undefined,
  };
}

/** Creates a sink with its own prefix, and functions that look at its objects. */
function setUp() {
  const prefix = `logs-${++tests}`;
  const url = new URL(`s3://${server.bucket}/${prefix}`);
  const sink = createS3Sink({ url, node: 'node-a' }, accessOf(server));
  const root = join(folder.path, server.bucket, prefix);
  return {
    sink,
    /** Creates a sink as after a restart. */
    restarted: () => createS3Sink({ url, node: 'node-a' }, accessOf(server)),
    prefix,
    /** The objects, without the prefix, in order. */
    objects: () =>
      (readdirSync(root, { recursive: true }) as string[])
        .filter((name) => name.endsWith('._S3rver_object'))
        .map((name) => name.replace('._S3rver_object', ''))
        .sort(),
    /** Runs a query on all objects, which are in a table `objects`, as DuckDB reads them. */
    async duckdb(query: string) {
      using copy = temporaryFolder();
      for (const name of readdirSync(root, { recursive: true }) as string[]) {
        if (!name.endsWith('.parquet._S3rver_object')) continue;
        const path = join(copy.path, name.replace('._S3rver_object', ''));
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, await Bun.file(join(root, name)).bytes());
      }
      const instance = await DuckDBInstance.create();
      const connection = await instance.connect();
      const from = `read_parquet('${copy.path}/**/*.parquet', hive_partitioning = true, union_by_name = true)`;
      const reader = await connection.runAndReadAll(`WITH objects AS (SELECT * FROM ${from}) ${query}`);
      connection.closeSync();
      instance.closeSync();
      return reader.getRowObjectsJson();
    },
  };
}

const blockOf = (rows: readonly LogRecord[], node = 'node-a'): Block => ({
  kind: rows[0]?.kind ?? 'metric',
  node,
  records: rows,
});

test('stores objects by kind and day, which DuckDB reads exactly', async () => {
  const { sink, objects, duckdb } = setUp();
  await sink.prepare(NEVER);
  const texts = ['', '\u0000', '😀é"\\\n', 'x'.repeat(70_000)];
  const values = [5e-324, 0.1 + 0.2, -1.7976931348623157e308, 12345.67];
  const metrics = texts.map((dataString, i) =>
    metric(FIRST_SEQ + i * DAY_SEQS, {
      dataString,
      metricValue: values[i] ?? 0,
      happenedAt: -8_000_000_000_000_001 + i,
    }),
  );
  const events = texts.map((type, i) => event(FIRST_SEQ + i, { type, data: JSON.stringify({ type, n: 1.5 }) }));
  expect(await sink.deliver(blockOf(metrics), NEVER)).toEqual({ rejected: [], postponed: [] });
  await sink.deliver(blockOf(events), NEVER);
  const name = (seq: number) => String(seq).padStart(16, '0');
  expect(objects()).toEqual([
    `kind=analytics/day=2026-01-01/node-a-${name(FIRST_SEQ)}-${name(FIRST_SEQ + 3)}.parquet`,
    ...[0, 1, 2, 3].map((i) => {
      const seq = name(FIRST_SEQ + i * DAY_SEQS);
      return `kind=metric/day=2026-01-0${1 + i}/node-a-${seq}-${seq}.parquet`;
    }),
  ]);
  expect(
    await duckdb(`SELECT id, epoch_us(timestamp) AS t, metric_value AS v, data_string AS s, day::text AS day
      FROM objects WHERE kind = 'metric' ORDER BY id`),
  ).toEqual(
    metrics.map(({ id, happenedAt, metricValue, dataString }, i) => ({
      ...{ id, t: String(happenedAt), v: metricValue, s: dataString, day: `2026-01-0${1 + i}` },
    })),
  );
  expect(await duckdb(`SELECT type, data FROM objects WHERE kind = 'analytics' ORDER BY id`)).toEqual(
    events.map(({ type, data }) => ({ type, data })),
  );
});

test('stores each row once, however often and in whatever blocks it is delivered', async () => {
  const { sink, restarted, objects, duckdb } = setUp();
  const rows = records(1_000, (seq) => metric(seq));
  await sink.deliver(blockOf(rows.slice(0, 300)), NEVER);
  await sink.deliver(blockOf(rows.slice(0, 300)), NEVER);
  expect(objects()).toHaveLength(1);
  for (const [from, to] of [
    [0, 100],
    [50, 700],
    [100, 450],
    [699, 1_000],
    [0, 1_000],
  ] as const) {
    await restarted().deliver(blockOf(rows.slice(from, to)), NEVER);
  }
  // rows that were imported later, between those that are stored
  const imported = records(10, (_, i) => metric(FIRST_SEQ + 500_000 + i));
  const later = records(10, (_, i) => metric(FIRST_SEQ + 1_000_000 + i));
  await sink.deliver(blockOf([...rows.slice(990), ...later]), NEVER);
  await sink.deliver(blockOf(imported), NEVER);
  await sink.deliver(
    blockOf(
      records(5, (seq) => metric(seq)),
      'node-a-b',
    ),
    NEVER,
  ); // another node, whose name begins alike
  expect(await duckdb('SELECT count(*)::int AS n, count(DISTINCT id)::int AS ids FROM objects')).toEqual([
    { n: 1_025, ids: 1_020 },
  ]);
});

test('a server that fails makes deliver reject, and a later one succeeds', async () => {
  const { sink, duckdb } = setUp();
  const rows = records(100, (seq) => metric(seq));
  const controller = new AbortController();
  const release = server.hang((request) => request.startsWith('PUT'));
  const delivery = sink.deliver(blockOf(rows), controller.signal);
  while (!server.requests.at(-1)?.startsWith('PUT')) await Bun.sleep(5);
  controller.abort(new Error('stopped'));
  await expect(delivery).rejects.toThrow('stopped');
  release();
  await sink.deliver(blockOf(rows), NEVER);
  expect(await duckdb('SELECT count(DISTINCT id)::int AS n FROM objects')).toEqual([{ n: 100 }]);
});

test('erases the rows of a user up to the cutoff from the objects of all nodes', async () => {
  const { sink, restarted, objects, duckdb } = setUp();
  const userId = (i: number) => (i % 2 === 0 ? LEAVING_USER : 'user|staying');
  for (let i = 0; i < 5; i++) {
    const rows = records(20, (seq, n) => metric(seq + i * 20, { userId: userId(n) }));
    await sink.deliver(blockOf(rows, i === 0 ? 'node-b' : 'node-a'), NEVER);
  }
  const events = records(5, (seq) => event(seq, { userId: LEAVING_USER }));
  await sink.deliver(blockOf(events), NEVER);
  const before = objects();
  const cutoffSeq = FIRST_SEQ + 70;
  const erasure = { userId: LEAVING_USER, cutoffSeq, cutoffId: idOf(cutoffSeq) };
  await sink.erase(erasure, NEVER);
  // the object with only erased rows is deleted, the others keep their names
  expect(objects()).toEqual(before.filter((name) => !name.startsWith('kind=analytics')));
  const count = `SELECT count(*)::int AS n, min(id) AS first FROM objects WHERE user_id`;
  expect(await duckdb(`${count} = '${LEAVING_USER}'`)).toEqual([{ n: 14, first: idOf(cutoffSeq + 2) }]);
  expect(await duckdb(`${count} <> '${LEAVING_USER}'`)).toEqual([{ n: 50, first: idOf(FIRST_SEQ + 1) }]);
  const puts = () => server.requests.filter((request) => request.startsWith('PUT')).length;
  const putsBefore = puts();
  await restarted().erase(erasure, NEVER);
  expect(puts()).toBe(putsBefore);
});

test('an erasure resumes after the objects that it has read', async () => {
  const { sink, restarted, prefix } = setUp();
  // one object per node
  for (let i = 0; i < 44; i++) {
    const rows = records(2, (seq, n) => metric(seq, { userId: n === 0 ? LEAVING_USER : 'user|staying' }));
    await sink.deliver(blockOf(rows, `node-${1000 + i}`), NEVER);
  }
  // the objects after the last stored progress
  const isLater = (request: string) => /^GET [^?]*node-104/.test(request);
  const release = server.hang(isLater);
  const controller = new AbortController();
  const erasure = { userId: LEAVING_USER, cutoffSeq: FIRST_SEQ, cutoffId: idOf(FIRST_SEQ) };
  const erasing = sink.erase(erasure, controller.signal);
  while (server.requests.filter(isLater).length < 4) await Bun.sleep(5);
  controller.abort(new Error('stopped'));
  await expect(erasing).rejects.toThrow('stopped');
  release();
  const before = server.requests.length;
  await restarted().erase(erasure, NEVER);
  const reads = server.requests.slice(before).filter((request) => /^GET [^?]*\.parquet/.test(request));
  expect(reads.map((request) => /node-\d+/.exec(request)?.[0])).toEqual([
    'node-1040',
    'node-1041',
    'node-1042',
    'node-1043',
  ]);
  expect(server.requests.at(-1)).toStartWith(`DELETE /${server.bucket}/${prefix}/erasures/`);
});

test('a bucket that does not exist and rejected credentials are reported to the operator', async () => {
  const url = new URL('s3://no-such-bucket/logs');
  await expect(createS3Sink({ url, node: 'node-a' }, accessOf(server)).prepare(NEVER)).rejects.toBeInstanceOf(
    SinkConfigurationError,
  );
  const wrong = { ...accessOf(server), accessKeyId: 'WRONG' };
  const sink = createS3Sink({ url: new URL(`s3://${server.bucket}/logs`), node: 'node-a' }, wrong);
  await expect(sink.prepare(NEVER)).rejects.toBeInstanceOf(SinkConfigurationError);
});

test('something that confirms objects without storing them makes deliver reject', async () => {
  const stored = new Map<string, number>();
  await using service = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    async fetch(request) {
      const { pathname, searchParams } = new URL(request.url);
      const key = decodeURIComponent(pathname).replace(/^\/[^/]+\//, '');
      if (request.method === 'PUT') {
        const { length } = await request.bytes();
        if (key.includes('analytics')) stored.set(key, length);
        else if (key.includes('cut-off')) stored.set(key, length - 1);
        return new Response('<html>Signed in</html>');
      }
      const prefix = searchParams.get('prefix') ?? '';
      const found = [...stored].filter(([name]) => name.startsWith(prefix));
      const contents = found.map(([name, size]) => `<Contents><Key>${name}</Key><Size>${size}</Size></Contents>`);
      return new Response(
        `<ListBucketResult><Name>bucket</Name><IsTruncated>false</IsTruncated>${contents.join('')}</ListBucketResult>`,
      );
    },
  });
  const access = { ...accessOf(server), endpoint: service.url.href };
  for (const prefix of ['lost', 'cut-off']) {
    const sink = createS3Sink({ url: new URL(`s3://bucket/${prefix}`), node: 'node' }, access);
    await sink.prepare(NEVER);
    const deliver = (kind: Block['kind'], rows: LogRecord[]) =>
      sink.deliver({ kind, node: 'node', records: rows }, NEVER);
    const rows = records(10, (seq) => metric(seq));
    await expect(deliver('metric', rows)).rejects.toThrow('confirmed the object');
    const events = records(10, (seq) => event(seq));
    if (prefix === 'lost') expect(await deliver('analytics', events)).toEqual({ rejected: [], postponed: [] });
  }
});
