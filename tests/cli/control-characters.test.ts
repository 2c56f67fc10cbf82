import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { openStorage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { runCli, SECRET, temporaryFolder } from '../harness/target.ts';
import { hasTerminals, runInTerminal } from '../harness/terminal.ts';
import { event, metric, records } from '../storage/log.ts';

/*
 * Texts with control characters, in a database that a person looks at in a terminal.
 */

/** Sets the title of the terminal in three ways, reverses the text after it, and returns to the start of the line. */
const HOSTILE = 'a\u001b]0;x\u0007\u009d0;y\u009c\u0090\u007f\u202eb\u2066c\u200f\u061c\rd';
const UNSAFE = /(?!\n)[\p{Cc}\p{Bidi_Control}]/u;
const SINK = `nats://h:4222/${HOSTILE}\nforged`;

let folder: ReturnType<typeof temporaryFolder>;
let env: Record<string, string>;
let backup: string;

beforeAll(async () => {
  folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  mkdirSync(dataDir, { mode: 0o700 });
  env = { DATA_DIR: dataDir, JWT_SECRET: SECRET };
  const path = join(dataDir, 'rawlog.db');
  const storage = openStorage(path);
  const rows = records(4, (seq, i) =>
    i % 2 === 0
      ? metric(seq, { metricName: HOSTILE, dataString: HOSTILE })
      : event(seq, { type: HOSTILE, dataIndex: HOSTILE, data: JSON.stringify({ [HOSTILE]: HOSTILE }) }),
  );
  await createWriter(storage).commit({ ...NOTHING, records: rows, counts: [['stored', rows.length]] });
  const reader = openReader(path);
  runJob(reader.store.catchUp());
  runJob(reader.store.seal());
  reader.close();
  storage.close();
  const client = new Database(path);
  // as in a database that another program has changed
  client.run('UPDATE metrics SET metric_value = metric_value + 1');
  client.run('INSERT INTO sinks (name, metric_seq, analytics_seq, import_id, skipped) VALUES (?, 0, 0, 0, 0)', [SINK]);
  client.run('INSERT INTO sink_rows SELECT 1, ?, seq, ?, 0, 1, NULL FROM metrics', ['metric', `${HOSTILE}\nforged`]);
  client.close();
  backup = join(folder.path, 'backup.tar');
  expect((await runCli(['backup', backup], { env })).exitCode).toBe(0);
});
afterAll(() => folder[Symbol.dispose]());

describe('control characters of recorded texts are escaped by', () => {
  test.each([
    ['verify', ['verify'], 1],
    ['verify of a backup', ['verify', 'BACKUP'], 1],
    ['restore', ['restore', 'BACKUP', '--data-dir', 'NEW'], 1],
    ['forward list', ['forward', 'list'], 0],
    ['forward dead', ['forward', 'dead', SINK], 0],
    ['prune', ['prune', '--older-than', '1d', '--dry-run'], 0],
  ])('%s', async (_, args, status) => {
    const paths: Record<string, string> = { BACKUP: backup, NEW: join(folder.path, 'new') };
    const given = args.map((arg) => paths[arg] ?? arg);
    const { exitCode, stdout, stderr } = await runCli(given, { env });
    expect(exitCode).toBe(status);
    expect(stdout).not.toMatch(UNSAFE);
    expect(stderr).not.toMatch(UNSAFE);
    expect(stdout).not.toMatch(/^forged/m);
    if (args[0] !== 'prune') expect(stdout).toContain('u009d0;y');
  });

  test('the JSON of commands, without changing what it means', async () => {
    const { stdout } = await runCli(['forward', 'dead', SINK, '--json'], { env });
    expect(stdout).not.toMatch(UNSAFE);
    expect(JSON.parse(stdout)).toMatchObject({ sink: SINK, dead_letters: [{ reason: `${HOSTILE}\nforged` }, {}] });
  });

  test('messages about arguments and files', async () => {
    for (const args of [
      [HOSTILE],
      ['status', HOSTILE],
      ['token', `--sub=${HOSTILE}`],
      ['import', `/none/${HOSTILE}`],
    ]) {
      const { exitCode, stdout, stderr } = await runCli(args, { env });
      expect(exitCode).toBeGreaterThan(0);
      expect(`${stdout}${stderr}`).not.toMatch(UNSAFE);
    }
  });
});

describe('an export', () => {
  const ndjson = ['export'];
  const csv = ['export', '--what', 'analytics', '--format', 'csv'];

  test('contains recorded texts as they are where standard output is no terminal', async () => {
    expect((await runCli(ndjson, { env })).stdout).toContain('\u202eb\u2066c\u200f\u061c');
    expect((await runCli(csv, { env })).stdout).toContain(HOSTILE);
  });

  test.skipIf(!hasTerminals)('is escaped for a terminal; NDJSON then means the same', async () => {
    const printed = await runInTerminal(ndjson, env);
    expect(printed.exitCode).toBe(0);
    expect(printed.text).not.toMatch(UNSAFE);
    const parse = (text: string) =>
      text
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line));
    expect(parse(printed.text)).toEqual(parse((await runCli(ndjson, { env })).stdout));
    const table = await runInTerminal(csv, env);
    expect(table.text).not.toMatch(UNSAFE);
    expect(table.text).toContain('\\u009d0;y');
    expect(table.text.split('\n').length).toBe((await runCli(csv, { env })).stdout.split('\r\n').length);
  });

  test.skipIf(!hasTerminals)('in a binary format, and a backup, are not written to a terminal', async () => {
    for (const args of [
      ['export', '--what', 'metrics', '--format', 'parquet'],
      ['backup', '-'],
    ]) {
      expect(await runInTerminal(args, env)).toEqual({ exitCode: 2, text: '' });
    }
  });
});
