import { afterAll, beforeAll, expect, test } from 'bun:test';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatTimestamp } from '../../src/formats/timestamp.ts';
import { KINDS, type LogRecord } from '../../src/records.ts';
import journal from '../../src/storage/migrations/meta/_journal.json' with { type: 'json' };
import { succeed } from '../harness/backups.ts';
import { ANALYTICS, METRIC, post, send } from '../harness/client.ts';
import { createOlderDatabase } from '../harness/older-database.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { event, metric, records } from '../storage/log.ts';

/*
 * A database of an older version, whose rows have whole IDs and times since 1970, with new rows in the short form
 * (src/storage/row-form.ts).
 */

const OLDER: readonly LogRecord[] = records(60, (seq, i) => {
  const stamp = { userId: `user-${i % 3}` };
  return i % 2 === 0 ? metric(seq + i * 4096, stamp) : event(seq + i * 4096, { ...stamp, happenedAt: 1e15 + i });
});
const NEW = 30;

let folder: ReturnType<typeof temporaryFolder>;
let dataDir: string;
/** The IDs of all records, oldest first, by kind. */
const ids = { metric: [] as string[], analytics: [] as string[] };
let exported: string;

beforeAll(async () => {
  folder = temporaryFolder();
  dataDir = join(folder.path, 'data');
  mkdirSync(dataDir);
  createOlderDatabase(join(dataDir, 'rawlog.db'), journal.entries.length - 1, (client) => {
    for (const record of OLDER) {
      const { kind, seq, id, userId, happenedAt, receivedAt } = record;
      const values = kind === 'metric' ? [record.metricName, record.metricValue, record.dataString] : ['t', 'l', '{}'];
      const table = kind === 'metric' ? 'metrics' : 'analytics';
      client.run(`INSERT INTO ${table} VALUES (?, ?, ?, ?, ?, ?, ?, ?)`, [
        ...[seq, id, userId, happenedAt, receivedAt],
        ...values,
      ]);
      ids[kind].push(id);
    }
    client.run("INSERT INTO ledger VALUES ('stored', ?)", [OLDER.length]);
  });
});
afterAll(() => folder[Symbol.dispose]());

const admin = async () => ({ headers: { authorization: `Bearer ${await token({ role: 'admin' })}` } });
const idsIn = (ndjson: string) =>
  ndjson
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line).id);

test('is migrated when the server starts, which records after the rows and pages through all of them', async () => {
  const target = await startTarget(UNLIMITED, { dataDir });
  for (let i = 0; i < NEW; i++) {
    const headers = { authorization: `Bearer ${await token({ sub: `user-${i % 3}` })}` };
    ids.metric.push((await post(target, '/log_raw_metric', METRIC, headers)).body);
    const dated = { ...ANALYTICS, timestamp: '2026-02-03T04:05:06.789012Z' };
    ids.analytics.push((await post(target, '/log_raw_analytics', dated, headers)).body);
  }
  for (const kind of KINDS) {
    const path = `${target.url}/api/records/${kind === 'metric' ? 'metrics' : 'analytics'}`;
    const found: Record<string, unknown>[] = [];
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body } = await send(`${path}?limit=7${cursor === '' ? '' : `&cursor=${cursor}`}`, await admin());
      found.push(...body.records);
      cursor = body.next_cursor;
    }
    expect(found.map(({ id }) => id)).toEqual(ids[kind].toReversed());
    const older = OLDER.filter((record) => record.kind === kind).toReversed();
    expect(found.slice(NEW)).toMatchObject(
      older.map(({ id, userId, happenedAt, receivedAt }) => ({
        id,
        user_id: userId,
        timestamp: formatTimestamp(happenedAt),
        received_at: formatTimestamp(receivedAt),
      })),
    );
  }
  const dated = await send(
    `${target.url}/api/records/analytics?from=2026-02-03T00:00:00Z&to=2026-02-04T00:00:00Z`,
    await admin(),
  );
  expect(dated.body.records).toHaveLength(NEW);
  const rest = await send(`${target.url}/api/export/metrics?after=${ids.metric[20]}`, await admin());
  expect(idsIn(rest.text)).toEqual(ids.metric.slice(21));
  await target.stop();
  expect(await succeed(['verify'], dataDir)).toContain(`${30 + NEW} metrics`);
  exported = await succeed(['export'], dataDir);
  expect(idsIn(exported).toSorted()).toEqual([...ids.metric, ...ids.analytics].toSorted());
});

test('is exported and imported again without a difference, also into itself', async () => {
  const file = join(folder.path, 'all.ndjson');
  writeFileSync(file, exported);
  const count = OLDER.length + 2 * NEW;
  const copy = join(folder.path, 'imported');
  expect(await succeed(['import', file], copy)).toBe(`Imported ${count} records; 0 already stored.\n`);
  expect((await succeed(['export'], copy)) === exported).toBe(true);
  for (const dir of [copy, dataDir]) {
    expect(await succeed(['import', file], dir)).toBe(`Imported 0 records; ${count} already stored.\n`);
    await succeed(['verify'], dir);
  }
});

test('is backed up, restored and erased, and keeps the rows of other users', async () => {
  const backup = join(folder.path, 'backup.tar');
  await succeed(['backup', backup], dataDir);
  await succeed(['verify', backup], dataDir);
  const restored = join(folder.path, 'restored');
  await succeed(['restore', backup], restored);
  const before = await succeed(['export'], restored);
  expect(before === exported).toBe(true);
  const count = OLDER.length / 6 + NEW / 3;
  expect(await succeed(['erase', 'user-1'], restored)).toBe(`Erased ${count} metrics and ${count} events.\n`);
  await succeed(['verify'], restored);
  const kept = exported.split('\n').filter((line) => !line.includes('"user_id":"user-1"'));
  expect((await succeed(['export'], restored)).split('\n')).toEqual(kept);
  expect(readFileSync(join(restored, 'rawlog.db')).includes('user-1')).toBe(false);
});
