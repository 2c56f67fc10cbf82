import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  closeSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  read,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { BackupOrigin } from '../../src/backup/write.ts';
import { readContents } from '../../src/storage/snapshot.ts';
import { exportedIds, listTar, packBackup, succeed } from '../harness/backups.ts';
import { ANALYTICS, METRIC, post } from '../harness/client.ts';
import { COMMAND, runCli, SECRET, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const dataDir = join(folder.path, 'data');
const backup = join(folder.path, 'backup.tar');
let ids: string[];

/** Creates an empty folder. */
let folders = 0;
function newFolder(): string {
  const path = join(folder.path, `folder-${++folders}`);
  mkdirSync(path);
  return path;
}

/** Runs a command that must fail. Returns what it reports. */
async function failure(args: readonly string[], dataFolder: string): Promise<string> {
  const { exitCode, stdout, stderr } = await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dataFolder } });
  expect({ args, exitCode }).toEqual({ args, exitCode: 1 });
  return stdout + stderr;
}

beforeAll(async () => {
  const target = await startTarget(UNLIMITED, { dataDir });
  await post(target, '/log_batch', { metrics: Array(20).fill(METRIC), analytics: Array(10).fill(ANALYTICS) });
  await target.stop();
  await succeed(['backup', backup], dataDir);
  ids = await exportedIds(dataDir);
});

describe('backup', () => {
  test('creates a file that only its owner can read, and prints a summary as text or JSON', async () => {
    expect(statSync(backup).mode & 0o777).toBe(0o600);
    const path = join(newFolder(), 'other.tar');
    const result = await runCli(['backup', path, '--json'], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
    expect(result).toMatchObject({ exitCode: 0, stderr: expect.stringContaining('erasure-key') });
    expect(JSON.parse(result.stdout)).toMatchObject({
      file: path,
      rows: { metrics: 20, analytics: 10 },
      newest_id: ids.toSorted().at(-1),
      parts: 1,
    });
    const key = readFileSync(join(dataDir, 'erasure-key'), 'utf8').trim();
    expect([key, SECRET].filter((secret) => readFileSync(path).includes(secret))).toEqual([]);
  });

  test('writes to standard output', async () => {
    const child = Bun.spawn(['sh', '-c', 'exec "$@" > piped.tar', '-', ...COMMAND, 'backup', '-'], {
      cwd: folder.path,
      env: { DATA_DIR: dataDir, JWT_SECRET: SECRET },
      stderr: 'ignore',
    });
    expect(await child.exited).toBe(0);
    expect(await succeed(['verify', join(folder.path, 'piped.tar')], dataDir)).toContain('20 metrics');
  });

  test('replaces a file only with --force, and never a symbolic link or a file of the database', async () => {
    const path = join(newFolder(), 'existing.tar');
    writeFileSync(path, 'precious');
    chmodSync(path, 0o644);
    expect(await failure(['backup', path], dataDir)).toContain('already exists');
    expect(readFileSync(path, 'utf8')).toBe('precious');
    const link = join(newFolder(), 'link.tar');
    symlinkSync(path, link);
    for (const args of [[], ['--force']]) {
      expect(await failure(['backup', link, ...args], dataDir)).toContain('symbolic link');
    }
    expect(readFileSync(path, 'utf8')).toBe('precious');
    expect(await failure(['backup', join(dataDir, 'rawlog.db'), '--force'], dataDir)).toContain("rawlog's own files");
    await succeed(['backup', path, '--force'], dataDir);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await succeed(['verify', path], dataDir)).toContain('20 metrics');
  });

  test('fails where there is no database, without creating anything', async () => {
    const empty = newFolder();
    expect(await failure(['backup', join(empty, 'x.tar')], join(empty, 'data'))).toContain('There is no database');
    expect(readdirSync(empty)).toEqual([]);
  });
});

