import { afterAll, describe, expect, test } from 'bun:test';
import { existsSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { SECRET, startTarget, temporaryFolder } from '../harness/target.ts';

/*
 * The protocol of sd_notify(3), against real datagram sockets, which a Python process holds because Bun cannot.
 */

const PYTHON = '/usr/bin/python3';
const hasPython = existsSync(PYTHON);
if (!hasPython) console.warn('SKIPPED: tests of the service manager: "apt-get install python3"');

const SETTINGS = { JWT_SECRET: SECRET };

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());

const SOCKETS = {
  path: join(folder.path, 'notify'),
  abstract: `@rawlog-test-${process.pid}`,
};

/** Binds a socket; returns a function that resolves to the next datagram. */
async function bindSocket(name: string): Promise<{ next(): Promise<string>; stop(): Promise<unknown> }> {
  const child = Bun.spawn([PYTHON, join(import.meta.dir, '../harness/notify-socket.py'), name], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const lines = (async function* () {
    const decoder = new TextDecoder();
    let partial = '';
    for await (const bytes of child.stdout) {
      const parts = (partial + decoder.decode(bytes, { stream: true })).split('\n');
      partial = parts.pop() ?? '';
      for (const line of parts) yield String(JSON.parse(line));
    }
  })();
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error('the socket was closed');
    return value;
  };
  expect(await next()).toBe('bound');
  return {
    next,
    async stop() {
      child.kill();
      await child.exited;
    },
  };
}

/** Returns the assignments of a datagram. */
function assignments(datagram: string): Record<string, string> {
  return Object.fromEntries(
    datagram.split('\n').map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]),
  );
}

/** Returns CLOCK_MONOTONIC in microseconds, as Python reads it. */
function monotonicUs(): number {
  const { stdout } = Bun.spawnSync([PYTHON, '-c', 'import time; print(time.monotonic_ns() // 1000)']);
  return Number(stdout.toString());
}

describe.skipIf(!hasPython).each(Object.entries(SOCKETS))(
  'with the service manager on a socket with a name of the kind %s',
  (_, name) => {
    test('reports that it is ready, reloads, and stops', async () => {
      const socket = await bindSocket(name);
      try {
        const target = await startTarget({ ...SETTINGS, NOTIFY_SOCKET: name });
        expect(assignments(await socket.next())).toEqual({ READY: '1', STATUS: `Listening on ${target.url}/` });
        const before = monotonicUs();
        target.process.kill('SIGHUP');
        const { RELOADING, MONOTONIC_USEC } = assignments(await socket.next());
        expect(RELOADING).toBe('1');
        expect(Number(MONOTONIC_USEC)).toBeWithin(before, monotonicUs() + 1);
        expect(assignments(await socket.next())).toMatchObject({ READY: '1' });
        expect(await target.stop()).toBe(0);
        expect(assignments(await socket.next())).toMatchObject({ STOPPING: '1' });
      } finally {
        await socket.stop();
      }
    });
  },
);

describe.skipIf(!hasPython)('the watchdog', () => {
  const name = join(folder.path, 'watchdog');
  const settings = { ...SETTINGS, NOTIFY_SOCKET: name, WATCHDOG_USEC: '20000' };

  test('is pinged while the event loop runs', async () => {
    const socket = await bindSocket(name);
    try {
      const target = await startTarget(settings);
      expect(assignments(await socket.next())).toMatchObject({ READY: '1' });
      for (let i = 0; i < 5; i++) expect(await socket.next()).toBe('WATCHDOG=1');
      await target.stop();
    } finally {
      await socket.stop();
      unlinkSync(name);
    }
  });

  test('is left alone if it belongs to another process', async () => {
    const socket = await bindSocket(name);
    try {
      const target = await startTarget({ ...settings, WATCHDOG_PID: '1' });
      expect(assignments(await socket.next())).toMatchObject({ READY: '1' });
      await target.stop();
      expect(assignments(await socket.next())).toMatchObject({ STOPPING: '1' });
    } finally {
      await socket.stop();
      unlinkSync(name);
    }
  });
});

test.each([
  ['notify', 'it is neither a path nor the name of an abstract socket'],
  [`/${'a'.repeat(108)}`, 'it is longer than 108 bytes'],
])('serves, and logs a warning, if NOTIFY_SOCKET cannot be used: %s', async (name, reason) => {
  const target = await startTarget({ ...SETTINGS, NOTIFY_SOCKET: name });
  expect(await target.logged(({ level }) => level === 'warn')).toMatchObject({ err: { message: reason } });
  expect(await target.stop()).toBe(0);
});
