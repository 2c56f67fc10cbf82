import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { EXPORT_COLUMNS, encodeParquet } from '../../src/forwarding/s3/parquet-rows.ts';
import { createS3Sink } from '../../src/forwarding/s3/sink.ts';
import { openObjectStore } from '../../src/object-store.ts';
import type { Kind, LogRecord } from '../../src/records.ts';
import { CODEC, dataPage, ENCODING, parquetFile, plainTexts, TEXT, withFooter } from '../harness/parquet-file.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { COMMAND, runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { event, idOf, metric, records } from '../storage/log.ts';

const NEVER = new AbortController().signal;

let folder: ReturnType<typeof temporaryFolder>;
let server: S3Server;
beforeAll(async () => {
  folder = temporaryFolder();
  server = await startS3Server(folder.path);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const DAY_SEQS = 86_400_000 * 4096;
const METRICS = records(700, (seq, i) =>
  metric(seq + Math.floor(i / 300) * DAY_SEQS, { userId: `user|${i % 5}`, happenedAt: i - 350, metricValue: i / 7 }),
);
const TEXTS = ['\uFEFFmark', '\u0000', '😀é"\\\n', 'x'.repeat(1_000), ''];
const EVENTS = records(5, (seq, i) =>
  event(seq + 700, {
    type: TEXTS[i] ?? '',
    dataIndex: TEXTS[i] ?? '',
    data: `{"n":${10 ** 30},"t":${JSON.stringify(TEXTS[i])}}`,
  }),
);

/** Forwards rows of two nodes to a prefix, some of them twice. Returns its URL. */
async function forward(prefix: string): Promise<string> {
  const url = `s3://${server.bucket}/${prefix}`;
  const access = { ...accessOf(server), region: undefined, sessionToken: undefined };
  const sink = createS3Sink({ url: new URL(url), node: 'node-a' }, access);
  const deliver = (kind: Kind, node: string, rows: readonly LogRecord[]) =>
    sink.deliver({ kind, node, records: rows }, NEVER);
  await deliver('metric', 'node-a', METRICS.slice(0, 400));
  await deliver('metric', 'node-a', METRICS.slice(200, 500));
  await deliver('metric', 'node-b', METRICS.slice(450));
  await deliver('analytics', 'node-a', EVENTS);
  return url;
}

function accessOf({ env }: S3Server) {
  return {
    endpoint: env['S3_ENDPOINT'] ?? '',
    accessKeyId: env['S3_ACCESS_KEY_ID'] ?? '',
    secretAccessKey: env['S3_SECRET_ACCESS_KEY'] ?? '',
  };
}

/** Returns the exported lines of a database, as JSON in the order of their IDs. */
async function exported(dataDir: string): Promise<string[]> {
  const { stdout } = await runCli(['export'], { env: { ...UNLIMITED, DATA_DIR: dataDir } });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .sort();
}

test('turns forwarded objects back into a database, while the server is stopped or running; twice changes nothing', async () => {
  const url = await forward('logs');
  // what an erasure can leave
  const store = openObjectStore(server.bucket, { ...accessOf(server), region: undefined, sessionToken: undefined });
  const empty = 'logs/kind=metric/day=2026-01-03/node-a-0776444313600000-0776444313600000.parquet';
  await store.put(empty, encodeParquet('metric', []));
  await store.put('logs/erasures/conditions-node-a', 'Written to find out …');
  const stopped = join(folder.path, 'stopped');
  const run = (dataDir: string) => runCli(['import', url], { env: { ...UNLIMITED, ...server.env, DATA_DIR: dataDir } });
  const first = await run(stopped);
  expect(first).toMatchObject({ exitCode: 0, stdout: 'Imported 705 records; 50 already stored.\n' });
  const lines = await exported(stopped);
  expect(lines).toHaveLength(705);
  const times = lines.map((line) => JSON.parse(line)).filter(({ metric_name }) => metric_name !== undefined);
  expect(times.map(({ id, user_id, timestamp, metric_value }) => [id, user_id, timestamp, metric_value])).toEqual(
    METRICS.map((row) => [
      row.id,
      row.userId,
      timestampOf(row.happenedAt),
      (row as { metricValue: number }).metricValue,
    ]),
  );
  for (const row of EVENTS)
    expect(lines.filter((line) => line.includes(row.id))[0]).toContain((row as { data: string }).data);
  expect(await run(stopped)).toMatchObject({ exitCode: 0, stdout: 'Imported 0 records; 755 already stored.\n' });
  expect(await exported(stopped)).toEqual(lines);

  const target = await startTarget(UNLIMITED);
  expect(await run(target.dataDir)).toMatchObject({
    exitCode: 0,
    stdout: 'Imported 705 records; 50 already stored.\n',
  });
  expect(await exported(target.dataDir)).toEqual(lines);
  await target.stop();
});

function timestampOf(microseconds: number): string {
  return Temporal.Instant.fromEpochNanoseconds(BigInt(microseconds) * 1000n).toString();
}

test('rejects what is not an export, and imports nothing of it', async () => {
  const url = await forward('damaged');
  const dataDir = join(folder.path, 'damaged-data');
  const run = (address: string, env: Record<string, string> = server.env) =>
    runCli(['import', address], { env: { ...UNLIMITED, ...env, DATA_DIR: dataDir } });
  expect(await run(`s3://${server.bucket}/empty`)).toMatchObject({ exitCode: 1, stdout: '' });
  expect(await run(`s3://${server.bucket}/a//b`)).toMatchObject({ exitCode: 2, stdout: '' });
  expect(await run(url, {})).toMatchObject({ exitCode: 2, stdout: '' });
  const client = new Bun.S3Client({ bucket: server.bucket, ...accessOf(server) });
  await client.write('damaged/kind=metric/x.parquet', 'PAR1 this is not Parquet PAR1');
  const { exitCode, stderr } = await run(url);
  expect(exitCode).toBe(1);
  expect(stderr).toContain('x.parquet cannot be imported');
  expect(existsSync(join(dataDir, 'rawlog.db'))).toBe(false);
});

/** Objects of up to 8 MB that take gigabytes in a reader that believes them. */
const HOSTILE: readonly (readonly [string, () => Uint8Array])[] = [
  [
    'a gigabyte in pages of 4 MB',
    () => {
      const text = 'x'.repeat(4 * 1024 ** 2);
      const content = plainTexts([text]);
      const page = dataPage(zstdCompressSync(content), 1, ENCODING.plain, content.length);
      const schema = [
        { name: 'root', num_children: 1 },
        { name: 'id', ...TEXT },
      ];
      const columns = [{ name: 'id', codec: CODEC.zstd, pages: Array(256).fill(page) }];
      return parquetFile(schema, [{ rows: 256, columns }]);
    },
  ],
  [
    // a list of row groups with one that lists columns without fields
    'eight million columns',
    () => {
      const length = 8 * 1024 ** 2;
      const head = Uint8Array.of(0x49, 0x1c, 0x19, 0xfc, 0x80, 0x80, 0x80, 0x04);
      return withFooter(Buffer.from('PAR1'), Buffer.concat([head, new Uint8Array(length + 2)]));
    },
  ],
  [
    'a million short texts in a page of each column',
    () => {
      const rows = 1024 ** 2;
      const content = plainTexts(Array(rows).fill('ab'));
      const page = dataPage(zstdCompressSync(content), rows, ENCODING.plain, content.length);
      const schema = [
        { name: 'root', num_children: EXPORT_COLUMNS.length },
        ...EXPORT_COLUMNS.map((name) => ({ name, ...TEXT })),
      ];
      const columns = EXPORT_COLUMNS.map((name) => ({ name, codec: CODEC.zstd, pages: [page] }));
      return parquetFile(schema, [{ rows, columns }]);
    },
  ],
];

/** Prints the peak memory of a command. */
const PEAK_MEMORY = join(import.meta.dir, '../harness/peak-memory.ts');

test.each(HOSTILE)(
  'an object with %s is rejected in bounded memory, and nothing of it is stored',
  async (name, make) => {
    const prefix = `hostile-${name.replaceAll(' ', '-')}`;
    const url = await forward(prefix);
    const client = new Bun.S3Client({ bucket: server.bucket, ...accessOf(server) });
    await client.write(`${prefix}/z.parquet`, make());
    const dataDir = join(folder.path, prefix);
    const env = { ...UNLIMITED, ...server.env, DATA_DIR: dataDir };
    const command = [process.execPath, PEAK_MEMORY, ...COMMAND, 'import', url];
    const child = Bun.spawn(command, { env, stdout: 'pipe', stderr: 'pipe' });
    const [peakBytes, stderr] = await Promise.all(
      [child.stdout, child.stderr].map((part) => new Response(part).text()),
    );
    expect(await child.exited).toBe(1);
    expect(stderr).toContain(`${prefix}/z.parquet cannot be imported`);
    expect(existsSync(join(dataDir, 'rawlog.db'))).toBe(false);
    expect(Number(peakBytes)).toBeGreaterThan(0);
    expect(Number(peakBytes)).toBeLessThan(400 * 1024 ** 2);
  },
);

test('ends before the rows of a small object fill the disk', async () => {
  const url = await forward('full');
  const dataDir = join(folder.path, 'full-data');
  const env = { ...UNLIMITED, ...server.env, DATA_DIR: dataDir, MIN_FREE_BYTES: `${1e14}` };
  const { exitCode, stderr } = await runCli(['import', url], { env });
  expect(exitCode).toBe(1);
  expect(stderr).toContain('less than MIN_FREE_BYTES would remain free. Nothing was imported.');
  expect(existsSync(join(dataDir, 'rawlog.db'))).toBe(false);
});

test('imports all rows of two nodes that have given them equal keys', async () => {
  const access = { ...accessOf(server), region: undefined, sessionToken: undefined };
  const url = `s3://${server.bucket}/equal`;
  const sink = createS3Sink({ url: new URL(url), node: 'node-a' }, access);
  const ofOther = [
    ...records(40, (seq) => metric(seq, { id: idOf(seq).replace('-8000-', '-9000-'), userId: 'other' })),
    ...records(60, (seq) => event(seq + 20, { id: idOf(seq + 20).replace('-8000-', '-a000-'), userId: 'other' })),
  ];
  const own = records(50, (seq) => metric(seq));
  await sink.deliver({ kind: 'metric', node: 'node-a', records: own }, NEVER);
  for (const kind of ['metric', 'analytics'] as const) {
    const rows = ofOther.filter((record) => record.kind === kind);
    await sink.deliver({ kind, node: 'node-b', records: rows }, NEVER);
  }
  const dataDir = join(folder.path, 'equal-data');
  const env = { ...UNLIMITED, ...server.env, DATA_DIR: dataDir };
  const first = await runCli(['import', url], { env });
  expect(first).toEqual({ exitCode: 0, stdout: 'Imported 150 records; 0 already stored.\n', stderr: '' });
  const lines = await exported(dataDir);
  expect(lines.map((line) => JSON.parse(line).id).sort()).toEqual([...own, ...ofOther].map(({ id }) => id).sort());
  const second = await runCli(['import', url], { env });
  expect(second).toEqual({ exitCode: 0, stdout: 'Imported 0 records; 150 already stored.\n', stderr: '' });
  expect(await exported(dataDir)).toEqual(lines);
  expect(await runCli(['verify'], { env })).toMatchObject({ exitCode: 0 });
});

test('imports an object that takes several requests', async () => {
  const rows = records(30_000, (seq) => event(seq, { data: `{"t":"${crypto.randomUUID().repeat(8)}"}` }));
  const access = { ...accessOf(server), region: undefined, sessionToken: undefined };
  const url = `s3://${server.bucket}/large`;
  const sink = createS3Sink({ url: new URL(url), node: 'node-a' }, access);
  await sink.deliver({ kind: 'analytics', node: 'node-a', records: rows }, NEVER);
  const dataDir = join(folder.path, 'large-data');
  const env = { ...UNLIMITED, ...server.env, DATA_DIR: dataDir };
  const result = await runCli(['import', url], { env });
  expect(result).toMatchObject({ exitCode: 0, stdout: 'Imported 30000 records; 0 already stored.\n' });
});
