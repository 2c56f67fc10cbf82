import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { oneOf } from '../../src/cli/command.ts';

const ROOT = resolve(import.meta.dir, '../..');

/**
 * Which program the suites run against: the sources (default), with RAWLOG_TARGET=binary the compiled file, or with
 * RAWLOG_TARGET=bundle the sources in one file per thread, as `npm test` makes them: they start four times as fast.
 */
export const TARGET = oneOf(['source', 'bundle', 'binary'])(Bun.env['RAWLOG_TARGET'] ?? 'source');

const COMMANDS = {
  source: [process.execPath, join(ROOT, 'src/main.ts')],
  bundle: [process.execPath, join(ROOT, 'node_modules/.cache/rawlog-test/main.ts')],
  binary: [join(ROOT, 'dist/rawlog')],
} as const;

/** The command line that starts the program under test. */
export const COMMAND: readonly string[] = COMMANDS[TARGET];

/** A shared secret for tests, of 32 bytes. */
export const SECRET = 'a-secret-of-tests-of-32-bytes-ok';

/** Settings of a server that tests may load as they like. */
export const UNLIMITED = { JWT_SECRET: SECRET, RATE_LIMIT: 'off', AUTH_FAILURE_LIMIT: 'off' };

/** A folder that is gone when the test file is done with it. */
export function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'rawlog-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs the program under test to its end. */
export async function runCli(
  args: readonly string[],
  { env = {}, cwd = tmpdir(), stdin }: { env?: Record<string, string>; cwd?: string; stdin?: string } = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const input = stdin === undefined ? 'ignore' : new Blob([stdin]);
  const child = Bun.spawn([...COMMAND, ...args], { env, cwd, stdin: input, stdout: 'pipe', stderr: 'pipe' });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, stdout, stderr };
}

interface StartOptions {
  /** The data folder; without one, a folder that goes with the process. */
  readonly dataDir?: string;
  readonly cwd?: string;
  /** A command that runs the server as its own, such as taskset. */
  readonly prefix?: readonly string[];
  /** Flags of the runtime; for the sources alone. */
  readonly runtimeFlags?: readonly string[];
}

/** A server under test: the program in a process of its own, on a real port. */
export interface Target {
  readonly url: string;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly process: Bun.Subprocess;
  /** What it has written so far to standard output and standard error. */
  output(): { stdout: string; stderr: string };
  /** Its log lines so far. */
  logLines(): Record<string, unknown>[];
  /** Resolves once its standard output contains a text; rejects when it ends before. */
  printed(text: string): Promise<void>;
  /** Resolves once a line of its log passes, also an earlier one; rejects when it ends before. */
  logged(test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Ends it by a signal; gives its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/**
 * Starts `rawlog serve` on a free port, with nothing in its environment but what is given, and waits
 * until it listens.
 *
 */
export async function startTarget(
  env: Record<string, string> = UNLIMITED,
  { dataDir, cwd = tmpdir(), prefix = [], runtimeFlags = [] }: StartOptions = {},
): Promise<Target> {
  const folder = dataDir === undefined ? temporaryFolder() : undefined;
  const path = dataDir ?? join(folder?.path ?? '', 'data');
  const child = Bun.spawn([...prefix, ...COMMAND.slice(0, 1), ...runtimeFlags, ...COMMAND.slice(1), 'serve'], {
    env: { PORT: '0', DATA_DIR: path, ...env },
    cwd,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const output = { stdout: '', stderr: '' };
  let wake = Promise.withResolvers<void>();
  const collect = async (name: keyof typeof output, stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    for await (const bytes of stream) {
      output[name] += decoder.decode(bytes, { stream: true });
      wake.resolve();
      wake = Promise.withResolvers();
    }
  };
  const drained = Promise.all([collect('stdout', child.stdout), collect('stderr', child.stderr)]);
  let ended = false;
  void drained.then(() => {
    ended = true;
    wake.resolve();
  });

  const logLines = () =>
    output.stderr
      .split('\n')
      .flatMap((line): Record<string, unknown>[] =>
        line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : [],
      );
  /** Looks again at each piece of output, until there is something to see. */
  const until = async <T>(look: () => T | undefined): Promise<T> => {
    for (;;) {
      const seen = look();
      if (seen !== undefined) return seen;
      if (ended) throw new Error(`the server ended first:\n${output.stderr}\n${output.stdout}`);
      await wake.promise;
    }
  };
  const logged = (test: (line: Record<string, unknown>) => boolean) => until(() => logLines().find(test));

  const listening = await logged((line) => line['msg'] === 'listening');
  return {
    url: String(listening['url']).replace(/\/$/, ''),
    dataDir: path,
    databasePath: String(listening['database']),
    process: child,
    output: () => output,
    logLines,
    logged,
    async printed(text) {
      await until(() => (output.stdout.includes(text) ? true : undefined));
    },
    async stop(signal = 'SIGTERM') {
      child.kill(signal);
      const exitCode = await child.exited;
      await drained;
      folder?.[Symbol.dispose]();
      return exitCode;
    },
  };
}
