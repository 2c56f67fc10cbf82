import fs from 'node:fs';

/*
 * Output that nothing waits for: the server's log, and what it prints. A peer that stops reading, a full disk or a
 * closed pipe costs lines, never a request.
 *
 * Pipes and terminals are opened again without blocking, which affects no other process that shares them. What cannot
 * be opened again (a socket, a pipe of another user) and regular files are written in the runtime's thread pool, one
 * write at a time for all sinks: a pool may have two threads, and fsync needs one of them.
 */

/** What a sink holds for a slow reader, in bytes. Further lines are dropped. */
const MAX_BUFFERED_BYTES = 1024 * 1024;
/** The largest single write, in bytes. */
const MAX_WRITE_BYTES = 64 * 1024;
/** How long to wait before writing again, in milliseconds: to a full pipe, and after any other error. */
const RETRY = { full: 20, failed: 1_000 };

/** A destination for text, written in order. None of its functions throws. */
export interface Sink {
  write(text: string): void;
  /** How many texts have been dropped so far. */
  dropped(): number;
  /** Called once everything is written after texts were dropped, with their number since the last call. */
  onRecovered(listener: (dropped: number) => void): void;
  /** Resolves once everything is written, or cannot be, or the time is over. */
  flush(timeoutMs: number): Promise<void>;
}

/** Sinks that wait for the thread pool. */
const waitingForPool: (() => void)[] = [];
let isPoolBusy = false;

/**
 * Opens a sink on an inherited file.
 *
 * @param fd its number: 1 is standard output, 2 standard error
 */
export function openSink(fd: number): Sink {
  const handle = openAgain(fd);
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let isWriting = false;
  let retrying: ReturnType<typeof setTimeout> | undefined;
  let hasFailed = false;
  let dropped = 0;
  let reported = 0;
  let recovered: (dropped: number) => void = () => {};
  let settled: (() => void)[] = [];

  function next(): void {
    if (isWriting || retrying !== undefined) return;
    if (pendingBytes === 0) {
      settle();
      return;
    }
    isWriting = true;
    if (handle === undefined) inPool(fd, head(), done);
    else done(...writeNow(handle, head()));
  }

  /** What is written next: as many whole texts as fit one write, and one at least. */
  function head(): Buffer {
    let bytes = 0;
    let count = 0;
    for (const one of pending) {
      if (count > 0 && bytes + one.length > MAX_WRITE_BYTES) break;
      bytes += one.length;
      count++;
    }
    if (count > 1) pending = [Buffer.concat(pending.slice(0, count)), ...pending.slice(count)];
    return pending[0] ?? Buffer.alloc(0);
  }

  function done(code: string | undefined, written: number): void {
    isWriting = false;
    if (code === undefined) {
      hasFailed = false;
      const rest = pending[0]?.subarray(written) ?? Buffer.alloc(0);
      if (rest.length > 0) pending[0] = rest;
      else pending.shift();
      pendingBytes -= written;
      next();
      return;
    }
    hasFailed = code !== 'EAGAIN';
    retrying = setTimeout(retry, hasFailed ? RETRY.failed : RETRY.full);
    retrying.unref();
    if (hasFailed) wake();
  }

  function retry(): void {
    clearTimeout(retrying);
    retrying = undefined;
    next();
  }

  function settle(): void {
    wake();
    const lost = dropped - reported;
    if (lost === 0) return;
    reported = dropped;
    recovered(lost);
  }

  function wake(): void {
    const waiting = settled;
    settled = [];
    for (const resolve of waiting) resolve();
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
      next();
    },
    dropped: () => dropped,
    onRecovered(listener) {
      recovered = listener;
    },
    async flush(timeoutMs) {
      const over = Promise.withResolvers<void>();
      const timer = setTimeout(over.resolve, timeoutMs);
      const written = new Promise<void>((resolve) => settled.push(resolve));
      if (hasFailed) retry();
      else next();
      await Promise.race([written, over.promise]);
      clearTimeout(timer);
    },
  };
}

/** Opens a pipe or a terminal again, so that writing never blocks. Returns undefined for anything else. */
function openAgain(fd: number): number | undefined {
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

/** Writes in the thread pool, after the writes of other sinks. */
function inPool(fd: number, bytes: Buffer, done: (code: string | undefined, written: number) => void): void {
  if (isPoolBusy) {
    waitingForPool.push(() => inPool(fd, bytes, done));
    return;
  }
  isPoolBusy = true;
  const finish = (error: unknown, written: number) => {
    isPoolBusy = false;
    waitingForPool.shift()?.();
    done(error ? codeOf(error) : undefined, written);
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
