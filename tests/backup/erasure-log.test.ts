import { expect, test } from 'bun:test';
import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ERASURE_LOG_NAME, openFolderErasureLog, readErasureLog } from '../../src/backup/erasure-log.ts';
import { openStorage } from '../../src/storage/database.ts';
import { addFinishedErasure, openUserHash } from '../../src/storage/erasure-list.ts';
import { METRIC, post, send } from '../harness/client.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

test('the log contains all erasures after each update, also if it was removed or replaced', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  const logs = join(folder.path, 'logs');
  const file = join(logs, ERASURE_LOG_NAME);
  const storage = openStorage(path);
  const hash = openUserHash(path);
  let erased = 0;
  const erase = (user: string) =>
    addFinishedErasure(storage.client, { userHash: hash(user), cutoffSeq: ++erased, requestedAt: erased });
  const cutoffs = () => readErasureLog(file).erasures.map(({ cutoffSeq }) => cutoffSeq);
  const log = openFolderErasureLog(logs, path, storage.client);
  await log.update();
  erase('ada');
  const first = log.update();
  erase('berta');
  await Promise.all([first, log.update(), log.update()]);
  expect(cutoffs()).toEqual([1, 2]);
  rmSync(logs, { recursive: true });
  await log.update();
  expect(cutoffs()).toEqual([1, 2]);
  mkdirSync(join(folder.path, 'moved'));
  renameSync(file, join(folder.path, 'moved', ERASURE_LOG_NAME));
  erase('carla');
  await log.update();
  expect(cutoffs()).toEqual([1, 2, 3]);
  await log.update();
  expect(cutoffs()).toEqual([1, 2, 3]);
  storage.close();
});

test('the next append removes an incomplete last line; damage elsewhere remains', async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, 'rawlog.db');
  const file = join(folder.path, ERASURE_LOG_NAME);
  const storage = openStorage(path);
  const hash = openUserHash(path);
  let erased = 0;
  const erase = async (user: string) => {
    addFinishedErasure(storage.client, { userHash: hash(user), cutoffSeq: ++erased, requestedAt: erased });
    await openFolderErasureLog(folder.path, path, storage.client).update();
  };
  const read = () => readFileSync(file, 'utf8');
  await erase('ada');
  const first = read();
  // what a power cut in the middle of an append can leave
  for (const torn of [`${'f'.repeat(16)} {"user":"`, '\0'.repeat(100)]) {
    appendFileSync(file, torn);
    expect(readErasureLog(file).damaged).toBe(0);
    const before = read().slice(0, -torn.length);
    await erase(torn);
    expect(read().startsWith(before)).toBe(true);
    expect(read()).not.toContain(torn);
  }
  writeFileSync(file, read().slice(0, -1));
  await erase('berta');
  expect(readErasureLog(file)).toMatchObject({ damaged: 0, erasures: { length: 4 } });
  writeFileSync(file, read().replace(first, `${first.slice(0, -2)}\n`));
  await erase('carla');
  expect(readErasureLog(file).damaged).toBe(1);
  storage.close();
});

test('a log that hangs fails only the erasure: recording continues, and the user is gone', async () => {
  using folder = temporaryFolder();
  const logs = join(folder.path, 'logs');
  mkdirSync(logs);
  // like a network file system that does not respond: a pipe that nobody writes
  Bun.spawnSync(['mkfifo', join(logs, ERASURE_LOG_NAME)]);
  const dataDir = join(folder.path, 'data');
  const target = await startTarget({ ...UNLIMITED, BACKUP_DIR: logs, BACKUP_EVERY: '365d' }, { dataDir });
  const ada = { authorization: `Bearer ${await token({ sub: 'ada' })}` };
  expect((await post(target, '/log_raw_metric', METRIC, ada)).status).toBe(200);
  const authorization = `Bearer ${await token({ sub: 'root', role: 'admin' })}`;
  let isErasing = true;
  const erasing = send(`${target.url}/api/users/ada`, { method: 'DELETE', headers: { authorization } }).finally(() => {
    isErasing = false;
  });
  let recorded = 0;
  while (isErasing) if ((await post(target, '/log_raw_metric', METRIC)).status === 200) recorded++;
  const { status, body } = await erasing;
  expect([status, body.code]).toEqual([503, 'storage_unavailable']);
  expect(recorded).toBeGreaterThan(0);
  const { body: names } = await send(`${target.url}/api/metrics?user_id=ada`, { headers: { authorization } });
  expect(names.metrics).toEqual([]);
  expect(await target.stop()).toBe(0);
}, 180_000); // the erasure waits for ten seconds, and the machine may be busy
