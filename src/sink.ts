import fs from 'node:fs';

/*
 * Asynchronous output: the server's log and startup message. If the reader stops, the disk is full or the pipe is
 * closed, lines are lost, but requests are not delayed.
 *
 * Pipes and terminals are reopened in non-blocking mode, which does not affect other processes that share them. Regular
 * files, and anything that cannot be reopened (a socket, another user's pipe), are written in the runtime's thread pool.
 * All sinks share one write at a time there, because the pool may have only two threads and fsync needs one.
 */

/** Maximum buffer of a sink. Lines beyond it are dropped. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** Maximum size of a single write. */
const MAX_WRITE_BYTES = 64 * 1024;
/** Delay before the next write to a full pipe, or after any other error. */
const RETRY_MS = { full: 20, failed: 1_000 };

/** An ordered destination for text. None of its functions throws. */
export interface Sink {
  write(text: string): void;
  /** Returns the number of texts dropped so far. */
  dropped(): number;
  /**
   * Sets the listener that is called once a sink that dropped texts has written all others, with the number dropped
   * since its last call.
   */
  onRecovered(listener: (dropped: number) => void): void;
  /** Resolves once everything is written, a write fails, or the timeout passes. */
  flush(timeoutMs: number): Promise<void>;
}

/** Writes of other sinks that wait for the thread pool. */
const waitingForPool: (() => void)[] = [];
let isPoolBusy = false;

/**
 * Opens a sink on an inherited file descriptor.
 *
 * @param fd 1 for standard output, 2 for standard error
 */
export function openSink(fd: number): Sink {
  const handle = reopenNonBlocking(fd);
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let isWriting = false;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;
  let hasFailed = false;
  let dropped = 0;
  let reportedDrops = 0;
  let onRecovered: (dropped: number) => void = () => {};
  let flushWaiters: (() => void)[] = [];

  function writeNext(): void {
    if (isWriting || retryTimer !== undefined) return;
    if (pendingBytes === 0) {
      settle();
      return;
    }
    isWriting = true;
    if (handle === undefined) writeInPool(fd, nextBytes(), onWritten);
    else onWritten(...writeNow(handle, nextBytes()));
  }

  /** Returns the bytes of the next write: as many whole texts as fit, but at least one. */
  function nextBytes(): Buffer {
    let bytes = 0;
    let count = 0;
    for (const text of pending) {
      if (count > 0 && bytes + text.length > MAX_WRITE_BYTES) break;
      bytes += text.length;
      count++;
    }
    if (count > 1) pending = [Buffer.concat(pending.slice(0, count)), ...pending.slice(count)];
    return pending[0] ?? Buffer.alloc(0);
  }

  function onWritten(code: string | undefined, written: number): void {
    isWriting = false;
    if (code === undefined) {
      hasFailed = false;
      const remaining = pending[0]?.subarray(written) ?? Buffer.alloc(0);
      if (remaining.length > 0) pending[0] = remaining;
      else pending.shift();
      pendingBytes -= written;
      writeNext();
      return;
    }
    hasFailed = code !== 'EAGAIN';
    retryTimer = setTimeout(retry, hasFailed ? RETRY_MS.failed : RETRY_MS.full);
    retryTimer.unref();
    if (hasFailed) resolveFlushes();
  }

  function retry(): void {
    clearTimeout(retryTimer);
    retryTimer = undefined;
    writeNext();
  }

  function settle(): void {
    resolveFlushes();
    const newDrops = dropped - reportedDrops;
    if (newDrops === 0) return;
    reportedDrops = dropped;
    onRecovered(newDrops);
  }

  function resolveFlushes(): void {
    const waiters = flushWaiters;
    flushWaiters = [];
    for (const resolve of waiters) resolve();
  }

  return {
    write(text) {
      const bytes = Buffer.from(text);
      if (pendingBytes + bytes.length > MAX_BUFFERED_BYTES) {
        dropped++;
        return;
      }
      pending.push(bytes);
      pendingBytes += bytes.length;
      writeNext();
    },
    dropped: () => dropped,
    onRecovered(listener) {
      onRecovered = listener;
    },
    async flush(timeoutMs) {
      const timeout = Promise.withResolvers<void>();
      const timer = setTimeout(timeout.resolve, timeoutMs);
      const flushed = new Promise<void>((resolve) => flushWaiters.push(resolve));
      if (hasFailed) retry();
      else writeNext();
      await Promise.race([flushed, timeout.promise]);
      clearTimeout(timer);
    },
  };
}

/** Reopens a pipe or a terminal in non-blocking mode. Returns undefined for anything else. */
function reopenNonBlocking(fd: number): number | undefined {
  try {
    const stat = fs.fstatSync(fd);
    if (!stat.isFIFO() && !stat.isCharacterDevice()) return undefined;
    const { O_WRONLY, O_NONBLOCK, O_NOCTTY } = fs.constants;
    return fs.openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_NONBLOCK | O_NOCTTY);
  } catch {
    return undefined; // the pipe belongs to another user, or there is no /proc
  }
}

function writeNow(handle: number, bytes: Buffer): [code: string | undefined, written: number] {
  try {
    return [undefined, fs.writeSync(handle, bytes)];
  } catch (error) {
    return [codeOf(error), 0];
  }
}

/** Writes in the thread pool, after the pending writes of other sinks. */
function writeInPool(fd: number, bytes: Buffer, onWritten: (code: string | undefined, written: number) => void): void {
  if (isPoolBusy) {
    waitingForPool.push(() => writeInPool(fd, bytes, onWritten));
    return;
  }
  isPoolBusy = true;
  const finish = (error: unknown, written: number) => {
    isPoolBusy = false;
    waitingForPool.shift()?.();
    onWritten(error ? codeOf(error) : undefined, written);
  };
  try {
    fs.write(fd, bytes, 0, bytes.length, null, finish);
  } catch (error) {
    finish(error, 0);
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'EIO';
}
