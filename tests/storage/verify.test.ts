import { Database } from 'bun:sqlite';
import { afterAll, describe, expect, test } from 'bun:test';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openForReading, openStorage } from '../../src/storage/database.ts';
import { eraseUser } from '../../src/storage/erasure.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { type Verification, verifyDatabase } from '../../src/storage/verify.ts';
import { inspectWal } from '../../src/storage/wal.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { runCli, SECRET, temporaryFolder } from '../harness/target.ts';
import { event, metric, records } from './log.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
let databases = 0;

/** Creates a closed database with 3,000 rows, most of them sealed. Returns its path. */
async function createDatabase(): Promise<string> {
  const path = join(folder.path, `${++databases}.db`);
  const storage = openStorage(path);
  const writer = createWriter(storage);
  const rows = records(3_000, (seq, i) =>
    i % 2 === 0
      ? metric(seq, {
          metricName: `m ${i % 5}`,
          dataString: `/page ${i % 40}`,
          metricValue: i / 7,
          userId: `u ${i % 9}`,
        })
      : event(seq, { type: `t ${i % 3}`, dataIndex: `step ${i % 20}`, data: `{"i":${i}}`, userId: `u ${i % 9}` }),
  );
  const commit = (batch: typeof rows) =>
    writer.commit({ ...NOTHING, records: batch, counts: [['stored', batch.length]] });
  await commit(rows.slice(0, 2_500));
  const reader = openReader(path);
  runJob(reader.store.catchUp());
  runJob(reader.store.seal());
  runJob(eraseUser(reader, 'u 3'));
  reader.close();
  await commit(rows.slice(2_500));
  storage.close();
  return path;
}

function verify(path: string): Verification {
  const client = openForReading(path);
  try {
    return verifyDatabase(client);
  } finally {
    client.close();
  }
}

/** Changes a database as another program would. */
function tamper(path: string, sql: string): void {
  const client = new Database(path);
  client.run(sql);
  client.close();
}

test('verification finds nothing in a sound database with sealed, unsealed and erased rows', async () => {
  const { problems, rows, chunks } = verify(await createDatabase());
  expect(problems).toEqual([]);
  expect(rows.metric + rows.analytics).toBe(3_000 - 278);
  expect(chunks).toBeGreaterThan(5);
});

