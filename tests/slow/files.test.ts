import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { noVolumes, smallVolume } from '../faults/volume.ts';
import { METRIC, post, rows } from '../harness/client.ts';
import { COMMAND, runCli, SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

/*
 * The files of a server: ownership, modes, symbolic links and full disks.
 */

/** The user ID of a service. */
const SERVICE = 65_534;
const isRoot = process.getuid?.() === 0;
if (!isRoot) console.warn('SKIPPED: tests of files that belong to other users require root');
const asService = ['setpriv', `--reuid=${SERVICE}`, `--regid=${SERVICE}`, '--clear-groups'];

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
  chmodSync(folder.path, 0o711); // other users may traverse it
});
afterAll(() => folder[Symbol.dispose]());

function newFolder(mode = 0o700): string {
  const path = join(folder.path, crypto.randomUUID());
  mkdirSync(path);
  chmodSync(path, mode);
  return path;
}

async function failure(args: string[], env: Record<string, string>): Promise<string> {
  const { exitCode, stderr } = await runCli(args, { env: { PORT: '0', ...env } });
  expect({ args, exitCode, stderr }).toMatchObject({ args, exitCode: 1 });
  return stderr;
}

describe.skipIf(!isRoot)("commands run by root in a service's folder", () => {
  test('create only files that the service can open', async () => {
    const parent = newFolder();
    chownSync(parent, SERVICE, SERVICE);
    const dataDir = join(parent, 'deep/data');
    const env = { DATA_DIR: dataDir };
    const input = join(folder.path, 'empty.ndjson');
    writeFileSync(input, '');
    for (const args of [['token', '--sub', 'ada'], ['import', input], ['rebuild'], ['erase', 'ada'], ['verify']]) {
      expect({ args, ...(await runCli(args, { env })) }).toMatchObject({ args, exitCode: 0 });
    }
    const server = await startTarget({ PORT: '0' }, { dataDir, prefix: asService });
    await server.printed('curl ');
    // also next to a running server: the write-ahead log and its index keep their owner
    expect((await runCli(['status'], { env })).exitCode).toBe(0);
    const owners = () =>
      [dataDir, ...readdirSync(dataDir).map((name) => join(dataDir, name))].map((path) => statSync(path).uid);
    expect(readdirSync(dataDir).length).toBeGreaterThan(4);
    expect(new Set(owners())).toEqual(new Set([SERVICE]));
    await server.stop('SIGKILL');
    expect((await runCli(['rebuild'], { env })).exitCode).toBe(0);
    expect(new Set(owners())).toEqual(new Set([SERVICE]));
    expect(await (await startTarget({ PORT: '0' }, { dataDir, prefix: asService })).stop()).toBe(0);
  });
});

test.skipIf(!isRoot)("a server run by root owns the files that it creates in another user's folder", async () => {
  const parent = newFolder();
  chownSync(parent, SERVICE, SERVICE);
  const dataDir = join(parent, 'data');
  for (let start = 0; start < 2; start++) expect(await (await startTarget({ PORT: '0' }, { dataDir })).stop()).toBe(0);
  const owners = [dataDir, ...readdirSync(dataDir).map((name) => join(dataDir, name))].map(
    (path) => statSync(path).uid,
  );
  expect(new Set(owners)).toEqual(new Set([0]));
});

