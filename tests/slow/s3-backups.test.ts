import { afterAll, beforeAll, expect, test } from 'bun:test';
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { readDocument } from '../docs/markdown.ts';
import { exportedIds, succeed } from '../harness/backups.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { type S3Server, startS3Server } from '../harness/s3-server.ts';
import { COMMAND, runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const METRICS_TOKEN = 'a-token-for-metrics';
/** Requests during a backup, of 100 rows each. */
const LOAD_REQUESTS = 20;
/** Rows of about 22 MB, more than two parts of an upload. */
const LARGE_BATCHES = 24;
const LARGE_BATCH = Array(900).fill({ ...METRIC, data_string: 'x'.repeat(1000) });

const folder = temporaryFolder();
const home = join(folder.path, 'home');
const dataDir = join(home, 'data');
let s3: S3Server;
/** A server with these rows. */
let target: Target;

beforeAll(async () => {
  s3 = await startS3Server(join(folder.path, 's3'));
  mkdirSync(home);
  target = await startTarget(UNLIMITED, { dataDir });
  for (let i = 0; i < LARGE_BATCHES; i++) await post(target, '/log_batch', { metrics: LARGE_BATCH });
});
afterAll(async () => {
  await target.stop();
  await s3[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Runs a command on the data folder with the settings of S3. */
const rawlog = (args: readonly string[], env: Record<string, string> = {}) =>
  runCli(args, { env: { DATA_DIR: dataDir, JWT_SECRET: SECRET, ...s3.env, ...env } });

/** Returns the names of the objects with a prefix. */
const names = (prefix: string) =>
  readdirSync(dirname(s3.pathOf(`${prefix}/x`)))
    .filter((name) => name.endsWith('_object'))
    .map((name) => name.replace('._S3rver_object', ''));

test('a backup is made under load, verified and restored, as documented', async () => {
  const program = join(home, 'dist/rawlog');
  mkdirSync(dirname(program));
  writeFileSync(program, `#!/bin/sh\nexec ${COMMAND.map((word) => `'${word}'`).join(' ')} "$@"\n`, { mode: 0o755 });
  const before = await exportedIds(dataDir);
  const commands = readDocument('docs/backup.md').blocks.find(({ mode }) => mode === 'bucket')?.text ?? '';
  const child = Bun.spawn(['sh', '-ec', commands], {
    cwd: home,
    env: { PATH: process.env['PATH'], JWT_SECRET: SECRET, ...s3.env },
    stdout: 'ignore',
    stderr: 'ignore',
  });
  let isRunning = true;
  void child.exited.then(() => {
    isRunning = false;
  });
  for (let i = 0; isRunning && i < LOAD_REQUESTS; i++)
    await post(target, '/log_batch', { metrics: Array(100).fill(METRIC) });
  expect(await child.exited).toBe(0);
  expect(s3.requests.filter((request) => request.includes('partNumber=')).length).toBeGreaterThan(1);
  expect(s3.uploads()).toEqual([]);
  const restored = new Set(await exportedIds(join(home, 'copy')));
  const after = new Set(await exportedIds(dataDir));
  expect(before.filter((id) => !restored.has(id))).toEqual([]);
  expect([...restored].filter((id) => !after.has(id))).toEqual([]);
});

test('an object is replaced only with --force, and a damaged one is found', async () => {
  const url = 's3://my-bucket/once/backup.tar';
  expect(await rawlog(['backup', url])).toMatchObject({ exitCode: 0 });
  const first = readFileSync(s3.pathOf('once/backup.tar'));
  await post(target, '/log_raw_metric', METRIC);
  const second = await rawlog(['backup', url]);
  expect(second).toMatchObject({ exitCode: 1, stderr: expect.stringContaining(`${url} already exists.`) });
  expect(readFileSync(s3.pathOf('once/backup.tar')).equals(first)).toBe(true);
  expect(await rawlog(['backup', url, '--force'])).toMatchObject({ exitCode: 0 });
  const bytes = readFileSync(s3.pathOf('once/backup.tar'));
  expect(bytes.equals(first)).toBe(false);
  bytes[9e6] = (bytes[9e6] ?? 0) ^ 1;
  writeFileSync(s3.pathOf('once/backup.tar'), bytes);
  const damaged = { exitCode: 1, stdout: expect.stringContaining('Damage in rawlog.db.') };
  expect(await rawlog(['verify', url])).toMatchObject(damaged);
  expect(await rawlog(['restore', url], { DATA_DIR: join(folder.path, 'damaged') })).toMatchObject(damaged);
});

test('an upload that is killed leaves no object, and one that is canceled leaves no parts either', async () => {
  for (const [signal, parts] of [
    ['SIGTERM', 0],
    ['SIGKILL', 1],
  ] as const) {
    const url = `s3://my-bucket/killed/${signal}.tar`;
    const { promise: isSending, resolve } = Promise.withResolvers<void>();
    const release = s3.hang((request) => {
      const part = request.includes(signal) && /partNumber=([12])&/.exec(request)?.[1];
      if (part === '2') resolve();
      return typeof part === 'string';
    });
    const child = Bun.spawn([...COMMAND, 'backup', url], {
      env: { DATA_DIR: dataDir, JWT_SECRET: SECRET, ...s3.env },
      stderr: 'ignore',
    });
    await isSending;
    child.kill(signal);
    if (signal === 'SIGTERM') release();
    await child.exited;
    while (s3.uploads().length !== parts) await new Promise((resolve) => setImmediate(resolve));
    expect(await rawlog(['verify', url])).toMatchObject({ exitCode: 1, stderr: `There is no object ${url}.\n` });
    release();
  }
});

test.each([
  ['verify', [], []],
  ['restore', ['--data-dir', 'new'], ['new', 'new/rawlog.db.lock']],
])(
  'a signal ends %s while S3 does not respond, and leaves only the lock of a data folder',
  async (command, options, left) => {
    const url = 's3://my-bucket/silent/backup.tar';
    expect(await rawlog(['backup', url, '--force'])).toMatchObject({ exitCode: 0 });
    const { promise: isReading, resolve } = Promise.withResolvers<void>();
    const release = s3.hang((request) => {
      const isRead = request === 'GET /my-bucket/silent/backup.tar';
      if (isRead) resolve();
      return isRead;
    });
    using work = temporaryFolder();
    const child = Bun.spawn([...COMMAND, command, url, ...options], {
      cwd: work.path,
      env: { DATA_DIR: dataDir, JWT_SECRET: SECRET, TMPDIR: work.path, ...s3.env },
      stderr: 'ignore',
    });
    await isReading;
    child.kill('SIGINT');
    await child.exited;
    expect(child.signalCode).toBe('SIGINT');
    expect(readdirSync(work.path, { recursive: true })).toEqual(left);
    release();
  },
);

test('errors say what to do, and never contain credentials', async () => {
  const url = 's3://my-bucket/errors/backup.tar';
  for (const [address, env, exitCode, words] of [
    [url, { S3_ENDPOINT: 'http://127.0.0.1:9' }, 1, '127.0.0.1:9 cannot be reached'],
    [url, { S3_ACCESS_KEY_ID: 'wrong-secret' }, 1, 'Check S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY.'],
    ['s3://other-bucket/x', {}, 1, 'There is no bucket other-bucket at'],
    [url, { S3_ACCESS_KEY_ID: '' }, 2, 'S3_ACCESS_KEY_ID should be set'],
    ['s3://key:wrong-secret@my-bucket/x', {}, 2, 'should not contain credentials'],
  ] as const) {
    const { stderr, ...result } = await rawlog(['backup', address], env);
    expect({ ...result, stderr }).toMatchObject({ exitCode, stderr: expect.stringContaining(words) });
    expect(stderr).not.toContain('wrong-secret');
  }
});

test('a server stores, checks and rotates backups, and reports their age', async () => {
  const env = { ...UNLIMITED, ...s3.env, METRICS_TOKEN, BACKUP_DIR: 's3://my-bucket/scheduled' };
  const scheduled = await startTarget({ ...env, BACKUP_EVERY: '1s', BACKUP_KEEP: '2' });
  await post(scheduled, '/log_raw_metric', METRIC);
  const stored: unknown[] = [];
  await scheduled.logged(({ msg, file }) => {
    if (msg === 'backup stored' && !stored.includes(file)) stored.push(file);
    return stored.length === 3;
  });
  const authorization = `Bearer ${METRICS_TOKEN}`;
  const { text } = await send(`${scheduled.url}/metrics`, { headers: { authorization } });
  expect(Number(/^rawlog_backup_age_seconds (.*)$/m.exec(text)?.[1])).toBeLessThan(60);
  expect(await scheduled.stop()).toBe(0);
  expect(names('scheduled')).toHaveLength(2);
  expect(stored.slice(1).filter((file) => !names('scheduled').includes(String(file).replace(/.*\//, '')))).toEqual([]);
  expect(s3.requests.some((request) => request.startsWith('GET /my-bucket/scheduled/rawlog-2'))).toBe(true);
});

test('the newest backup is found on the last page of a list', async () => {
  const path = s3.pathOf('many/x');
  mkdirSync(dirname(path));
  for (const day of ['01', '02', '03', '04', '05'])
    writeFileSync(s3.pathOf(`many/rawlog-202001${day}T000000Z.tar`), '');
  const BACKUP_DIR = 's3://my-bucket/many';
  const server = await startTarget({ ...UNLIMITED, ...s3.env, METRICS_TOKEN, BACKUP_DIR, BACKUP_EVERY: '9999d' });
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  let lastAt: string | null = null;
  while (lastAt === null) {
    ({ last_at: lastAt } = (await send(`${server.url}/api/status`, { headers: { authorization } })).body.backup);
  }
  expect(lastAt).toStartWith('2020-01-05T00:00:00');
  expect(await server.stop()).toBe(0);
});

test('erasures after the last backup are in S3 before they are acknowledged, and a restore repeats them', async () => {
  const source = join(folder.path, 'erasures');
  const BACKUP_DIR = 's3://my-bucket/erasures';
  const server = await startTarget({ ...UNLIMITED, ...s3.env, BACKUP_DIR, BACKUP_EVERY: '9999d' }, { dataDir: source });
  for (const user of ['ada', 'berta', 'carla']) {
    const authorization = `Bearer ${await token({ sub: user })}`;
    expect((await post(server, '/log_raw_metric', METRIC, { authorization })).status).toBe(200);
  }
  const backup = `${BACKUP_DIR}/manual.tar`;
  await succeed(['backup', backup], source, s3.env);
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  const erase = (user: string) =>
    send(`${server.url}/api/users/${user}`, { method: 'DELETE', headers: { authorization } });
  expect((await erase('ada')).status).toBe(200);
  expect(names('erasures/rawlog-erasures')).toHaveLength(1);
  const bucket = join(folder.path, 's3/my-bucket');
  renameSync(bucket, `${bucket}-away`);
  const { status, body } = await erase('berta');
  expect([status, body.code]).toEqual([503, 'storage_unavailable']);
  expect((await post(server, '/log_raw_metric', METRIC)).status).toBe(200);
  renameSync(`${bucket}-away`, bucket);
  expect((await erase('berta')).status).toBe(200);
  expect(names('erasures/rawlog-erasures')).toHaveLength(3); // both erasures of berta
  await server.stop();
  await succeed(['erase', 'carla'], source, { ...s3.env, BACKUP_DIR });
  const restored = join(folder.path, 'restored');
  const key = join(folder.path, 'key');
  cpSync(join(source, 'erasure-key'), key);
  const output = await succeed(['restore', backup, '--erasure-key', key], restored, s3.env);
  expect(output).toContain('Erased again: 3 of 3 users');
  expect(await exportedIds(restored)).toEqual([]);
});

test('the doctor reports a bucket that cannot be listed', async () => {
  const doctor = (BACKUP_DIR: string) => rawlog(['doctor', '--json'], { BACKUP_DIR, PORT: '0' });
  expect((await doctor('s3://my-bucket/x')).stdout).not.toContain('"backups"');
  const { stdout } = await doctor('s3://other-bucket/x');
  const { findings } = JSON.parse(stdout) as { findings: Record<string, string>[] };
  expect(findings.find(({ check }) => check === 'backups')).toMatchObject({
    summary: expect.not.stringContaining('other-bucket'),
    detail: expect.stringContaining('There is no bucket other-bucket'),
  });
});
