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
import { COMMAND, runCli, SECRET, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * Where exports go: onto no file of the program itself, and onto others whole or not at all.
 */

if (noVolumes) console.warn(`SKIPPED: the export onto a full disk: ${noVolumes}`);

/** Batches of 1,000 events of 1 KB: 20 MB, some hundred milliseconds of an export. */
const BATCHES = 20;

let folder: ReturnType<typeof temporaryFolder>;
let target: Target;
let env: Record<string, string>;
let whole: string;

beforeAll(async () => {
  folder = temporaryFolder();
  env = { JWT_SECRET: SECRET, DATA_DIR: join(folder.path, 'data') };
  target = await startTarget({ ...UNLIMITED, MAX_BODY_BYTES: '10000000' }, { dataDir: env['DATA_DIR'] ?? '' });
  const event = { ...ANALYTICS, data: { filler: 'x'.repeat(1000) } };
  for (let batch = 0; batch < BATCHES; batch++) {
    expect((await post(target, '/log_batch', { analytics: Array(1000).fill(event) })).status).toBe(200);
  }
  writeFileSync(join(target.dataDir, 'jwt-secret'), 's'.repeat(40), { mode: 0o600 });
  whole = (await runCli(['export'], { env })).stdout;
  expect(whole.split('\n')).toHaveLength(BATCHES * 1000 + 1);
});
afterAll(async () => {
  await target.stop();
  folder[Symbol.dispose]();
});

/** A new folder for a test. */
function room(): string {
  const path = join(folder.path, crypto.randomUUID());
  mkdirSync(path);
  return path;
}

describe('refuses a file of rawlog itself, and leaves it as it is', () => {
  test.each(['rawlog.db', 'rawlog.db-wal', 'rawlog.db-shm', 'rawlog.db.lock', 'jwt-secret', 'erasure-key'])(
    '%s',
    async (name) => {
      const path = join(target.dataDir, name);
      const before = readFileSync(path);
      const byName = await runCli(['export', path], { env });
      expect(byName).toEqual({ exitCode: 1, stdout: '', stderr: expect.stringContaining('a file of rawlog itself') });
      const place = room();
      symlinkSync(path, join(place, 'link'));
      linkSync(path, join(place, 'hard'));
      symlinkSync(target.dataDir, join(place, 'folder'));
      for (const other of ['link', 'hard', `folder/${name}`, `folder/../data/${name}`]) {
        const { exitCode, stderr } = await runCli(['export', `${place}/${other}`], { env });
        expect({ other, exitCode, stderr }).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('itself') });
      }
      expect(readFileSync(path).equals(before)).toBe(true);
      expect((await runCli(['export'], { env })).stdout === whole).toBe(true);
    },
  );

  test('a place that has no file yet', async () => {
    // SQLite would take what is put there for a journal of its own
    const { exitCode } = await runCli(['export', join(target.dataDir, 'rawlog.db-journal')], { env });
    expect({ exitCode, exists: existsSync(join(target.dataDir, 'rawlog.db-journal')) }).toEqual({
      exitCode: 1,
      exists: false,
    });
  });

  test('the files beside the database that a link leads to', async () => {
    const place = room();
    symlinkSync(target.databasePath, join(place, 'db'));
    const args = ['export', `${target.databasePath}-wal`, '--database-url', `file:${join(place, 'db')}`];
    expect((await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: place } })).exitCode).toBe(1);
  });

  test('standard output that is redirected to the end of the database', async () => {
    const before = readFileSync(target.databasePath);
    const handle = openSync(target.databasePath, 'a');
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: handle, stderr: 'pipe' });
    closeSync(handle);
    expect(await child.exited).toBe(1);
    expect(readFileSync(target.databasePath).equals(before)).toBe(true);
  });
});

describe('refuses what is not a regular file', () => {
  test.each([
    ['a folder', (place: string) => place, 'is a folder'],
    ['a folder that does not exist', (place: string) => join(place, 'none/'), 'is a folder'],
    ['a file in a folder that does not exist', (place: string) => join(place, 'none/file'), 'ENOENT'],
    ['a device', () => '/dev/null', 'is not a regular file'],
    [
      'a FIFO',
      (place: string) => {
        Bun.spawnSync(['mkfifo', join(place, 'fifo')]);
        return join(place, 'fifo');
      },
      'is not a regular file',
    ],
    [
      'a link to nothing',
      (place: string) => {
        symlinkSync(join(place, 'nothing'), join(place, 'dangling'));
        return join(place, 'dangling');
      },
      'a symbolic link to a file that does not exist',
    ],
  ])('%s', async (_, make, words) => {
    const place = room();
    const path = make(place);
    const before = readdirSync(place);
    const { exitCode, stderr } = await runCli(['export', path], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining(words) });
    expect(readdirSync(place)).toEqual(before);
  });
});

