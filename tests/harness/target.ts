import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { oneOf } from '../../src/cli/command.ts';

const ROOT = resolve(import.meta.dir, '../..');

/**
 * The program under test, from RAWLOG_TARGET: `source` (default), `binary` for the compiled executable, or `bundle` for
 * the sources bundled into one file per thread. `npm test` uses the bundle because it starts four times as fast.
 */
export const TARGET = oneOf(['source', 'bundle', 'binary'])(Bun.env['RAWLOG_TARGET'] ?? 'source');

/** RAWLOG_RECEIVERS is the number of receiving threads of servers under test. */
const RECEIVERS = Bun.env['RAWLOG_RECEIVERS'] === undefined ? {} : { RECEIVERS: Bun.env['RAWLOG_RECEIVERS'] };

const COMMANDS = {
  source: [process.execPath, join(ROOT, 'src/main.ts')],
  bundle: [process.execPath, join(ROOT, 'node_modules/.cache/rawlog-test/main.ts')],
  binary: [join(ROOT, 'dist/rawlog')],
} as const;

/** The command line that starts the program under test. */
export const COMMAND: readonly string[] = COMMANDS[TARGET];

/** A shared secret for tests, of 32 bytes. */
export const SECRET = 'a-secret-of-tests-of-32-bytes-ok';

/** Settings of a server without rate limits. */
export const UNLIMITED = { JWT_SECRET: SECRET, RATE_LIMIT: 'off', AUTH_FAILURE_LIMIT: 'off' };

/** Creates a temporary folder that is deleted on disposal. */
export function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'rawlog-test-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** Returns whether this process may mount file systems in a namespace of its own, as root on Linux may. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0 || Bun.which('unshare') === null) return false;
  const script = 'mount -t tmpfs tmpfs /mnt && mkdir /mnt/proc && mount -t proc proc /mnt/proc';
  return Bun.spawnSync(['unshare', '--mount', 'sh', '-c', script], { stderr: 'ignore' }).exitCode === 0;
}

/** Runs the program under test until it exits. */
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
  /** The data folder. Default: a temporary one that is deleted when the server stops. */
  readonly dataDir?: string;
  readonly cwd?: string;
  /** A command to run the server with, such as taskset. */
  readonly prefix?: readonly string[];
  /** Runtime flags; only for the target `source`. */
  readonly runtimeFlags?: readonly string[];
}

/** A server under test, running as a separate process on a real port. */
export interface Target {
  readonly url: string;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly process: Bun.Subprocess;
  /** Returns standard output and standard error so far. */
  output(): { stdout: string; stderr: string };
  /** Returns the parsed log lines so far. */
  logLines(): Record<string, unknown>[];
  /** Resolves once standard output contains a text; rejects if the server exits first. */
  printed(text: string): Promise<void>;
  /** Resolves to the first log line that passes a test, including past lines; rejects if the server exits first. */
  logged(test: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** Stops the server with a signal; resolves to its exit code. */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/**
 * Starts `rawlog serve` on a free port with only the given environment, and waits until it listens.
 */
export async function startTarget(
  env: Record<string, string> = UNLIMITED,
  { dataDir, cwd = tmpdir(), prefix = [], runtimeFlags = [] }: StartOptions = {},
): Promise<Target> {
  const folder = dataDir === undefined ? temporaryFolder() : undefined;
  const path = dataDir ?? join(folder?.path ?? '', 'data');
  const child = Bun.spawn([...prefix, ...COMMAND.slice(0, 1), ...runtimeFlags, ...COMMAND.slice(1), 'serve'], {
    env: { PORT: '0', DATA_DIR: path, ...RECEIVERS, ...env },
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
  let hasExited = false;
  void drained.then(() => {
    hasExited = true;
    wake.resolve();
  });

  const logLines = () =>
    output.stderr
      .split('\n')
      .flatMap((line): Record<string, unknown>[] =>
        line.startsWith('{') && line.endsWith('}') ? [JSON.parse(line)] : [],
      );
  /** Probes again after each piece of output, until there is a result. */
  const waitFor = async <T>(probe: () => T | undefined): Promise<T> => {
    for (;;) {
      const result = probe();
      if (result !== undefined) return result;
      if (hasExited) throw new Error(`the server exited first:\n${output.stderr}\n${output.stdout}`);
      await wake.promise;
    }
  };
  const logged = (test: (line: Record<string, unknown>) => boolean) => waitFor(() => logLines().find(test));

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
      await waitFor(() => (output.stdout.includes(text) ? true : undefined));
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
