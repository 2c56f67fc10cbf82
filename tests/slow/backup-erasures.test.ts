import { Database } from 'bun:sqlite';
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportedIds, succeed } from '../harness/backups.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const dataDir = join(folder.path, 'data');
const backupDir = join(folder.path, 'backups');
const log = join(backupDir, 'rawlog-erasures.log');
/** A backup with the rows of three users, made before any was erased. */
const backup = join(folder.path, 'before.tar');
const keyCopy = join(folder.path, 'key-copy');
const ids: Record<string, string[]> = {};

/** Records rows of a user. */
async function record(target: Target, user: string, count = 5): Promise<string[]> {
  const authorization = `Bearer ${await token({ sub: user })}`;
  const { body } = await post(target, '/log_batch', { metrics: Array(count).fill(METRIC) }, { authorization });
  return body.metrics;
}

/** Creates a board and a shared link of a user. */
async function share(target: Target, user: string): Promise<void> {
  const authorization = `Bearer ${await token({ sub: user })}`;
  const board = { name: `Board of ${user}`, scope: 'account', charts: [] };
  const { body } = await post(target, '/api/boards', board, { authorization });
  expect((await post(target, `/api/boards/${body.id}/links`, {}, { authorization })).status).toBe(200);
}

/** Returns the owners of the boards and the creators of the links in a database. */
function sharers(dataDir: string): string[] {
  using database = new Database(join(dataDir, 'rawlog.db'), { readonly: true });
  return database
    .query<{ user: string }, []>(
      `SELECT owner AS user FROM boards WHERE owner IS NOT NULL
       UNION ALL SELECT creator FROM board_links WHERE creator IS NOT NULL ORDER BY 1`,
    )
    .all()
    .map(({ user }) => user);
}

async function erase(target: Target, user: string) {
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  return send(`${target.url}/api/users/${user}`, { method: 'DELETE', headers: { authorization } });
}

beforeAll(async () => {
  const target = await startTarget({ ...UNLIMITED, BACKUP_DIR: backupDir }, { dataDir });
  for (const user of ['user-ada', 'user-berta', 'user-carla']) {
    ids[user] = await record(target, user);
    await share(target, user);
  }
  await succeed(['backup', backup], dataDir);
  expect(existsSync(log)).toBe(false);
  expect((await erase(target, 'user-ada')).status).toBe(200);
  expect(readFileSync(log, 'utf8').split('\n')).toHaveLength(2);
  ids['returning user-ada'] = await record(target, 'user-ada');
  await target.stop();
  cpSync(join(dataDir, 'erasure-key'), keyCopy);
  await succeed(['erase', 'user-berta'], dataDir, { BACKUP_DIR: backupDir });
  expect(readFileSync(log, 'utf8').split('\n')).toHaveLength(3);
  expect(readFileSync(log, 'utf8')).not.toMatch(/user-(ada|berta)/);
});

