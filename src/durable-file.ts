import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { constants as system } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from './durable-folder.ts';

/*
 * File output of commands. An existing file is untouched until the new one is complete and durable, and the program's
 * own files are never overwritten.
 */

/** The file descriptor of standard output. */
const STDOUT = 1;
/** Delay before the next write to a full, non-blocking pipe. */
export const FULL_PIPE_RETRY_MS = 2;

/** Thrown when a signal interrupts {@link replaceFile}. Its temporary file has been removed. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

/**
 * Creates or replaces a file that only its owner can read. It is complete and durable when the promise resolves. If an
 * error, a signal or a power failure comes first, the previous file is untouched. Symbolic links are followed.
 *
 * @param content the chunks to write; the event loop runs between them
 * @param protectedFiles files that are never replaced, whether they exist or not
 * @throws {InterruptedError} after SIGINT, SIGTERM, SIGQUIT or SIGHUP. Other errors have a message for the operator;
 *   errors from `content` are rethrown. The temporary file is always removed
 */
export async function replaceFile(
  path: string,
  content: Iterable<Uint8Array>,
  protectedFiles: readonly string[],
): Promise<void> {
  const target = resolveTarget(path);
  rejectProtected(path, target, statSync(target, { throwIfNoEntry: false }), protectedFiles);
  const draft = join(dirname(target), `.rawlog-${randomUUID()}.tmp`);
  using signals = catchSignals();
  const handle = withWriteError(path, () =>
    openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600),
  );
  try {
    try {
      for (const bytes of content) {
        for (let at = 0; at < bytes.length; ) at += withWriteError(path, () => writeSync(handle, bytes, at));
        await signals.check();
      }
      withWriteError(path, () => fsyncSync(handle));
    } finally {
      closeSync(handle);
    }
    await signals.check();
    withWriteError(path, () => renameSync(draft, target));
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  withWriteError(path, () => syncFolder(dirname(target)));
}

/**
 * Writes to standard output at the speed of its reader. Returns without an error if the reader closes the pipe.
 *
 * @param protectedFiles files that standard output may not be redirected to
 */
export async function writeStandardOutput(
  content: Iterable<Uint8Array>,
  protectedFiles: readonly string[],
): Promise<void> {
  rejectProtected('standard output', undefined, fstatSync(STDOUT), protectedFiles);
  for (const bytes of content) {
    for (let at = 0; at < bytes.length; ) {
      const written = writeToStandardOutput(bytes, at);
      if (written === undefined) return;
      at += written;
      if (written === 0) await Bun.sleep(FULL_PIPE_RETRY_MS);
    }
  }
}

/**
 * Writes bytes from an offset to standard output, in a single call.
 *
 * @returns the number of bytes written: 0 if a non-blocking pipe is full; undefined if the reader has closed the pipe
 * @throws {Error} if standard output cannot be written
 */
export function writeToStandardOutput(bytes: Uint8Array, at: number): number | undefined {
  try {
    return writeSync(STDOUT, bytes, at);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'EPIPE') return undefined;
    if (code === 'EAGAIN') return 0;
    throw writeError('standard output', error);
  }
}

/** Resolves symbolic links. Rejects anything but a regular file or a new file. */
function resolveTarget(path: string): string {
  if (path.endsWith('/')) throw new Error(`${path} is a folder. Specify a file.`);
  return withWriteError(path, () => {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return resolveParent(path);
    if (statSync(path, { throwIfNoEntry: false }) === undefined) {
      throw new Error(`${path} is a symbolic link to a file that does not exist.`);
    }
    const target = realpathSync.native(path);
    const found = statSync(target);
    if (found.isDirectory()) throw new Error(`${path} is a folder. Specify a file.`);
    if (!found.isFile()) throw new Error(`${path} is not a regular file. Omit it to write to standard output.`);
    return target;
  });
}

/** Returns a path with the symbolic links of its folder resolved. The folder must exist, the file does not have to. */
function resolveParent(path: string): string {
  return join(realpathSync.native(dirname(path)), basename(path));
}

/** Throws if a file is one of the program's own files, by path or as another hard link to one. */
function rejectProtected(
  path: string,
  target: string | undefined,
  found: Stats | undefined,
  protectedFiles: readonly string[],
): void {
  for (const protectedFile of protectedFiles) {
    const existing = statSync(protectedFile, { throwIfNoEntry: false });
    const isSameFile = existing && found && existing.ino === found.ino && existing.dev === found.dev;
    if (isSameFile || (target !== undefined && pointsTo(protectedFile, target))) {
      throw new Error(`${path} is one of rawlog's own files (${protectedFile}). Choose another file.`);
    }
  }
}

/**
 * Returns whether a path resolves to a target. The file does not have to exist: if an export were written to the path
 * of a missing write-ahead log, SQLite would read it as one.
 */
function pointsTo(path: string, target: string): boolean {
  try {
    return resolveParent(path) === target;
  } catch {
    return false; // its folder does not exist
  }
}

/** Runs a node:fs call, and converts its errors with {@link writeError}. */
function withWriteError<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw writeError(path, error);
  }
}

/** Returns an error with a one-sentence message: what cannot be written, and why. */
function writeError(path: string, error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error)) return error;
  // for example "ENOSPC: no space left on device, write"
  return new Error(`${path} cannot be written: ${error.message.split(',')[0]}.`, { cause: error });
}

/**
 * Catches the termination signals. Without a listener they would kill the process immediately and leave temporary files
 * behind. A signal that was ignored at startup, as under nohup, stays ignored.
 */
export function catchSignals(): Disposable & {
  /**
   * Lets the event loop run once, which delivers pending signals.
   *
   * @throws {InterruptedError} if a signal was received
   */
  check(): Promise<void>;
} {
  let received: NodeJS.Signals | undefined;
  const listener = (signal: NodeJS.Signals) => {
    received ??= signal;
  };
  const ignored = ignoredSignals();
  const signals = (['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const).filter(
    (signal) => (ignored & (1n << BigInt(system.signals[signal] - 1))) === 0n,
  );
  for (const signal of signals) process.on(signal, listener);
  return {
    async check() {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (received) throw new InterruptedError(received);
    },
    [Symbol.dispose]() {
      for (const signal of signals) process.removeListener(signal, listener);
    },
  };
}

/** Returns the signals that the process ignores as a bit mask; 0 if that cannot be determined (outside Linux). */
function ignoredSignals(): bigint {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return BigInt(`0x${mask ?? '0'}`);
  } catch {
    return 0n;
  }
}
