import { afterAll, beforeAll, expect, test } from 'bun:test';
import { closeSync, constants, existsSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post } from '../harness/client.ts';
import { COMMAND, runCli, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/*
 * Commands whose standard output is closed, full or slow.
 */

const noFullDevice = !existsSync('/dev/full');
let folder: ReturnType<typeof temporaryFolder>;
let env: Record<string, string>;

beforeAll(async () => {
  folder = temporaryFolder();
  const target = await startTarget(UNLIMITED, { dataDir: join(folder.path, 'data') });
  await post(target, '/log_raw_metric', METRIC);
  await target.stop();
  env = { JWT_SECRET: UNLIMITED.JWT_SECRET, DATA_DIR: target.dataDir };
  writeFileSync(join(folder.path, 'empty.ndjson'), '');
});
afterAll(() => folder[Symbol.dispose]());

const COMMANDS: readonly (readonly string[])[] = [
  ['config'],
  ['status'],
  ['verify'],
  ['export'],
  ['token', '--sub', 'ada'],
  ['import', 'empty.ndjson'],
  ['erase', 'nobody'],
  ['help'],
  ['--version'],
];

/** The result of a command that cannot write its output. */
const FULL = { exitCode: 1, stderr: expect.stringContaining('standard output cannot be written: ENOSPC') };

/** Runs a command with a standard output, and closes this process's copy of it. */
async function runOnto(args: readonly string[], stdout: number): Promise<{ exitCode: number; stderr: string }> {
  const child = Bun.spawn([...COMMAND, ...args], { env, cwd: folder.path, stdin: 'ignore', stdout, stderr: 'pipe' });
  closeSync(stdout);
  return { stderr: await new Response(child.stderr).text(), exitCode: await child.exited };
}

function fifo(): string {
  const path = join(folder.path, crypto.randomUUID());
  Bun.spawnSync(['mkfifo', path]);
  return path;
}

test.each(COMMANDS.map((args) => [args.join(' '), args] as const))(
  '%s ends without an error if its reader closes the pipe, and fails if its output cannot be written',
  async (_title, args) => {
    const path = fifo();
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const writer = openSync(path, 'w');
    closeSync(reader);
    expect(await runOnto(args, writer)).toEqual({ exitCode: 0, stderr: '' });
    // one at a time, because some commands need exclusive access to the database
    if (!noFullDevice) expect(await runOnto(args, openSync('/dev/full', 'w'))).toEqual(FULL);
  },
);

test('a command waits for the reader of a full non-blocking pipe', async () => {
  const path = fifo();
  const pipe = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const filler = '#'.repeat(65_536);
  expect(writeSync(pipe, filler)).toBe(filler.length);
  const child = Bun.spawn([...COMMAND, 'config'], { env, stdout: pipe, stderr: 'pipe' });
  const reader = Bun.spawn(['cat', path], { stdout: 'pipe' });
  closeSync(pipe);
  const text = await new Response(reader.stdout).text();
  expect(await child.exited).toBe(0);
  expect(text.slice(filler.length)).toBe((await runCli(['config'], { env })).stdout);
});

test.skipIf(noFullDevice)('a usage error exits with status 2 even if it cannot be printed', async () => {
  const stderr = openSync('/dev/full', 'w');
  const child = Bun.spawn([...COMMAND, 'token'], { env, stdout: 'ignore', stderr });
  closeSync(stderr);
  expect(await child.exited).toBe(2);
});