describe.skipIf(!isRoot)('a file that cannot be opened', () => {
  let killed: string;
  beforeAll(async () => {
    killed = newFolder();
    const target = await startTarget({ PORT: '0' }, { dataDir: killed });
    await post(target, '/log_raw_metric', METRIC);
    await target.stop('SIGKILL');
  });

  test.each(['rawlog.db', 'rawlog.db.lock', 'jwt-secret', 'erasure-key', 'rawlog.db-wal', 'rawlog.db-shm'])(
    'is named in the error, with the reason: %s',
    async (name) => {
      const dataDir = newFolder();
      cpSync(killed, dataDir, { recursive: true, filter: (path) => !path.endsWith('.sock') });
      for (const file of [dataDir, ...readdirSync(dataDir).map((entry) => join(dataDir, entry))])
        chownSync(file, SERVICE, SERVICE);
      const path = join(dataDir, name);
      chownSync(path, 0, 0);
      const child = Bun.spawn([...asService, ...COMMAND, 'serve'], {
        env: { DATA_DIR: dataDir, PORT: '0', PATH: Bun.env['PATH'] ?? '' },
        stdout: 'ignore',
        stderr: 'pipe',
      });
      const stderr = await new Response(child.stderr).text();
      expect({ name, exitCode: await child.exited, stderr }).toEqual({
        name,
        exitCode: 1,
        stderr: expect.stringMatching(new RegExp(`${path} .*(permission denied|belongs to user 0)`, 'i')),
      });
    },
  );
});

describe('files that other users could have written are rejected:', () => {
  test.each([
    ['0770', 0o770],
    ['1777', 0o1777],
  ])('a data folder with mode %s', async (_title, mode) => {
    const dataDir = newFolder(mode);
    const stderr = await failure(['serve'], { DATA_DIR: dataDir });
    expect(stderr).toContain(`${dataDir} is writable by other users`);
    expect(stderr).toContain(`chmod go-w ${dataDir}`);
    expect(await failure(['token', '--sub', 'ada'], { DATA_DIR: dataDir })).toContain('is writable by other users');
    expect(readdirSync(dataDir)).toEqual([]);
  });

  test('the folder of the database, even if a secret is configured', async () => {
    const dir = newFolder(0o777);
    const env = { JWT_SECRET: SECRET, DATA_DIR: newFolder(), DATABASE_URL: `file:${join(dir, 'rawlog.db')}` };
    expect(await failure(['serve'], env)).toContain(`${dir} is writable by other users`);
    expect(readdirSync(dir)).toEqual([]);
  });

  test.each(['jwt-secret', 'erasure-key'])('%s', async (name) => {
    const dataDir = newFolder();
    writeFileSync(join(dataDir, name), Buffer.alloc(32, 1).toString('base64url'));
    chmodSync(join(dataDir, name), 0o660);
    const stderr = await failure(['serve'], { DATA_DIR: dataDir });
    expect(stderr).toContain(`${join(dataDir, name)} is writable by other users (mode 0660)`);
    expect(stderr).toContain(`chmod 600 ${join(dataDir, name)}`);
    // a file that others could only read is made private
    chmodSync(join(dataDir, name), 0o644);
    await (await startTarget({ PORT: '0' }, { dataDir })).stop();
    expect(statSync(join(dataDir, name)).mode & 0o777).toBe(0o600);
  });

  test.skipIf(!isRoot)("a folder of another user, or another user's secret in our own", async () => {
    const dataDir = newFolder();
    chownSync(dataDir, SERVICE, SERVICE);
    expect(await failure(['serve'], { DATA_DIR: dataDir })).toContain(`${dataDir} belongs to user ${SERVICE}`);
    expect(readdirSync(dataDir)).toEqual([]);
    const own = newFolder();
    writeFileSync(join(own, 'jwt-secret'), 'x'.repeat(40), { mode: 0o600 });
    chownSync(join(own, 'jwt-secret'), SERVICE, SERVICE);
    expect(await failure(['serve'], { DATA_DIR: own })).toContain(`jwt-secret belongs to user ${SERVICE}`);
    // a link does not hide the owner
    const linked = newFolder();
    symlinkSync(join(own, 'jwt-secret'), join(linked, 'jwt-secret'));
    expect(await failure(['token', '--sub', 'a'], { DATA_DIR: linked })).toContain(`belongs to user ${SERVICE}`);
  });

  test('a secret that is not a regular file', async () => {
    const dataDir = newFolder();
    Bun.spawnSync(['mkfifo', '-m', '600', join(dataDir, 'jwt-secret')]);
    expect(await failure(['serve'], { DATA_DIR: dataDir })).toContain('jwt-secret is not a regular file');
  });
});

