import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { expectError, METRIC, post, send } from '../harness/client.ts';
import { COMMAND, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { noVolumes, smallVolume } from './volume.ts';

/*
 * A server whose standard output or standard error is not read, not writable, or closed. Recording, error responses,
 * erasures, probes and signals must work nevertheless.
 */

const noFullDevice = !existsSync('/dev/full');
let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** Creates a FIFO whose reader reads only on `read()`. */
function createUnreadPipe(): { handle: number; read(): string; fill(): void } & Disposable {
  const path = join(folder.path, crypto.randomUUID());
  Bun.spawnSync(['mkfifo', path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const handle = openSync(path, 'w');
  return {
    handle,
    fill() {
      const filling = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
      try {
        for (;;) writeSync(filling, Buffer.alloc(1));
      } catch {
        closeSync(filling); // the pipe is full
      }
    },
    read() {
      const piece = Buffer.alloc(65_536);
      let text = '';
      try {
        for (let n = readSync(reader, piece); n > 0; n = readSync(reader, piece)) text += piece.toString('utf8', 0, n);
      } catch {
        // nothing to read at the moment
      }
      return text;
    },
    [Symbol.dispose]() {
      closeSync(reader);
      closeSync(handle);
    },
  };
}

interface RunningServer {
  readonly url: string;
  readonly dataDir: string;
  readonly child: Bun.Subprocess;
}

/** Returns the TCP port on which a process listens, from `/proc`; undefined if it does not listen yet. */
function findListeningPort(pid: number): number | undefined {
  const folder = `/proc/${pid}/fd`;
  const targets = new Set<string>();
  for (const name of readdirSync(folder)) {
    try {
      targets.add(readlinkSync(join(folder, name)));
    } catch {
      // closed meanwhile
    }
  }
  for (const line of readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === '0A' && targets.has(`socket:[${inode}]`)) return Number.parseInt(local.split(':')[1] ?? '', 16);
  }
  return undefined;
}

/** Starts a server whose log, which tells its port, cannot be read. Resolves once it responds. */
async function start(
  stdout: number | 'ignore',
  stderr: number | 'ignore',
  command: readonly string[] = [],
): Promise<RunningServer> {
  const dataDir = join(folder.path, crypto.randomUUID());
  const child = Bun.spawn([...command, ...COMMAND, 'serve'], {
    env: { ...UNLIMITED, PATH: Bun.env['PATH'] ?? '', PORT: '0', DATA_DIR: dataDir },
    stdout,
    stderr,
  });
  let port: number | undefined;
  while (port === undefined) {
    if (child.exitCode !== null) throw new Error(`the server exited with status ${child.exitCode}`);
    port = findListeningPort(child.pid);
    await new Promise(setImmediate);
  }
  const url = `http://127.0.0.1:${port}`;
  expect((await send(`${url}/healthz`)).status).toBe(200);
  return { url, dataDir, child };
}

/** Sends requests that are logged, one line per request. */
async function produceLogLines(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => send(`${url}/api/metrics`)));
  }
}

async function expectWorking({ url }: RunningServer): Promise<void> {
  const target = { url } as Parameters<typeof post>[0];
  expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
  expectError(await send(`${url}/nothing`), 404, 'not_found');
  expectError(await post(target, '/log_raw_metric', {}), 422, 'validation_failed');
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const erasure = await send(`${url}/api/users/user-1`, { method: 'DELETE', headers: { authorization } });
  expect([erasure.status, erasure.body.deleted]).toEqual([200, { metrics: 1, analytics: 0 }]);
  expect((await send(`${url}/readyz`)).status).toBe(200);
}

async function countDroppedLines(url: string): Promise<number> {
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const { text } = await send(`${url}/metrics`, { headers: { authorization } });
  return Number(/^rawlog_log_lines_dropped_total (\d+)$/m.exec(text)?.[1]);
}

test('keeps serving when the log is not read: drops and counts lines, and reports them once the log is read', async () => {
  using pipe = createUnreadPipe();
  const server = await start(pipe.handle, pipe.handle);
  const { url, child } = server;
  await expectWorking(server);
  expect(await countDroppedLines(url)).toBe(0);
  for (let batch = 0; batch < 20 && (await countDroppedLines(url)) === 0; batch++) await produceLogLines(url, 1_000);
  await expectWorking(server);
  const dropped = await countDroppedLines(url);
  expect(dropped).toBeGreaterThan(0);
  let text = '';
  while (!text.includes('log lines were dropped') && child.exitCode === null) {
    text += pipe.read();
    await new Promise(setImmediate);
  }
  const lines = text.split('\n').filter((line) => line.startsWith('{'));
  const report = lines.map((line) => JSON.parse(line)).find(({ dropped: count }) => count > 0);
  expect(report.level).toBe('warn');
  expect(report.dropped).toBeGreaterThanOrEqual(dropped);
  await produceLogLines(url, 1_000); // fills the pipe again
  child.kill('SIGTERM');
  expect(await child.exited).toBe(0);
});

