import { afterAll, beforeAll, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { createS3Sink } from '../../src/forwarding/s3/sink.ts';
import type { Kind, LogRecord } from '../../src/records.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { event, metric, records } from '../storage/log.ts';

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
