import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  closeSync,
  constants,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { noVolumes, smallVolume } from '../faults/volume.ts';
import { ANALYTICS, post } from '../harness/client.ts';
import { sampleOf } from '../harness/sampling.ts';
import { COMMAND, runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * Files written by exports: they never replace rawlog's own files, and they replace others atomically.
 */

if (noVolumes) console.warn(`SKIPPED: the export onto a full disk: ${noVolumes}`);

/** Batches of 1,000 events of 1 KB each: 20 MB, which takes several hundred milliseconds to export. */
const BATCHES = 20;

let folder: ReturnType<typeof temporaryFolder>;
let target: Target;
let env: Record<string, string>;
let fullExport: string;

beforeAll(async () => {
  folder = temporaryFolder();
  env = { JWT_SECRET: SECRET, DATA_DIR: join(folder.path, 'data') };
  target = await startTarget({ ...UNLIMITED, MAX_BODY_BYTES: '10000000' }, { dataDir: env['DATA_DIR'] ?? '' });
  const event = { ...ANALYTICS, data: { filler: 'x'.repeat(1000) } };
  for (let batch = 0; batch < BATCHES; batch++) {
    expect((await post(target, '/log_batch', { analytics: Array(1000).fill(event) })).status).toBe(200);
  }
  for (const name of ['jwt-secret', 'operator-secret', 'rawlog.db.audit', 'rawlog.db.alerts']) {
    writeFileSync(join(target.dataDir, name), 's'.repeat(40), { mode: 0o600 });
  }
  fullExport = (await runCli(['export'], { env })).stdout;
  expect(fullExport.split('\n')).toHaveLength(BATCHES * 1000 + 1);
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

/** A new folder for a test. */
function newFolder(): string {
  const path = join(folder.path, crypto.randomUUID());
  mkdirSync(path);
  return path;
}

/** Length of both copies of the header of a wal-index (https://www.sqlite.org/walformat.html). */
const WAL_INDEX_HEADER_BYTES = 96;

describe("an export to one of rawlog's own files is rejected:", () => {
  test.each([
    ...['rawlog.db', 'rawlog.db-wal', 'rawlog.db-shm', 'rawlog.db.lock', 'rawlog.db.audit', 'rawlog.db.alerts'],
    ...['jwt-secret', 'operator-secret', 'erasure-key'],
  ])('%s', async (name) => {
    const path = join(target.dataDir, name);
    // behind the header of the wal-index, the running server marks how far it has read
    const content = () => readFileSync(path).subarray(0, name.endsWith('-shm') ? WAL_INDEX_HEADER_BYTES : undefined);
    const before = content();
    const inode = statSync(path).ino;
    const byName = await runCli(['export', path], { env });
    expect(byName).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringContaining("one of rawlog's own files") });
    const dir = newFolder();
    symlinkSync(path, join(dir, 'link'));
    linkSync(path, join(dir, 'hard'));
    symlinkSync(target.dataDir, join(dir, 'folder'));
    for (const other of sampleOf(['link', 'hard', `folder/${name}`, `folder/../data/${name}`])) {
      const { exitCode, stderr } = await runCli(['export', `${dir}/${other}`], { env });
      expect({ other, exitCode, stderr }).toMatchObject({
        exitCode: 1,
        stderr: expect.stringContaining('own files'),
      });
    }
    expect(statSync(path).ino).toBe(inode);
    expect(content().equals(before)).toBe(true);
  });

  test('and they are as before', async () => {
    expect((await runCli(['export'], { env })).stdout === fullExport).toBe(true);
  });

  test('a path without a file', async () => {
    // SQLite would read a file there as its journal
    const { exitCode } = await runCli(['export', join(target.dataDir, 'rawlog.db-journal')], { env });
    expect({ exitCode, exists: existsSync(join(target.dataDir, 'rawlog.db-journal')) }).toEqual({
      exitCode: 1,
      exists: false,
    });
  });

  test('the write-ahead log of a database behind a symbolic link', async () => {
    const dir = newFolder();
    symlinkSync(target.databasePath, join(dir, 'db'));
    const args = ['export', `${target.databasePath}-wal`, '--database-url', `file:${join(dir, 'db')}`];
    expect((await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dir } })).exitCode).toBe(1);
  });

  test('standard output that is appended to the database', async () => {
    const before = readFileSync(target.databasePath);
    const handle = openSync(target.databasePath, 'a');
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: handle, stderr: 'pipe' });
    closeSync(handle);
    expect(await child.exited).toBe(1);
    expect(readFileSync(target.databasePath).equals(before)).toBe(true);
  });
});

describe('an export to anything but a regular file is rejected:', () => {
  test.each([
    ['a folder', (dir: string) => dir, 'is a folder'],
    ['a folder that does not exist', (dir: string) => join(dir, 'none/'), 'is a folder'],
    ['a file in a folder that does not exist', (dir: string) => join(dir, 'none/file'), 'ENOENT'],
    ['a device', () => '/dev/null', 'is not a regular file'],
    [
      'a FIFO',
      (dir: string) => {
        Bun.spawnSync(['mkfifo', join(dir, 'fifo')]);
        return join(dir, 'fifo');
      },
      'is not a regular file',
    ],
    [
      'a link to nothing',
      (dir: string) => {
        symlinkSync(join(dir, 'nothing'), join(dir, 'dangling'));
        return join(dir, 'dangling');
      },
      'a symbolic link to a file that does not exist',
    ],
  ])('%s', async (_, make, words) => {
    const dir = newFolder();
    const path = make(dir);
    const before = readdirSync(dir);
    const { exitCode, stderr } = await runCli(['export', path], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining(words) });
    expect(readdirSync(dir)).toEqual(before);
  });
});

