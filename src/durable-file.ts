import { randomUUID } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  write,
  writeSync,
} from 'node:fs';
import { constants as system } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { syncFolder } from './durable-folder.ts';
import { PacedFile } from './paced-file.ts';

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

/** Bytes that belong at a position of a file. */
export interface FilePiece {
  readonly bytes: Uint8Array;
  readonly position: number;
}

/** Options of {@link replaceFile}. */
interface ReplaceOptions {
  /** Whether an existing file is replaced; otherwise it is an error. Default: true. */
  readonly overwrite?: boolean;
  /** Whether symbolic links are followed; otherwise they are an error. Default: true. */
  readonly followLinks?: boolean;
}

/**
 * Creates or replaces a file that only its owner can read. It is complete and durable when the promise resolves. If an
 * error, a signal or a power failure comes first, the previous file is untouched. It is written as {@link PacedFile} does.
 *
 * @param content what to write, in order or with positions; the event loop runs between the chunks
 * @param protectedFiles files that are never replaced, whether they exist or not
 * @throws {InterruptedError} after SIGINT, SIGTERM, SIGQUIT or SIGHUP. Other errors have a message for the operator;
 *   errors from `content` are rethrown. The temporary file is always removed
 */
export async function replaceFile(
  path: string,
  content: Iterable<Uint8Array | FilePiece>,
  protectedFiles: readonly string[],
  { overwrite = true, followLinks = true }: ReplaceOptions = {},
): Promise<void> {
  if (!followLinks && lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) {
    throw new Error(`${path} is a symbolic link. Specify the file itself.`);
  }
  const target = resolveTarget(path);
  if (!overwrite && lstatSync(target, { throwIfNoEntry: false })) throw existsError(path);
  rejectProtected(path, target, statSync(target, { throwIfNoEntry: false }), protectedFiles);
  const draft = join(dirname(target), `.rawlog-${randomUUID()}.tmp`);
  using signals = catchSignals();
  const handle = withWriteError(path, () =>
    openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600),
  );
  try {
    try {
      const file = new PacedFile(handle);
      for (const chunk of content) {
        const { bytes, position } = chunk instanceof Uint8Array ? { bytes: chunk, position: undefined } : chunk;
        await file.write(bytes, position).catch((error: unknown) => {
          throw writeError(path, error);
        });
        await signals.check();
      }
      withWriteError(path, () => fsyncSync(handle));
    } finally {
      closeSync(handle);
    }
    await signals.check();
    withWriteError(path, () => (overwrite ? renameSync(draft, target) : renameToNew(path, draft, target)));
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
 * @param catchesSignals whether a signal is an error, so that the caller can clean up. Otherwise it ends the process
 * @throws {InterruptedError} after SIGINT, SIGTERM, SIGQUIT or SIGHUP, if they are caught
 */
export async function writeStandardOutput(
  content: Iterable<Uint8Array>,
  protectedFiles: readonly string[],
  { catchesSignals = false } = {},
): Promise<void> {
  rejectProtected('standard output', undefined, fstatSync(STDOUT), protectedFiles);
  using signals = catchesSignals ? catchSignals() : undefined;
  for (const bytes of content) {
    await signals?.check();
    for (let at = 0; at < bytes.length; ) {
      const written = signals
        ? await Promise.race([writeInThread(bytes, at), signals.received.then(() => 0)])
        : writeToStandardOutput(bytes, at);
      if (written === undefined) return;
      at += written;
      await signals?.check();
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
    return resultOfFailedWrite(error);
  }
}

/** As {@link writeToStandardOutput}, in another thread: a reader that does not read blocks no signal. */
function writeInThread(bytes: Uint8Array, at: number): Promise<number | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<number | undefined>();
  write(STDOUT, bytes, at, bytes.length - at, null, (error, written) => {
    if (!error) return resolve(written);
    Promise.try(resultOfFailedWrite, error).then(resolve, reject);
  });
  return promise;
}

/** Returns what {@link writeToStandardOutput} returns after an error, or throws. */
function resultOfFailedWrite(error: unknown): 0 | undefined {
  const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
  if (code === 'EPIPE') return undefined;
  if (code === 'EAGAIN') return 0;
  throw writeError('standard output', error);
}

/** Renames a file, unless there is one with the new name. */
function renameToNew(path: string, from: string, to: string): void {
  try {
    linkSync(from, to); // fails if the name exists, where renaming would replace the file
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'EEXIST' || lstatSync(to, { throwIfNoEntry: false })) throw existsError(path);
    if (code !== 'EPERM' && code !== 'ENOTSUP' && code !== 'ENOSYS') throw error;
    renameSync(from, to); // the file system has no hard links
    return;
  }
  rmSync(from);
}

function existsError(path: string): Error {
  return new Error(`${path} already exists. Choose another file, or pass --force to replace it.`);
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
  /** Resolves once a signal was received. */
  readonly received: Promise<NodeJS.Signals>;
  /**
   * Lets the event loop run once, which delivers pending signals.
   *
   * @throws {InterruptedError} if a signal was received
   */
  check(): Promise<void>;
} {
  let received: NodeJS.Signals | undefined;
  const { promise, resolve: resolveReceived } = Promise.withResolvers<NodeJS.Signals>();
  const listener = (signal: NodeJS.Signals) => {
    received ??= signal;
    resolveReceived(signal);
  };
  const ignored = ignoredSignals();
  const signals = (['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP'] as const).filter(
    (signal) => (ignored & (1n << BigInt(system.signals[signal] - 1))) === 0n,
  );
  for (const signal of signals) process.on(signal, listener);
  return {
    received: promise,
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
