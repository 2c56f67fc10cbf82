import { setPriority } from 'node:os';
import type { Logger } from 'pino';
import { readFreeBytes } from '../free-bytes.ts';
import { DEMO_BYTES, demoFolderOf, removeDemoFolder } from './folder.ts';
import { DEMO_SECONDS, type DemoReport } from './session.ts';

/*
 * The demo that a running server offers: "rawlog demo" as a process of its own. It has its own database, secret and
 * memory, so nothing that happens to it affects recording, and it is gone when it ends.
 */

/** How long the demo may take to start, in milliseconds. It takes a few seconds on a slow machine. */
const START_TIMEOUT_MS = 120_000;
/** How much lower than the server's its priority is. */
const NICENESS = 10;
/** How long it may take to stop before it is killed, in milliseconds. */
const STOP_TIMEOUT_MS = 5_000;

/** The demo of a server. There is at most one. */
export interface Demo {
  /**
   * Starts the demo, or returns the one that is running.
   *
   * @throws {DemoSpaceError} if the disk has too little free space
   */
  start(): Promise<DemoReport>;
  /** Stops the demo, after a start in progress, and deletes its data. Returns whether there was one. */
  stop(): Promise<boolean>;
  /** Stops the demo at once, even while it starts, and lets no other start, because the server stops. */
  close(): Promise<void>;
  /** Returns the running demo. */
  running(): DemoReport | undefined;
}

/** There is too little free space for demo data. */
export class DemoSpaceError extends Error {
  override readonly name = 'DemoSpaceError';
}

interface DemoOptions {
  readonly dataDir: string;
  readonly minFreeBytes: number;
  readonly log: Logger;
}

type DemoChild = Bun.Subprocess<'pipe', 'pipe', 'ignore'>;

/** Creates the demo of a server, which does not run yet. */
export function createDemo({ dataDir, minFreeBytes, log }: DemoOptions): Demo {
  const folder = demoFolderOf(dataDir);
  let child: DemoChild | undefined;
  /** The start of the demo that is running, or will be once it is its turn. */
  let starting: Promise<DemoReport> | undefined;
  let report: DemoReport | undefined;
  let expiry: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;
  let last: Promise<unknown> = Promise.resolve();

  /** Runs starts and stops one after the other, in the order of their requests: two demos must never share the folder. */
  function inTurn<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = last.then(task);
    last = result.catch(() => {});
    return result;
  }

  /** @param onExit called if the process exits by itself */
  async function launch(onExit: () => void): Promise<DemoReport> {
    if (isClosed) throw new Error('the server stops');
    if (readFreeBytes(dataDir) < minFreeBytes + DEMO_BYTES) throw new DemoSpaceError('too little free space');
    const started = Bun.spawn([...programCommand(), 'demo', '--attached'], {
      // nothing else: neither secrets nor other settings of this server
      env: {
        ...{ HOST: '127.0.0.1', PORT: '0', DATA_DIR: dataDir, MIN_FREE_BYTES: String(minFreeBytes) },
        LOG_LEVEL: 'silent',
      },
      stdin: 'pipe', // it stops when this end closes, so it never outlives the server
      stdout: 'pipe',
      stderr: 'ignore',
    });
    child = started;
    lowerPriority(started.pid);
    void started.exited.then((exitCode) => {
      if (child !== started) return;
      log.warn({ exit_code: exitCode }, 'the demo has ended by itself');
      report = undefined;
      onExit();
      void inTurn(() => end(started));
    });
    const timer = setTimeout(() => started.kill('SIGKILL'), START_TIMEOUT_MS);
    try {
      const line = await firstLine(started.stdout);
      report = JSON.parse(line) as DemoReport; // printed by this program
    } catch (error) {
      await end(started);
      throw error;
    } finally {
      clearTimeout(timer);
    }
    expiry = setTimeout(() => void stop(), DEMO_SECONDS * 1000);
    expiry.unref();
    log.info({ rows: report.rows }, 'the demo is running');
    return report;
  }

  /** Ends the process, if it is the current one, and deletes its data. Returns whether there was one. */
  async function end(ending = child): Promise<boolean> {
    if (!ending || ending !== child) return false;
    clearTimeout(expiry);
    [child, report] = [undefined, undefined];
    ending.kill('SIGTERM');
    const timer = setTimeout(() => ending.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await ending.exited;
    clearTimeout(timer);
    try {
      removeDemoFolder(folder);
    } catch (error) {
      log.warn({ err: error }, 'the data of the demo could not be deleted');
    }
    log.info('the demo was stopped');
    return true;
  }

  function stop(): Promise<boolean> {
    starting = undefined;
    return inTurn(() => end());
  }

  return {
    start() {
      if (starting) return starting;
      const launched = inTurn(() => launch(clear));
      function clear(): void {
        if (starting === launched) starting = undefined;
      }
      starting = launched;
      launched.catch(clear);
      return launched;
    },
    stop,
    async close() {
      isClosed = true;
      child?.kill('SIGTERM');
      await stop();
    },
    running: () => report,
  };
}

/** Returns the command that starts this program: the compiled binary, or Bun with the entry point. */
function programCommand(): string[] {
  const isCompiled = /^(?:\/\$bunfs\/|[A-Z]:[\\/]~BUN[\\/])/.test(Bun.main);
  return isCompiled ? [process.execPath] : [process.execPath, Bun.main];
}

/** Lowers the priority of a process, where this is allowed. */
function lowerPriority(pid: number): void {
  try {
    setPriority(pid, NICENESS);
  } catch {
    // it then has the priority of the server
  }
}

/** Returns the first line of a stream; the rest is left to the process. */
async function firstLine(stream: ReadableStream<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder();
  let text = '';
  for await (const bytes of stream) {
    text += decoder.decode(bytes, { stream: true });
    const end = text.indexOf('\n');
    if (end >= 0) return text.slice(0, end);
  }
  throw new Error('the demo ended before it was ready');
}
