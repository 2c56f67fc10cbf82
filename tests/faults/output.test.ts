import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  openSync,
  readFileSync,
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
 * A server whose standard output or standard error is not read, cannot be written, or is closed: recording, error
 * responses, erasures, probes and signals work all the same.
 */

const noFullDevice = !existsSync('/dev/full');
let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** A FIFO with a reader that reads only when it is told to. */
function unreadPipe(): { handle: number; read(): string; fill(): void } & Disposable {
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
        closeSync(filling); // it is full
      }
    },
    read() {
      const piece = Buffer.alloc(65_536);
      let text = '';
      try {
        for (let n = readSync(reader, piece); n > 0; n = readSync(reader, piece)) text += piece.toString('utf8', 0, n);
      } catch {
        // nothing more for now
      }
      return text;
    },
    [Symbol.dispose]() {
      closeSync(reader);
      closeSync(handle);
    },
  };
}

/** A port that was free a moment ago. */
function freePort(): number {
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response() });
  const { port = 0 } = server;
  server.stop(true);
  return port;
}

interface Running {
  readonly url: string;
  readonly dataDir: string;
  readonly child: Bun.Subprocess;
}

/** Starts a server on a known port, because it cannot say where it listens. Resolves once it responds. */
async function start(
  stdout: number | 'ignore',
  stderr: number | 'ignore',
  command: readonly string[] = [],
): Promise<Running> {
  const port = freePort();
  const dataDir = join(folder.path, crypto.randomUUID());
  const child = Bun.spawn([...command, ...COMMAND, 'serve'], {
    env: { ...UNLIMITED, PATH: Bun.env['PATH'] ?? '', PORT: String(port), DATA_DIR: dataDir },
    stdout,
    stderr,
  });
  const url = `http://127.0.0.1:${port}`;
  while (child.exitCode === null && !(await send(`${url}/healthz`).catch(() => undefined)))
    await new Promise(setImmediate);
  return { url, dataDir, child };
}

/** Sends requests that each leave a line in the log. */
async function makeLines(url: string, count: number): Promise<void> {
  for (let i = 0; i < count; i += 100) {
    await Promise.all(Array.from({ length: 100 }, () => send(`${url}/api/metrics`)));
  }
}

async function expectWorking({ url }: Running): Promise<void> {
  const at = { url } as Parameters<typeof post>[0];
  expect((await post(at, '/log_raw_metric', METRIC)).status).toBe(200);
  expectError(await send(`${url}/nothing`), 404, 'not_found');
  expectError(await post(at, '/log_raw_metric', {}), 422, 'validation_failed');
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const erased = await send(`${url}/api/users/user-1`, { method: 'DELETE', headers: { authorization } });
  expect([erased.status, erased.body.deleted]).toEqual([200, { metrics: 1, analytics: 0 }]);
  expect((await send(`${url}/readyz`)).status).toBe(200);
}

async function droppedLines(url: string): Promise<number> {
  const authorization = `Bearer ${await token({ role: 'admin' })}`;
  const { text } = await send(`${url}/metrics`, { headers: { authorization } });
  return Number(/^rawlog_log_lines_dropped_total (\d+)$/m.exec(text)?.[1]);
}

test('a log that nobody reads holds nothing up; lines are dropped, counted, and reported once it is read', async () => {
  using pipe = unreadPipe();
  const server = await start(pipe.handle, pipe.handle);
  const { url, child } = server;
  await expectWorking(server);
  expect(await droppedLines(url)).toBe(0);
  for (let batch = 0; batch < 20 && (await droppedLines(url)) === 0; batch++) await makeLines(url, 1_000);
  await expectWorking(server);
  const dropped = await droppedLines(url);
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
  await makeLines(url, 1_000); // full again
  child.kill('SIGTERM');
  expect(await child.exited).toBe(0);
});

describe.each([
  ['on a full device', noFullDevice, () => start(openSync('/dev/full', 'w'), openSync('/dev/full', 'w'))],
  ['closed', false, () => start('ignore', 'ignore', ['sh', '-c', 'exec "$@" >&- 2>&- <&-', 'sh'])],
  [
    'a pipe whose reader is gone',
    false,
    () => start('ignore', 'ignore', ['bash', '-c', 'exec "$@" > >(true) 2>&1', 'bash']),
  ],
] as const)('standard output and standard error %s', (_title, isSkipped, begin) => {
  test.skipIf(isSkipped)(
    'affect neither requests nor SIGTERM, nor the end of a server with a lost database',
    async () => {
      const [stopped, lost] = await Promise.all([begin(), begin()]);
      await expectWorking(stopped);
      renameSync(join(lost.dataDir, 'rawlog.db'), join(lost.dataDir, 'moved.db'));
      const at = { url: lost.url } as Parameters<typeof post>[0];
      expectError(await post(at, '/log_raw_metric', METRIC), 503, 'storage_unavailable');
      stopped.child.kill('SIGTERM');
      expect([await stopped.child.exited, await lost.child.exited]).toEqual([0, 1]);
    },
  );
});

test.skipIf(noVolumes !== undefined)(
  'a log on a full disk costs its lines only, which are written once there is room',
  async () => {
    using volume = smallVolume(64 * 1024);
    const ballast = join(volume.path, 'ballast');
    Bun.spawnSync(['sh', '-c', `cat /dev/zero > ${ballast}`], { stderr: 'ignore' });
    const path = join(volume.path, 'log');
    const handle = openSync(path, 'a');
    const server = await start('ignore', handle);
    closeSync(handle);
    await expectWorking(server);
    await makeLines(server.url, 100);
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

test('a socket that nobody reads holds nothing up', async () => {
  // as under systemd, where both are sockets of the journal; a shell opens one and fills it
  const peer = createServer({ pauseOnConnect: true }, () => {}).listen(0, '127.0.0.1');
  await once(peer, 'listening');
  const { port } = peer.address() as AddressInfo;
  const script = `exec > /dev/tcp/127.0.0.1/${port} 2>&1; timeout 0.5 cat /dev/zero; exec "$@"`;
  const server = await start('ignore', 'ignore', ['bash', '-c', script, 'bash']);
  await makeLines(server.url, 500);
  await expectWorking(server);
  server.child.kill('SIGTERM');
  expect(await server.child.exited).toBe(0);
  peer.close();
});

test('a start that fails ends with 1 although nobody reads why', async () => {
  using pipe = unreadPipe();
  pipe.fill();
  const env = { ...UNLIMITED, PORT: '0', DATA_DIR: '/dev/null/data' };
  const child = Bun.spawn([...COMMAND, 'serve'], { env, stdout: pipe.handle, stderr: pipe.handle });
  expect(await child.exited).toBe(1);
});

test('no line of a log that is read is lost, up to the last one', async () => {
  const path = join(folder.path, 'log');
  const handle = openSync(path, 'w');
  const { url, child } = await start('ignore', handle);
  closeSync(handle);
  await makeLines(url, 2_000);
  child.kill('SIGTERM');
  expect(await child.exited).toBe(0);
  const lines = (await Bun.file(path).text()).trimEnd().split('\n');
  const parsed = lines.map((line) => JSON.parse(line));
  expect(parsed.filter(({ status }) => status === 401)).toHaveLength(2_000);
  expect(parsed.at(-1)).toMatchObject({ msg: 'stopped' });
});
