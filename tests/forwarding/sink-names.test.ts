import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, expect, test } from 'bun:test';
import { join } from 'node:path';
import { parseForwardUrls } from '../../src/formats/forward-url.ts';
import { startForwarder } from '../../src/forwarding/forwarder.ts';
import { lagBehind } from '../../src/forwarding/query-lag.ts';
import { openStorage } from '../../src/storage/database.ts';
import { openSinkStore } from '../../src/storage/sink-store.ts';
import { runCli, SECRET, temporaryFolder } from '../harness/target.ts';

/*
 * A sink whose URL is written in another way than when it was added, such as with its default port.
 */

const STORED = 'nats://127.0.0.1/first';
const WRITTEN = 'nats://127.0.0.1:4222/first';

const NO_S3 = {
  ...{ endpoint: undefined, region: undefined, accessKeyId: undefined, secretAccessKey: undefined },
  sessionToken: undefined,
};

let folder: ReturnType<typeof temporaryFolder>;
let path: string;
beforeAll(() => {
  folder = temporaryFolder();
  path = join(folder.path, 'rawlog.db');
  openStorage(path).close();
});
afterAll(() => folder[Symbol.dispose]());

test('keeps its position and its name', async () => {
  const store = openSinkStore(path);
  try {
    const { id } = store.register(STORED);
    expect(store.register(WRITTEN)).toMatchObject({ id, name: STORED });
    expect(store.register('nats://127.0.0.1:4223/first').id).not.toBe(id);
    expect(store.register('clickhouse://h').id).toBe(store.register('clickhouse://h:8123/default').id);
    const events = { onEvent() {}, onSaved() {}, onStatus() {} };
    const forwarder = startForwarder(store, parseForwardUrls(WRITTEN), { node: 'n', s3: NO_S3 }, events);
    const statuses = forwarder.statuses();
    expect([forwarder.retry(WRITTEN), forwarder.retry(STORED)]).toEqual([0, 0]);
    await forwarder.close();
    expect(statuses.map(({ name }) => name)).toEqual([STORED]);
    expect(store.all().map(({ name }) => name)).toEqual([STORED, 'nats://127.0.0.1:4223/first', 'clickhouse://h']);
  } finally {
    store.close();
  }
});

test('is the sink of QUERY_URL', () => {
  const urls = parseForwardUrls('clickhouse://h:8123/default');
  const status = { state: 'delivering', reason: undefined, deadLetters: 0, postponed: 0, pendingErasures: 0 } as const;
  const rest = { ...status, skipped: 0, cursors: { metric: 0, analytics: 0 }, importId: 0 };
  const statuses = [{ ...rest, name: 'clickhouse://h', lagRows: 7, lagSeconds: 3 }];
  expect(lagBehind(new URL('clickhouse://h/default'), urls, statuses)).toEqual({ rows: 7, seconds: 3 });
});

test('counts as configured in commands', async () => {
  const env = { DATA_DIR: folder.path, JWT_SECRET: SECRET, FORWARD_URL: WRITTEN };
  const { stdout } = await runCli(['forward', 'list', '--json'], { env });
  const sinks: { name: string; configured: boolean }[] = JSON.parse(stdout).sinks;
  expect(sinks.filter(({ configured }) => configured).map(({ name }) => name)).toEqual([STORED]);
  expect((await runCli(['forward', 'dead', WRITTEN], { env })).stdout).toBe('There are no dead letters.\n');
  expect((await runCli(['forward', 'drop', STORED], { env })).stderr).toContain('The sink is in FORWARD_URL');
});

test('is another one if both names are stored already', () => {
  const client = new Database(path);
  client.run('INSERT INTO sinks (name, metric_seq, analytics_seq, import_id, skipped) VALUES (?, 0, 0, 0, 0)', [
    WRITTEN,
  ]);
  client.close();
  const store = openSinkStore(path);
  try {
    expect(store.find(STORED)?.name).toBe(STORED);
    expect(store.find(WRITTEN)?.name).toBe(WRITTEN);
  } finally {
    store.close();
  }
});
