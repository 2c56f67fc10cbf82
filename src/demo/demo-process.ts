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
  /** Stops the demo and deletes its data. Returns whether there was one. */
  stop(): Promise<boolean>;
  /** Stops the demo and lets no other start, because the server stops. */
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
  let starting: Promise<DemoReport> | undefined;
  let report: DemoReport | undefined;
  let expiry: ReturnType<typeof setTimeout> | undefined;
  /** Resolves once the former demo has exited and its data is deleted. Two must never share the folder. */
  let ended: Promise<void> = Promise.resolve();
  /** How often the demo was stopped: a start that was waiting is then obsolete. */
  let stops = 0;
  let isClosed = false;

  async function launch(): Promise<DemoReport> {
    const startedAfter = stops;
    await ended;
    if (isClosed || stops !== startedAfter) throw new Error('the demo was stopped before it started');
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
      void stop();
    });
    const timer = setTimeout(() => started.kill('SIGKILL'), START_TIMEOUT_MS);
    try {
      const line = await firstLine(started.stdout);
      if (child !== started) throw new Error('the demo was stopped while it was starting');
      report = JSON.parse(line) as DemoReport; // printed by this program
    } catch (error) {
      if (child === started) await stop();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    expiry = setTimeout(() => void stop(), DEMO_SECONDS * 1000);
    expiry.unref();
    log.info({ rows: report.rows }, 'the demo is running');
    return report;
  }

  async function stop(): Promise<boolean> {
    const stopped = child;
    stops++;
    clearTimeout(expiry);
    [child, report, starting] = [undefined, undefined, undefined];
    if (stopped) ended = end(stopped);
    await ended;
    return stopped !== undefined;
  }

  /** Ends the process and deletes its data. Never throws. */
  async function end(stopped: DemoChild): Promise<void> {
    stopped.kill('SIGTERM');
    const timer = setTimeout(() => stopped.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await stopped.exited;
    clearTimeout(timer);
    try {
      removeDemoFolder(folder);
    } catch (error) {
      log.warn({ err: error }, 'the data of the demo could not be deleted');
    }
    log.info('the demo was stopped');
  }

  return {
    start() {
      if (starting) return starting;
      const launched = launch();
      starting = launched;
      launched.catch(() => {
        if (starting === launched) starting = undefined;
      });
      return launched;
    },
    stop,
    async close() {
      isClosed = true;
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