describe('replaces a file', () => {
  test('once all of it is there, readable to the owner only', async () => {
    const place = room();
    const path = join(place, 'file');
    writeFileSync(path, 'previous', { mode: 0o644 });
    symlinkSync(path, join(place, 'link'));
    expect(await runCli(['export', join(place, 'link')], { env })).toEqual({ exitCode: 0, stdout: '', stderr: '' });
    expect(readFileSync(path, 'utf8') === whole).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(place).sort()).toEqual(['file', 'link']);
  });

  test.each(['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const)(
    'not when %s comes first: the previous one stays, alone, and the process ends by the signal',
    async (signal) => {
      const place = room();
      const path = join(place, 'file');
      writeFileSync(path, 'previous');
      const child = Bun.spawn([...COMMAND, 'export', path], { env, stdout: 'ignore', stderr: 'ignore' });
      // the previous file is not touched; a second one appears beside it
      while (readdirSync(place).length === 1 && child.exitCode === null) await new Promise(setImmediate);
      child.kill(signal);
      await child.exited;
      expect({ signal: child.signalCode, previous: readFileSync(path, 'utf8') }).toEqual({
        signal,
        previous: 'previous',
      });
      expect(readdirSync(place)).toEqual(['file']);
    },
  );

  test('even where SIGHUP is ignored, as under nohup', async () => {
    const place = room();
    const path = join(place, 'file');
    const child = Bun.spawn(['sh', '-c', 'trap "" HUP; exec "$@"', 'sh', ...COMMAND, 'export', path], {
      env: { PATH: Bun.env['PATH'] ?? '', ...env },
      stdout: 'ignore',
      stderr: 'ignore',
    });
    while (readdirSync(place).length === 0 && child.exitCode === null) await new Promise(setImmediate);
    child.kill('SIGHUP');
    expect(await child.exited).toBe(0);
    expect(readFileSync(path, 'utf8') === whole).toBe(true);
  });

  test.skipIf(noVolumes !== undefined)('not when the disk is full', async () => {
    using volume = smallVolume(4 * 1024 ** 2);
    const path = join(volume.path, 'file');
    writeFileSync(path, 'previous');
    const { exitCode, stderr } = await runCli(['export', path], { env });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining('no space left') });
    expect(readFileSync(path, 'utf8')).toBe('previous');
    expect(readdirSync(volume.path)).toEqual(['file']);
  });

  test('not when the database cannot be read to its end', async () => {
    using broken = temporaryFolder();
    const copy = await startTarget(UNLIMITED, { dataDir: broken.path });
    for (let i = 0; i < 3; i++) await post(copy, '/log_batch', { analytics: Array(1000).fill(ANALYTICS) });
    await copy.stop();
    const bytes = readFileSync(copy.databasePath);
    bytes.fill(0xff, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 65_536);
    writeFileSync(copy.databasePath, bytes);
    const path = join(room(), 'file');
    writeFileSync(path, 'previous');
    const { exitCode } = await runCli(['export', path], { env: { JWT_SECRET: SECRET, DATA_DIR: broken.path } });
    expect(exitCode).toBe(1);
    expect(readFileSync(path, 'utf8')).toBe('previous');
    expect(readdirSync(join(path, '..'))).toEqual(['file']);
  });
});

describe('standard output', () => {
  test('is what - names, too', async () => {
    const { exitCode, stdout } = await runCli(['export', '-'], { env, cwd: room() });
    expect({ exitCode, isWhole: stdout === whole }).toEqual({ exitCode: 0, isWhole: true });
  });

  test('may be a pipe that blocks nobody and is full', async () => {
    const fifo = join(room(), 'fifo');
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
    expect({ exitCode, stderr, isWhole: text === whole }).toEqual({ exitCode: 0, stderr: '', isWhole: true });
  });

  test('may be closed by its reader: the command ends quietly', async () => {
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: 'pipe', stderr: 'pipe' });
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.cancel();
    expect({ exitCode: await child.exited, stderr: await new Response(child.stderr).text() }).toEqual({
      exitCode: 0,
      stderr: '',
    });
  });

  test.skipIf(!existsSync('/dev/full'))('that takes nothing is an error', async () => {
    const handle = openSync('/dev/full', 'w');
    const child = Bun.spawn([...COMMAND, 'export'], { env, stdout: handle, stderr: 'pipe' });
    closeSync(handle);
    expect(await child.exited).toBe(1);
    expect(await new Response(child.stderr).text()).toContain('standard output cannot be written: ENOSPC');
  });
});

describe('where there is no database', () => {
  test.each([[['export']], [['status']], [['erase', 'ada']], [['rebuild']], [['verify']]])(
    '%j fails and creates nothing',
    async (args) => {
      const place = room();
      const dataDir = join(place, 'none');
      const { exitCode, stderr } = await runCli(args, { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
      expect({ exitCode, stderr }).toEqual({
        exitCode: 1,
        stderr: expect.stringContaining(`There is no database in ${dataDir}`),
      });
      expect(readdirSync(place)).toEqual([]);
      rmSync(place, { recursive: true });
    },
  );
});
