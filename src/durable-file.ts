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
 * The only way in which commands write files: the previous file stays as it is until the new one is complete
 * and durable, and the program's own files cannot be the target.
 */

/** The number of standard output, as a file. */
const STDOUT = 1;
/** How long to wait for a reader of a full, non-blocking pipe before the next attempt, in milliseconds. */
export const FULL_PIPE_WAIT = 2;

/** A signal asked the process to end before its work was done. What it had begun has been cleaned up. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted';
  readonly signal: NodeJS.Signals;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.signal = signal;
  }
}

/**
 * Replaces a file, or creates it, readable to its owner only. On return all of it is durable. If anything fails,
 * the process is told to end, or the power fails, the previous file is untouched. A symbolic link is followed.
 *
 * @param content its parts; the event loop runs between them
 * @param protectedFiles files that are never replaced, whether they exist or not
 * @throws {Interrupted} after SIGINT, SIGTERM, SIGQUIT or SIGHUP; other errors have a message for the operator, and
 *   those of `content` are passed on. No temporary file is left behind
 */
export async function replaceFile(
  path: string,
  content: Iterable<Uint8Array>,
  protectedFiles: readonly string[],
): Promise<void> {
  const target = resolveTarget(path);
  refuseOwn(path, target, statSync(target, { throwIfNoEntry: false }), protectedFiles);
  const draft = join(dirname(target), `.rawlog-${randomUUID()}.tmp`);
  using signals = catchSignals();
  const handle = reported(path, () =>
    openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600),
  );
  try {
    try {
      for (const bytes of content) {
        for (let at = 0; at < bytes.length; ) at += reported(path, () => writeSync(handle, bytes, at));
        await signals.check();
      }
      reported(path, () => fsyncSync(handle));
    } finally {
      closeSync(handle);
    }
    await signals.check();
    reported(path, () => renameSync(draft, target));
  } catch (error) {
    rmSync(draft, { force: true });
    throw error;
  }
  reported(path, () => syncFolder(dirname(target)));
}

/**
 * Writes to standard output, as fast as it is read. Returns quietly when the reader goes away.
 *
 * @param protectedFiles files that standard output must not be redirected to
 */
export async function writeStandardOutput(
  content: Iterable<Uint8Array>,
  protectedFiles: readonly string[],
): Promise<void> {
  refuseOwn('standard output', undefined, fstatSync(STDOUT), protectedFiles);
  for (const bytes of content) {
    for (let at = 0; at < bytes.length; ) {
      const written = writeToStandardOutput(bytes, at);
      if (written === undefined) return;
      at += written;
      if (written === 0) await Bun.sleep(FULL_PIPE_WAIT);
    }
  }
}

/**
 * Writes once to standard output, from a place on.
 *
 * @returns how many bytes were written: 0 where a pipe that must not block is full; undefined where its reader is gone
 * @throws {Error} if it cannot be written
 */
export function writeToStandardOutput(bytes: Uint8Array, at: number): number | undefined {
  try {
    return writeSync(STDOUT, bytes, at);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'EPIPE') return undefined;
    if (code === 'EAGAIN') return 0;
    throw unwritable('standard output', error);
  }
}

/** Resolves links, and rejects what is not a regular file. */
function resolveTarget(path: string): string {
  if (path.endsWith('/')) throw new Error(`${path} is a folder. Name a file.`);
  return reported(path, () => {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return locate(path);
    if (statSync(path, { throwIfNoEntry: false }) === undefined) {
      throw new Error(`${path} is a symbolic link to a file that does not exist.`);
    }
    const target = realpathSync.native(path);
    const found = statSync(target);
    if (found.isDirectory()) throw new Error(`${path} is a folder. Name a file.`);
    if (!found.isFile()) throw new Error(`${path} is not a regular file. Without a file, standard output is written.`);
    return target;
  });
}

/** The place of a file that may not exist, in a folder that does. */
function locate(path: string): string {
  return join(realpathSync.native(dirname(path)), basename(path));
}

/** @throws when a file is one of the program's own: by place, or under any other name of it */
function refuseOwn(
  path: string,
  target: string | undefined,
  found: Stats | undefined,
  protectedFiles: readonly string[],
): void {
  for (const own of protectedFiles) {
    const existing = statSync(own, { throwIfNoEntry: false });
    const isSame = existing && found && existing.ino === found.ino && existing.dev === found.dev;
    if (isSame || (target !== undefined && isPlaceOf(own, target))) {
      throw new Error(`${path} is a file of rawlog itself, ${own}. Choose another one.`);
    }
  }
}

/** Whether a path leads to a place, also where there is no file yet: SQLite would read a write-ahead log put there. */
function isPlaceOf(path: string, place: string): boolean {
  try {
    return locate(path) === place;
  } catch {
    return false; // its folder does not exist
  }
}

/** Runs a call of node:fs; its errors say what cannot be written, and why, in one sentence. */
function reported<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw unwritable(path, error);
  }
}

/** Returns an error that says in one sentence what cannot be written, and why. */
function unwritable(path: string, error: unknown): unknown {
  if (!(error instanceof Error && 'code' in error)) return error;
  // such as "ENOSPC: no space left on device, write"
  return new Error(`${path} cannot be written: ${error.message.split(',')[0]}.`, { cause: error });
}

/**
 * Catches the signals that ask a process to end. Without a listener they would end it at once, with a temporary
 * file left behind. A signal that was ignored from the start, as by nohup, stays ignored.
 */
export function catchSignals(): Disposable & {
  /** Lets the event loop run once, which delivers signals. @throws {Interrupted} if there was one */
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
      if (received) throw new Interrupted(received);
    },
    [Symbol.dispose]() {
      for (const signal of signals) process.removeListener(signal, listener);
    },
  };
}

/** The signals that the process ignores, one bit each; none where that cannot be read (outside Linux). */
function ignoredSignals(): bigint {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    return BigInt(`0x${mask ?? '0'}`);
  } catch {
    return 0n;
  }
}
