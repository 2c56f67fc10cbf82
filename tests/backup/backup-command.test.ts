import { afterAll, beforeAll, expect, test } from 'bun:test';
import { closeSync, constants, existsSync, openSync, read } from 'node:fs';
import { join } from 'node:path';
import { openStorage } from '../../src/storage/database.ts';
import { COMMAND, SECRET, temporaryFolder } from '../harness/target.ts';

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
const path = join(folder.path, 'rawlog.db');
const env = { DATA_DIR: folder.path, JWT_SECRET: SECRET, PATH: process.env['PATH'] };
/** Root may raise priorities, unless it gives up its capabilities. */
const WITHOUT_PRIVILEGES = process.getuid?.() === 0 ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all', '--'] : [];

beforeAll(() => openStorage(path).close());

test('a signal ends a backup to standard output, even if nobody reads', async () => {
  const pipe = join(folder.path, 'pipe');
  Bun.spawnSync(['mkfifo', pipe]);
  const file = openSync(pipe, constants.O_RDWR);
  const child = Bun.spawn(['sh', '-c', `exec "$@" > ${pipe}`, '-', ...COMMAND, 'backup', '-'], {
    env,
    stderr: 'ignore',
  });
  await new Promise((resolve) => read(file, Buffer.alloc(1), 0, 1, null, resolve));
  child.kill('SIGTERM');
  await child.exited;
  closeSync(file);
  expect(child.signalCode).toBe('SIGTERM');
  expect(existsSync(`${path}-wal`)).toBe(false);
});

test('a backup works at the lowest priority, without the privilege to raise it', async () => {
  const prefix = [...WITHOUT_PRIVILEGES, 'nice', '-n', '19'];
  const child = Bun.spawn([...prefix, ...COMMAND, 'backup', join(folder.path, 'nice.tar')], { env, stderr: 'pipe' });
  expect([await child.exited, await new Response(child.stderr).text()]).toEqual([0, '']);
});