describe('verification', () => {
  test.each([
    [
      'a changed user',
      "UPDATE metrics SET user_id = 'u 4' WHERE seq = (SELECT min(seq) FROM metrics WHERE user_id = 'u 0')",
      'differ',
    ],
    [
      'a changed value',
      'UPDATE metrics SET metric_value = metric_value + 1 WHERE seq = (SELECT min(seq) + 2 FROM metrics)',
      'differ',
    ],
    [
      'a changed time',
      "UPDATE analytics SET happened_at = happened_at + 1 WHERE seq = (SELECT min(seq) FROM analytics WHERE user_id = 'u 1')",
      'differ',
    ],
    [
      'a changed label',
      "UPDATE analytics SET data_index = 'other' WHERE seq = (SELECT min(seq) FROM analytics WHERE user_id = 'u 1')",
      'differ',
    ],
    [
      'a name that is in no chunk',
      "UPDATE metrics SET metric_name = 'new' WHERE seq = (SELECT min(seq) FROM metrics WHERE user_id = 'u 0')",
      'does not contain the metric',
    ],
    [
      'a missing row',
      "DELETE FROM metrics WHERE seq = (SELECT min(seq) FROM metrics WHERE user_id = 'u 0')",
      'The ledger counts',
    ],
    [
      'a changed ID',
      "UPDATE metrics SET id = '0198c6a8-8c00-7000-8000-000000000000' WHERE seq = (SELECT max(seq) FROM metrics)",
      'The ID of row',
    ],
    [
      'a random part that is none',
      "UPDATE metrics SET id = 'vvvvvvvvvv' WHERE seq = (SELECT max(seq) FROM metrics)",
      'The ID of row',
    ],
    [
      'a random part without the variant of a UUID',
      "UPDATE metrics SET id = '!!!!!!!!!!' WHERE seq = (SELECT max(seq) FROM metrics)",
      'The ID of row',
    ],
    [
      'data that is not JSON',
      "UPDATE analytics SET data = '{' WHERE seq = (SELECT max(seq) FROM analytics)",
      'is not JSON',
    ],
    ['a changed ledger', "UPDATE ledger SET items = items + 1 WHERE name = 'stored'", 'The ledger counts'],
    [
      'a changed chunk',
      'UPDATE chunks SET users = zeroblob(length(users)) WHERE id = (SELECT max(id) FROM chunks WHERE rows > 0)',
      'The checksum of chunk',
    ],
    [
      'a changed part of the index of user rows',
      'UPDATE user_rows SET users = zeroblob(length(users)) WHERE id = (SELECT max(id) FROM user_rows WHERE rows > 0)',
      'of the index of user rows does not match',
    ],
    [
      'a missing part of the index of user rows',
      'UPDATE user_rows SET rows = 0 WHERE id = (SELECT max(id) FROM user_rows WHERE rows > 0)',
      'The index of user rows and the events differ',
    ],
    [
      'rows that the index of user rows lists twice',
      `INSERT INTO user_rows (shard, rows, checksum, users, seqs)
       SELECT shard, rows, checksum, users, seqs FROM user_rows WHERE rows > 0 AND shard = -1`,
      'The index of user rows and the metrics differ',
    ],
    [
      'an empty index of user rows',
      "DELETE FROM column_state WHERE name LIKE 'user_rows%'; DELETE FROM user_rows",
      'differ',
    ],
    [
      'a changed text in the dictionary',
      "UPDATE labels SET label = 'x' || substr(label, 2) WHERE id = (SELECT min(id) FROM labels WHERE label IS NOT NULL)",
      'does not match its hash',
    ],
  ])('finds %s', async (_, sql, expected) => {
    const path = await createDatabase();
    tamper(path, sql);
    expect(verify(path).problems.join('\n')).toContain(expected);
  });

  test('finds a damaged page', async () => {
    const path = await createDatabase();
    const client = new Database(path);
    const index = client.query<{ rootpage: number }, []>(
      "SELECT rootpage FROM sqlite_schema WHERE name = 'chunks_series'",
    );
    const root = (index.get()?.rootpage ?? 1) - 1;
    client.close();
    const bytes = readFileSync(path);
    bytes.fill(0xff, root * 4096, root * 4096 + 64);
    writeFileSync(path, bytes);
    const { exitCode, stdout, stderr } = await runCli(['verify'], {
      env: { DATABASE_URL: `file:${path}`, JWT_SECRET: SECRET },
    });
    expect(exitCode).toBe(1);
    expect(stdout + stderr).toMatch(/damaged|malformed/);
  });

  test('prints each problem on the command line and exits with status 1', async () => {
    const path = await createDatabase();
    const env = { DATABASE_URL: `file:${path}`, JWT_SECRET: SECRET };
    const sound = await runCli(['verify'], { env });
    expect({ exitCode: sound.exitCode, stdout: sound.stdout }).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/ chunks? verified\./),
    });
    tamper(path, "UPDATE ledger SET items = items + 1 WHERE name = 'stored'");
    const damaged = await runCli(['verify'], { env });
    expect(damaged.exitCode).toBe(1);
    expect(damaged.stdout).toContain('The ledger counts');
  });
});

describe('the write-ahead log', () => {
  /** Creates a database with the write-ahead log that a crash leaves. Returns its path. */
  async function crashed(): Promise<string> {
    const live = join(folder.path, `${++databases}.db`);
    const storage = openStorage(live);
    const writer = createWriter(storage);
    for (let i = 0; i < 20; i++) await writer.commit({ ...NOTHING, records: [metric(1e12 + i)] });
    const copy = join(folder.path, `${++databases}.db`);
    for (const suffix of ['', '-wal']) copyFileSync(live + suffix, copy + suffix);
    storage.close();
    return copy;
  }

  test('is reported without dropped frames if every frame verifies', async () => {
    const report = inspectWal(await crashed());
    expect(report?.dropped).toBe(0);
    expect(report?.committed).toBeGreaterThan(20);
    expect(inspectWal(join(folder.path, 'none.db'))).toBeUndefined();
  });

  test('is reported with the frames that SQLite drops after one that does not verify', async () => {
    const path = await crashed();
    const wal = readFileSync(`${path}-wal`);
    const frames = (wal.length - 32) / (4096 + 24);
    const at = 32 + 30 * (4096 + 24) + 1_000; // in the 31st frame
    wal[at] = (wal[at] as number) ^ 1;
    writeFileSync(`${path}-wal`, wal);
    const report = inspectWal(path);
    expect((report?.committed ?? 0) + (report?.dropped ?? 0)).toBe(frames);
    expect(report?.committed).toBeLessThanOrEqual(30);
    const storage = openStorage(path);
    expect(storage.walReport).toEqual(report);
    storage.close();
  });
});