describe.each([
  ['on a full device', noFullDevice, () => start(openSync('/dev/full', 'w'), openSync('/dev/full', 'w'))],
  ['that are closed', false, () => start('ignore', 'ignore', ['sh', '-c', 'exec "$@" >&- 2>&- <&-', 'sh'])],
  [
    'that are a pipe without a reader',
    false,
    () => start('ignore', 'ignore', ['bash', '-c', 'exec "$@" > >(true) 2>&1', 'bash']),
  ],
] as const)('standard output and standard error %s', (_title, isSkipped, begin) => {
  test.skipIf(isSkipped)(
    'do not affect requests, SIGTERM, or the exit of a server whose database file was moved',
    async () => {
      const [healthy, broken] = await Promise.all([begin(), begin()]);
      await expectWorking(healthy);
      renameSync(join(broken.dataDir, 'rawlog.db'), join(broken.dataDir, 'moved.db'));
      const target = { url: broken.url } as Parameters<typeof post>[0];
      expectError(await post(target, '/log_raw_metric', METRIC), 503, 'storage_unavailable');
      healthy.child.kill('SIGTERM');
      expect([await healthy.child.exited, await broken.child.exited]).toEqual([0, 1]);
    },
  );
});

test.skipIf(noVolumes !== undefined)(
  'keeps serving when the disk of the log is full, and writes the lines once there is room',
  async () => {
    using volume = smallVolume(64 * 1024);
    const ballast = join(volume.path, 'ballast');
    Bun.spawnSync(['sh', '-c', `cat /dev/zero > ${ballast}`], { stderr: 'ignore' });
    const path = join(volume.path, 'log');
    const handle = openSync(path, 'a');
    const server = await start('ignore', handle);
    closeSync(handle);
    await expectWorking(server);
    await produceLogLines(server.url, 100);
    expect(readFileSync(path, 'utf8')).toBe('');
    rmSync(ballast);
    let lines: string[] = [];
    while (lines.length < 100) {
      lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
      await send(`${server.url}/healthz`);
    }
    for (const line of lines) JSON.parse(line);
    server.child.kill('SIGTERM');
    expect(await server.child.exited).toBe(0);
  },
);

test('keeps serving when the log is a socket that is not read', async () => {
  // under systemd, both outputs are sockets of the journal; here a shell opens such a socket and fills it
  const peer = createServer({ pauseOnConnect: true }, () => {}).listen(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address() as AddressInfo;
  const script = `exec > /dev/tcp/127.0.0.1/${port} 2>&1; timeout 0.5 cat /dev/zero; exec "$@"`;
  const server = await start('ignore', 'ignore', ['bash', '-c', script, 'bash']);
  await produceLogLines(server.url, 500);
  await expectWorking(server);
  server.child.kill('SIGTERM');
  expect(await server.child.exited).toBe(0);
  peer.close();
});

test('exits with status 1 when startup fails, even if its output is not read', async () => {
  using pipe = createUnreadPipe();
  pipe.fill();
  const env = { ...UNLIMITED, PORT: '0', DATA_DIR: '/dev/null/data' };
  const child = Bun.spawn([...COMMAND, 'serve'], { env, stdout: pipe.handle, stderr: pipe.handle });
  expect(await child.exited).toBe(1);
});

test('loses no line of a log that is read, including the last one', async () => {
  const path = join(folder.path, 'log');
  const handle = openSync(path, 'w');
  const { url, child } = await start('ignore', handle);
  closeSync(handle);
  await produceLogLines(url, 2_000);
  child.kill('SIGTERM');
  expect(await child.exited).toBe(0);
  const lines = (await Bun.file(path).text()).trimEnd().split('\n');
  const parsed = lines.map((line) => JSON.parse(line));
  expect(parsed.filter(({ status }) => status === 401)).toHaveLength(2_000);
  expect(parsed.at(-1)).toMatchObject({ msg: 'stopped' });
});
