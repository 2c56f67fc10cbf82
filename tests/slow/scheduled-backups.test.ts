import { expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exportedIds, succeed } from '../harness/backups.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const METRICS_TOKEN = 'a-token-for-metrics';
const isStored = (line: Record<string, unknown>) => line['msg'] === 'backup stored';
const hasFailed = (line: Record<string, unknown>) => line['msg'] === 'the backup failed';

/** Returns the backup part of the status, and the metric. */
async function statusOf(target: Target) {
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  const { body } = await send(`${target.url}/api/status`, { headers: { authorization } });
  const { text } = await send(`${target.url}/metrics`, { headers: { authorization: `Bearer ${METRICS_TOKEN}` } });
  return { ...body.backup, metric: /^rawlog_backup_age_seconds (.*)$/m.exec(text)?.[1] };
}

test('a server stores a verified backup when one is due, and reports it', async () => {
  using folder = temporaryFolder();
  const dataDir = join(folder.path, 'data');
  const backupDir = join(folder.path, 'new/backups');
  const env = { ...UNLIMITED, METRICS_TOKEN };
  let target = await startTarget(env, { dataDir });
  await post(target, '/log_batch', { metrics: Array(10).fill(METRIC) });
  expect(await statusOf(target)).toEqual({
    ...{ last_at: null, age_seconds: null, every_seconds: null, next_at: null, failures: 0, metric: 'Nan' },
  });
  await target.stop('SIGKILL');

  target = await startTarget({ ...env, BACKUP_DIR: backupDir }, { dataDir });
  const line = await target.logged(isStored);
  const [name = '', ...others] = readdirSync(backupDir);
  expect([name, others]).toEqual([expect.stringMatching(/^rawlog-\d{8}T\d{6}Z\.tar$/), []]);
  expect(line).toMatchObject({ file: join(backupDir, name), deleted: 0 });
  expect(statSync(backupDir).mode & 0o777).toBe(0o700);
  expect(statSync(join(backupDir, name)).mode & 0o777).toBe(0o600);
  const status = await statusOf(target);
  expect(new Date(status.last_at).toISOString().replace(/[-:]|\.000/g, '')).toBe(name.slice(7, 23));
  expect(status.age_seconds).toBeGreaterThanOrEqual(0);
  expect(Number(status.metric)).toBeGreaterThanOrEqual(status.age_seconds);
  expect(status).toMatchObject({ every_seconds: 86_400, failures: 0 });
  expect(Date.parse(status.next_at)).toBeWithin(
    Date.parse(status.last_at) + 86_399_000,
    Date.parse(status.last_at) + 86_402_000,
  );
  // recording and stopping work as before: closing the backup has dropped no lock of the server
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  expect(await target.stop()).toBe(0);
  expect(existsSync(`${join(dataDir, 'rawlog.db')}-wal`)).toBe(false);

  expect(await succeed(['verify', join(backupDir, name)], dataDir)).toContain('10 metrics');
  const restored = join(folder.path, 'restored');
  await succeed(['restore', join(backupDir, name)], restored);
  expect(await exportedIds(restored)).toEqual((await exportedIds(dataDir)).slice(0, 10));

  target = await startTarget({ ...env, BACKUP_DIR: backupDir }, { dataDir });
  let lastAt: unknown = null; // until the folder was listed
  while (lastAt === null) ({ last_at: lastAt } = await statusOf(target));
  expect(lastAt).toBe(status.last_at);
  await target.stop();
  expect(readdirSync(backupDir)).toEqual([name]);
});

test('keeps the newest backups and every other file', async () => {
  using folder = temporaryFolder();
  const backupDir = join(folder.path, 'backups');
  mkdirSync(backupDir);
  const recent = `rawlog-before-upgrade-${new Date().toISOString().slice(0, 19).replace(/[-:]/g, '')}Z.tar`;
  const others = [recent, 'my.tar', 'rawlog-20200101T000000Z.tar.gz', 'rawlog-erasures.log', 'rawlog-2020.tar'];
  for (const name of [
    ...others,
    'rawlog-20200101T000000Z.tar',
    'rawlog-20200102T000000Z.tar',
    'rawlog-before-upgrade-20200101T000000Z.tar',
    '.rawlog-backup.tmp',
  ]) {
    writeFileSync(join(backupDir, name), '');
  }
  const target = await startTarget({ ...UNLIMITED, BACKUP_DIR: backupDir, BACKUP_EVERY: '1s', BACKUP_KEEP: '2' });
  await post(target, '/log_raw_metric', METRIC);
  const stored = new Set<unknown>();
  await target.logged((line) => {
    if (isStored(line)) stored.add(line['file']);
    return stored.size === 3;
  });
  expect(await target.stop()).toBe(0);
  const kept = readdirSync(backupDir).filter((name) => !others.includes(name));
  expect(kept).toHaveLength(2);
  expect(readdirSync(backupDir)).toHaveLength(others.length + 2);
  for (const name of kept) await succeed(['verify', join(backupDir, name)], folder.path);
});

test('a backup that fails is logged, leaves the older ones, and does not affect recording', async () => {
  using folder = temporaryFolder();
  const backupDir = join(folder.path, 'backups');
  writeFileSync(backupDir, 'a file in place of the folder');
  const env = { ...UNLIMITED, METRICS_TOKEN, BACKUP_DIR: backupDir };
  const target = await startTarget(env);
  expect(await target.logged(hasFailed)).toMatchObject({ reason: expect.stringContaining(backupDir) });
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  expect(await statusOf(target)).toMatchObject({ last_at: null, failures: 1 });
  expect((await send(`${target.url}/readyz`)).status).toBe(200);
  rmSync(backupDir);
  expect(await target.stop()).toBe(0);
});