describe('erasures after the backup', () => {
  test('are repeated from the log in BACKUP_DIR with the copy of the key', async () => {
    const restored = join(folder.path, 'from-log');
    const args = ['restore', backup, '--erasure-key', keyCopy, '--keep-links'];
    const output = await succeed(args, restored, { BACKUP_DIR: backupDir });
    expect(output).toContain('Erased again: 2 of 2 users');
    expect(await exportedIds(restored)).toEqual(ids['user-carla'] ?? []);
    expect(sharers(restored)).toEqual(['user-carla', 'user-carla']);
    expect(await succeed(['verify'], restored)).toContain('5 metrics');
    expect(readFileSync(join(restored, 'erasure-key'), 'utf8')).toBe(readFileSync(keyCopy, 'utf8'));
    // importing an export from before the erasures does not bring the users back either
    const old = join(folder.path, 'old.ndjson');
    const plain = join(folder.path, 'plain');
    await succeed(['restore', backup], plain);
    await succeed(['export', old], plain);
    expect(await succeed(['import', old], restored)).toContain('skipped 10 of erased users');
  });

  test('are repeated from the database that is replaced', async () => {
    const replaced = join(folder.path, 'replaced');
    cpSync(dataDir, replaced, { recursive: true });
    expect(await succeed(['restore', backup, '--force'], replaced)).toContain('Erased again: 2 of 2 users');
    expect(await exportedIds(replaced)).toEqual(ids['user-carla'] ?? []);
  });

  test('keep the rows that a returning user recorded later', async () => {
    // a restore without the erasures brings the users back, so a later backup contains rows from before and after
    const mixed = join(folder.path, 'mixed');
    await succeed(['restore', backup, '--erasure-key', keyCopy], mixed);
    const target = await startTarget(UNLIMITED, { dataDir: mixed });
    const returned = await record(target, 'user-ada', 7);
    expect(returned[0]?.localeCompare(ids['returning user-ada']?.[0] ?? '')).toBe(1);
    await target.stop();
    const later = join(folder.path, 'later.tar');
    await succeed(['backup', later], mixed);
    const restored = join(folder.path, 'restored-later');
    await succeed(['restore', later, '--erasure-key', keyCopy], restored, { BACKUP_DIR: backupDir });
    expect((await exportedIds(restored)).sort()).toEqual([...(ids['user-carla'] ?? []), ...returned].sort());
    expect(await succeed(['verify'], restored)).toContain('12 metrics');
  });

  test('without the key, or with a damaged log, stop the restore unless they are skipped', async () => {
    const otherLog = join(folder.path, 'damaged');
    mkdirSync(otherLog);
    const [first = '', second = ''] = readFileSync(log, 'utf8').split('\n');
    writeFileSync(join(otherLog, 'rawlog-erasures.log'), `${first}\n${second.replace('"cutoff":', '"cutoff": ')}\n`);
    for (const [name, args, env, words, skippedCount, rows] of [
      ['no-key', [], { BACKUP_DIR: backupDir }, '--erasure-key', 2, 15],
      ['damaged-log', ['--erasure-key', keyCopy], { BACKUP_DIR: otherLog }, 'are damaged: 1', 1, 10],
    ] as const) {
      const restored = join(folder.path, name);
      const base = { JWT_SECRET: SECRET, DATA_DIR: restored };
      const failed = await runCli(['restore', backup, ...args], { env: { ...base, ...env } });
      expect(failed).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(words) });
      expect(existsSync(join(restored, 'rawlog.db'))).toBe(false);
      const skipped = await runCli(['restore', backup, ...args, '--without-later-erasures'], {
        env: { ...base, ...env },
      });
      const note = `in the database again: ${skippedCount}`;
      expect(skipped).toMatchObject({ exitCode: 0, stderr: expect.stringContaining(note) });
      expect(await exportedIds(restored)).toHaveLength(rows);
    }
  });
});

describe('the erasure log', () => {
  test('is completed at the next start: an erasure interrupted before it was logged, or made without BACKUP_DIR', async () => {
    const copy = join(folder.path, 'completed');
    cpSync(dataDir, copy, { recursive: true });
    const logs = join(folder.path, 'completed-logs');
    mkdirSync(logs);
    const lines = readFileSync(log, 'utf8').split('\n');
    // a crash has left half of the first line
    const torn = join(logs, 'rawlog-erasures.log');
    writeFileSync(torn, lines[0]?.slice(0, 50) ?? '');
    const target = await startTarget({ ...UNLIMITED, BACKUP_DIR: logs }, { dataDir: copy });
    while (readFileSync(torn, 'utf8').split('\n').length < 3) await send(`${target.url}/healthz`);
    await target.stop();
    expect(readFileSync(torn, 'utf8').split('\n')).toEqual(lines);
    const restored = join(folder.path, 'from-torn');
    const args = ['restore', backup, '--erasure-key', keyCopy];
    expect(await succeed(args, restored, { BACKUP_DIR: logs })).toContain('Erased again: 2 of 2');
  });

  test('that cannot be written fails the request, and is completed when the request is repeated', async () => {
    const copy = join(folder.path, 'unwritable');
    const logs = join(folder.path, 'unwritable-logs');
    cpSync(dataDir, copy, { recursive: true });
    writeFileSync(logs, 'a file in place of the folder');
    const target = await startTarget({ ...UNLIMITED, BACKUP_DIR: logs }, { dataDir: copy });
    const failed = await erase(target, 'user-carla');
    expect([failed.status, failed.body.code]).toEqual([503, 'storage_unavailable']);
    rmSync(logs);
    expect((await erase(target, 'user-carla')).status).toBe(200);
    expect(readFileSync(join(logs, 'rawlog-erasures.log'), 'utf8').split('\n').length).toBeGreaterThanOrEqual(4);
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    await target.stop();
  });
});

test('a restore revokes shared links, because any may have been revoked after the backup', async () => {
  const restored = join(folder.path, 'without-links');
  const args = ['restore', backup, '--erasure-key', keyCopy, '--json'];
  const outcome = JSON.parse(await succeed(args, restored, { BACKUP_DIR: backupDir }));
  expect(outcome).toMatchObject({ erased_again: 2, revoked_links: 1 });
  expect(sharers(restored)).toEqual(['user-carla']); // the board
});