describe('restore', () => {
  test('creates a database with the same records, without secrets, and says so', async () => {
    const restored = join(newFolder(), 'data');
    const { exitCode, stderr } = await runCli(['restore', backup], { env: { DATA_DIR: restored } });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: expect.stringContaining('contain no secrets') });
    expect(readdirSync(restored).sort()).toEqual(['rawlog.db', 'rawlog.db.lock']);
    expect(statSync(join(restored, 'rawlog.db')).mode & 0o777).toBe(0o600);
    expect(await exportedIds(restored)).toEqual(ids);
    expect(await succeed(['verify'], restored)).toContain('20 metrics');
    const target = await startTarget(UNLIMITED, { dataDir: restored });
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    expect(await target.stop()).toBe(0);
    expect(await exportedIds(restored)).toHaveLength(31);
  });

  test('replaces a database only with --force, and its write-ahead log with it', async () => {
    const existing = join(newFolder(), 'data');
    const target = await startTarget(UNLIMITED, { dataDir: existing });
    await post(target, '/log_raw_metric', METRIC);
    expect(await failure(['restore', backup, '--force'], existing)).toContain('Stop that process');
    await target.stop('SIGKILL');
    expect(existsSync(join(existing, 'rawlog.db-wal'))).toBe(true);
    expect(await failure(['restore', backup], existing)).toContain('--force');
    expect(await exportedIds(existing)).toHaveLength(1);
    await succeed(['restore', backup, '--force'], existing);
    expect(await exportedIds(existing)).toEqual(ids);
    expect(await succeed(['verify'], existing)).toContain('20 metrics');
  });

  test('replaces a damaged database', async () => {
    const existing = newFolder();
    writeFileSync(join(existing, 'rawlog.db'), 'not a database'.repeat(1_000));
    expect(await failure(['export', '-'], existing)).toContain('not a database');
    expect(await failure(['restore', backup, '--force'], existing)).toContain('--without-later-erasures');
    await succeed(['restore', backup, '--force', '--without-later-erasures'], existing);
    expect(await exportedIds(existing)).toEqual(ids);
  });

  test('changes nothing if the backup is damaged', async () => {
    const damaged = join(newFolder(), 'damaged.tar');
    const bytes = readFileSync(backup);
    bytes.writeUInt8(99, bytes.length - 3_000);
    writeFileSync(damaged, bytes);
    const empty = newFolder();
    expect(await failure(['restore', damaged], empty)).toContain('Damage in rawlog.db.000');
    expect(readdirSync(empty)).toEqual(['rawlog.db.lock']);
  });

  test.each([
    ['trigger', 'CREATE TRIGGER t BEFORE INSERT ON metrics BEGIN SELECT RAISE(IGNORE); END', 'contains the trigger'],
    ['view', 'CREATE VIEW v AS SELECT * FROM metrics', 'contains the view'],
    ['table', 'CREATE TABLE extra (a)', 'contains the table'],
    ['row that the ledger does not count', "DELETE FROM ledger WHERE name = 'stored'", 'ledger'],
  ])('rejects a backup with an extra %s', async (_name, sql, words) => {
    const place = newFolder();
    const path = join(place, 'rawlog.db');
    const archive = readFileSync(backup);
    const part = listTar(archive)[1];
    if (!part) throw new Error('unreachable: a backup has two files');
    writeFileSync(path, archive.subarray(part.offset, part.offset + part.bytes));
    const client = new Database(path);
    client.run('PRAGMA journal_mode = DELETE');
    client.run(sql);
    const contents = readContents(client);
    client.close();
    const bytes = readFileSync(path);
    const snapshot = {
      ...{ pageSize: 4096, sizeBytes: bytes.length, close() {} },
      // biome-ignore lint/correctness/useYield: there is nothing to scan
      *contents() {
        return contents;
      },
      read: (buffer: Uint8Array, offset: number) => void bytes.copy(buffer, 0, offset),
    };
    const origin: BackupOrigin = { version: '0.0.0', takenAt: Date.now(), erasureKey: undefined };
    const malicious = join(place, 'malicious.tar');
    writeFileSync(malicious, packBackup(snapshot, origin));
    expect(await failure(['verify', malicious], dataDir)).toContain(words);
    const target = newFolder();
    expect(await failure(['restore', malicious], target)).toContain(words);
    expect(readdirSync(target)).toEqual(['rawlog.db.lock']);
  });
});

test('verify deletes the temporary file that a killed one has left, and not that of a running one', async () => {
  const place = newFolder();
  const pipe = join(place, 'pipe');
  const path = join(place, 'backup.tar');
  const env = { JWT_SECRET: SECRET, DATA_DIR: dataDir };
  const archive = readFileSync(backup);
  writeFileSync(path, archive);
  Bun.spawnSync(['mkfifo', pipe]);
  const writer = openSync(pipe, constants.O_RDWR);
  writeSync(writer, archive, 0, 10_000); // the verification then waits for the rest
  const running = Bun.spawn([...COMMAND, 'verify', pipe], { env, stdout: 'ignore', stderr: 'ignore' });
  const copies = () => readdirSync(place).filter((name) => name.startsWith('.rawlog'));
  while (copies().length === 0) await new Promise(setImmediate);
  expect((await runCli(['verify', path], { env })).exitCode).toBe(0);
  expect(copies()).toHaveLength(1);
  running.kill('SIGKILL');
  await running.exited;
  expect(copies()).toHaveLength(1);
  expect((await runCli(['verify', path], { env })).exitCode).toBe(0);
  expect(copies()).toEqual([]);
  closeSync(writer);
});

test('a server starts although nobody reads a backup of the stopped database', async () => {
  const copy = join(newFolder(), 'data');
  cpSync(dataDir, copy, { recursive: true });
  const pipe = join(newFolder(), 'pipe');
  Bun.spawnSync(['mkfifo', pipe]);
  const reader = openSync(pipe, constants.O_RDWR);
  const child = Bun.spawn(['sh', '-c', `exec "$@" > ${pipe}`, '-', ...COMMAND, 'backup', '-'], {
    env: { JWT_SECRET: SECRET, DATA_DIR: copy },
    stderr: 'ignore',
  });
  await new Promise((resolve) => read(reader, Buffer.alloc(1), 0, 1, null, resolve));
  const target = await startTarget(UNLIMITED, { dataDir: copy }); // the backup no longer holds its lock
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  child.kill();
  await child.exited;
  closeSync(reader);
  await target.stop();
});
