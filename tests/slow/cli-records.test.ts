import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ANALYTICS, METRIC, post, rows, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * Commands that read and change the records of a database.
 */

let folder: ReturnType<typeof temporaryFolder>;
let env: Record<string, string>;
let databasePath: string;
let exported: string;

beforeAll(async () => {
  folder = temporaryFolder();
  env = { JWT_SECRET: SECRET, DATA_DIR: join(folder.path, 'first') };
  const target = await startTarget(UNLIMITED, { dataDir: env['DATA_DIR'] ?? '' });
  databasePath = target.databasePath;
  await post(target, '/log_raw_metric', {
    ...METRIC,
    timestamp: '2026-03-29T01:30:00.123456+02:00',
    metric_value: 0.1,
  });
  await post(target, '/log_raw_metric', { ...METRIC, metric_value: -1.7976931348623157e308, data_string: 'ä\n"🎉,' });
  await post(
    target,
    '/log_raw_analytics',
    '{"type":"","data_index":"","data":{"n":12345678901234567890,"z":-0.0,"__proto__":{"\\ud800":1}}}',
  );
  await post(target, '/log_batch', { analytics: [ANALYTICS, ANALYTICS] }, { 'idempotency-key': 'k' });
  // while the server runs
  const { exitCode, stdout } = await runCli(['export'], { env });
  expect(exitCode).toBe(0);
  exported = stdout;
  await target.stop();
});
afterAll(() => folder[Symbol.dispose]());

const everything = (path: string) => ({
  metrics: rows({ databasePath: path }, 'metrics'),
  analytics: rows({ databasePath: path }, 'analytics'),
});

describe('export and import', () => {
  test('preserve every field exactly in a round trip, and a second import changes nothing', async () => {
    const file = join(folder.path, 'all.ndjson');
    expect((await runCli(['export', file], { env })).exitCode).toBe(0);
    expect(readFileSync(file, 'utf8')).toBe(exported);

    const second = { ...env, DATA_DIR: join(folder.path, 'second') };
    const copy = join(folder.path, 'second/rawlog.db');
    const first = await runCli(['import', file], { env: second });
    expect(first).toMatchObject({ exitCode: 0, stdout: 'Imported 5 records; 0 already stored.\n' });
    expect(everything(copy)).toEqual(everything(databasePath));
    const again = await runCli(['import', file], { env: second });
    expect(again).toMatchObject({ exitCode: 0, stdout: 'Imported 0 records; 5 already stored.\n' });
    expect(everything(copy)).toEqual(everything(databasePath));
    expect((await runCli(['export'], { env: second })).stdout).toBe(exported);
    const { ledger } = JSON.parse((await runCli(['status', '--json'], { env: second })).stdout);
    expect(ledger).toEqual({ received: 5, stored: 5, duplicates: 0, deleted: 0, rejected: {} });
  });

  test('make a server return records that were imported between older and newer ones', async () => {
    const lines = exported.trimEnd().split('\n');
    const third = { ...env, DATA_DIR: join(folder.path, 'third') };
    const file = join(folder.path, 'part.ndjson');
    const admin = { headers: { authorization: `Bearer ${await token({ role: 'admin' })}` } };
    const count = async (target: Target) => (await send(`${target.url}/api/metrics`, admin)).body.metrics[0]?.count;
    writeFileSync(file, `${lines[1]}\n`);
    await runCli(['import', file], { env: third });
    let target = await startTarget(UNLIMITED, { dataDir: third.DATA_DIR });
    await post(target, '/log_raw_metric', METRIC);
    expect(await count(target)).toBe(2);
    await target.stop();
    writeFileSync(file, `${lines[0]}\n`);
    await runCli(['import', file], { env: third });
    target = await startTarget(UNLIMITED, { dataDir: third.DATA_DIR });
    expect(await count(target)).toBe(3);
    await target.stop();
  });

  test('support filters and CSV', async () => {
    const csv = await runCli(['export', '--what', 'metrics', '--format', 'csv'], { env });
    expect(csv.stdout.split('\r\n')[0]).toBe('id,user_id,timestamp,received_at,metric_name,metric_value,data_string');
    const none = await runCli(['export', '--user-id', 'nobody'], { env });
    expect(none).toMatchObject({ exitCode: 0, stdout: '' });
    const early = await runCli(['export', '--to', '2026-04-01T00:00:00Z'], { env });
    expect(early.stdout).toBe(`${exported.split('\n')[0]}\n`);
  });
});

test('rebuild does not change responses, and erase removes every trace of a user', async () => {
  const data = { ...env, DATA_DIR: join(folder.path, 'rebuilt') };
  const file = join(folder.path, 'all.ndjson');
  writeFileSync(file, exported);
  await runCli(['import', file], { env: data });
  const admin = { headers: { authorization: `Bearer ${await token({ role: 'admin' })}` } };
  const responses = async () => {
    const target = await startTarget(UNLIMITED, { dataDir: data.DATA_DIR });
    const addresses = [
      '/api/metrics',
      '/api/analytics',
      '/api/metrics/series?name=page_load_time&group_by=data_string',
    ];
    const texts = await Promise.all(addresses.map(async (address) => (await send(target.url + address, admin)).text));
    await target.stop();
    return texts;
  };
  const before = await responses();
  expect(before[0]).toContain('page_load_time');
  expect((await runCli(['rebuild'], { env: data })).exitCode).toBe(0);
  expect(await responses()).toEqual(before);
  const user = String(rows({ databasePath: join(data.DATA_DIR, 'rawlog.db') }, 'metrics')[0]?.['user_id']);
  const erased = await runCli(['erase', user], { env: data });
  expect(erased).toMatchObject({ exitCode: 0, stdout: 'Erased 2 metrics and 3 events.\n' });
  expect((await runCli(['export'], { env: data })).stdout).toBe('');
  expect(readFileSync(join(data.DATA_DIR, 'rawlog.db')).includes(user)).toBe(false);
});