describe('an export to a file', () => {
  test('replaces the file once it is complete, readable only by its owner', async () => {
    const dir = newFolder();
    const path = join(dir, 'file');
    writeFileSync(path, 'previous', { mode: 0o644 });
    symlinkSync(path, join(dir, 'link'));
    expect(await runCli(['export', join(dir, 'link')], { env })).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(readFileSync(path, 'utf8') === fullExport).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir).sort()).toEqual(['file', 'link']);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const)(
    'interrupted by %s leaves the previous file, removes its draft and exits by the signal',
    async (signal) => {
      const dir = newFolder();
      const path = join(dir, 'file');
      writeFileSync(path, 'previous');
      const child = Bun.spawn([...COMMAND, 'export', path], { env, stdout: 'ignore', stderr: 'ignore' });
      // wait for the draft
      while (readdirSync(dir).length === 1 && child.exitCode === null) await new Promise(setImmediate);
      child.kill(signal);
      await child.exited;
      expect({ signal: child.signalCode, previous: readFileSync(path, 'utf8') }).toEqual({
        signal,
        previous: 'previous',
      });
      expect(readdirSync(dir)).toEqual(['file']);
    },
  );

  test('completes despite SIGHUP if it is ignored, as under nohup', async () => {
    const dir = newFolder();
    const path = join(dir, 'file');
    const child = Bun.spawn(['sh', '-c', 'trap "" HUP; exec "$@"', 'sh', ...COMMAND, 'export', path], {
      env: { PATH: Bun.env['PATH'] ?? '', ...env },
      stdout: 'ignore',
      stderr: 'ignore',
    });
    while (readdirSync(dir).length === 0 && child.exitCode === null) await new Promise(setImmediate);
    child.kill('SIGHUP');
    expect(await child.exited).toBe(0);
    expect(readFileSync(path, 'utf8') === fullExport).toBe(true);
  });

  test.skipIf(noVolumes !== undefined)('leaves the previous file if the disk is full', async () => {
    using volume = smallVolume(4 * 1024 ** 2);
    const path = join(volume.path, 'file');
    writeFileSync(path, 'previous');
    const { exitCode, stderr } = await runCli(['export', path], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('no space left') });
    expect(readFileSync(path, 'utf8')).toBe('previous');
    expect(readdirSync(volume.path)).toEqual(['file']);
  });

  test('leaves the previous file if the database cannot be read completely', async () => {
    using broken = temporaryFolder();
    const copy = await startTarget(UNLIMITED, { dataDir: broken.path });
    for (let i = 0; i < 3; i++) await post(copy, '/log_batch', { analytics: Array(1000).fill(ANALYTICS) });
    await copy.stop();
    const bytes = readFileSync(copy.databasePath);
    bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 65_536);
    writeFileSync(copy.databasePath, bytes);
    const path = join(newFolder(), 'file');
    writeFileSync(path, 'previous');
    const { exitCode } = await runCli(['export', path], { env: { JWT_SECRET: SECRET, DATA_DIR: broken.path } });
    expect(exitCode).toBe(1);
    expect(readFileSync(path, 'utf8')).toBe('previous');
    expect(readdirSync(join(path, '..'))).toEqual(['file']);
  });
});

describe('an export to standard output', () => {
  test('can be requested with -', async () => {
    const { exitCode, stdout } = await runCli(['export', '-'], { env, cwd: newFolder() });
    expect({ exitCode, isComplete: stdout === fullExport }).toEqual({ exitCode: 0, isComplete: true });
  });

  test('waits for the reader of a full non-blocking pipe', async () => {
    const fifo = join(newFolder(), 'fifo');
    Bun.spawnSync(['mkfifo', fifo]);
    const handle = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
    const reader = Bun.spawn(['cat', fifo], { stdout: 'pipe' });
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: handle, stderr: 'pipe' });
    closeSync(handle);
    const [text, stderr, exitCode] = await Promise.all([
      new Response(reader.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    expect({ exitCode, stderr, isComplete: text === fullExport }).toEqual({
      exitCode: 0,
      stderr: '',
      isComplete: true,
    });
  });

  test('ends without an error if the reader closes the pipe', async () => {
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: 'pipe', stderr: 'pipe' });
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    expect({ exitCode: await child.exited, stderr: await new Response(child.stderr).text() }).toEqual({
      exitCode: 0,
      stderr: '',
    });
  });

  test.skipIf(!existsSync('/dev/full'))('fails if it cannot be written', async () => {
    const handle = openSync('/dev/full', 'w');
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: handle, stderr: 'pipe' });
    closeSync(handle);
    expect(await child.exited).toBe(1);
    expect(await new Response(child.stderr).text()).toContain('standard output cannot be written: ENOSPC');
  });
});

describe('without a database', () => {
  test.each([[['export']], [['status']], [['erase', 'ada']], [['rebuild']], [['verify']]])(
    '%j fails and creates no files',
    async (args) => {
      const dir = newFolder();
      const dataDir = join(dir, 'none');
      const { exitCode, stderr } = await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: expect.stringContaining(`There is no database at ${dataDir}`),
      });
      expect(readdirSync(dir)).toEqual([]);
      rmSync(dir, { recursive: true });
    },
  );
});