describe('symbolic links', () => {
  test.each([
    ['rawlog.db, absolute', (data: string, real: string) => symlinkSync(join(real, 'db'), join(data, 'rawlog.db'))],
    [
      'rawlog.db, relative, through another link',
      (data: string, real: string) => {
        symlinkSync(`../${real.split('/').at(-1)}`, join(data, 'away'));
        symlinkSync('away/db', join(data, 'rawlog.db'));
      },
    ],
  ])('%s: all database files are created next to the target', async (_title, link) => {
    const [dataDir, real] = [newFolder(), newFolder()];
    link(dataDir, real);
    const env = { JWT_SECRET: SECRET, DATA_DIR: dataDir };
    for (const session of [1, 2]) {
      const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir });
      expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
      expect(existsSync(join(real, 'db-wal'))).toBe(true);
      expect((await runCli(['export', join(real, 'db-wal')], { env })).exitCode).toBe(1);
      await target.stop(session === 1 ? 'SIGKILL' : 'SIGTERM');
    }
    expect(rows({ databasePath: join(real, 'db') }, 'metrics')).toHaveLength(2);
    expect((await runCli(['verify'], { env })).exitCode).toBe(0);
    expect(readdirSync(real).sort()).toEqual(['control', 'db', 'db.lock', 'erasure-key']);
  });

  test('DATA_DIR, relative: the target is created if it does not exist', async () => {
    const dir = newFolder();
    symlinkSync('real/data', join(dir, 'link'));
    const target = await startTarget({ DATA_DIR: 'link' }, { cwd: dir, dataDir: 'link' });
    expect(target.databasePath).toBe(join(dir, 'real/data/rawlog.db'));
    expect(await target.stop()).toBe(0);
    expect(readdirSync(join(dir, 'real/data')).sort()).toEqual([
      'control',
      'erasure-key',
      'jwt-secret',
      'rawlog.db',
      'rawlog.db.lock',
    ]);
    expect((await runCli(['status'], { env: { DATA_DIR: 'link' }, cwd: dir })).exitCode).toBe(0);
  });

  test('that are circular are an error', async () => {
    const dataDir = newFolder();
    symlinkSync('b', join(dataDir, 'rawlog.db'));
    symlinkSync('rawlog.db', join(dataDir, 'b'));
    for (const command of ['serve', 'status']) {
      expect(await failure([command], { DATA_DIR: dataDir })).toContain('is a circular symbolic link');
    }
  });
});

describe.skipIf(noVolumes !== undefined)('a full disk', () => {
  const FULL = /The disk holding \S+ is full/;

  /** Fills a volume except for some bytes. */
  function fill(path: string, left: number): void {
    const ballast = Bun.spawnSync([
      'sh',
      '-c',
      `cat /dev/zero > ${path}/ballast 2>/dev/null; truncate -s -${left} ${path}/ballast`,
    ]);
    expect(ballast.exitCode).toBe(0);
  }

  test.each([0, 40_960, 147_456])('with %d bytes left is reported at startup', async (left) => {
    using volume = smallVolume(1024 ** 2);
    fill(volume.path, left);
    const dataDir = join(volume.path, 'data');
    expect(await failure(['serve'], { DATA_DIR: dataDir })).toMatch(FULL);
    // files left by that attempt do not prevent a later start
    rmSync(join(volume.path, 'ballast'));
    expect(await (await startTarget({ PORT: '0' }, { dataDir })).stop()).toBe(0);
  });

  test('is reported by the next start and by commands', async () => {
    using volume = smallVolume(1024 ** 2);
    const dataDir = join(volume.path, 'data');
    const target = await startTarget({ JWT_SECRET: SECRET }, { dataDir });
    await post(target, '/log_raw_metric', METRIC);
    await target.stop();
    fill(volume.path, 0);
    for (const args of [['serve'], ['rebuild']]) {
      expect(await failure(args, { JWT_SECRET: SECRET, DATA_DIR: dataDir })).toMatch(FULL);
    }
    expect(await failure(['token', '--sub', 'a'], { DATA_DIR: dataDir })).toMatch(FULL);
  });
});
