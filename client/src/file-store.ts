import { type Batch, batchesOf, type Change, type Store, takeChange } from './batch.ts';

/** The functions of `node:fs` that the store uses. */
interface FileSystem {
  openSync(path: string, flags: string, mode?: number): number;
  appendFileSync(file: number, text: string): void;
  closeSync(file: number): void;
  fsyncSync(file: number): void;
  ftruncateSync(file: number): void;
  readFileSync(path: string, encoding: 'utf8'): string;
  renameSync(from: string, to: string): void;
  unlinkSync(path: string): void;
}

/** What the store uses of the global `process` of Node and Bun. */
interface Process {
  readonly pid: number;
  kill(pid: number, signal: 0): boolean;
  getBuiltinModule?(name: 'node:fs'): FileSystem;
}

/** Size from which the file is rewritten if less than half of it still counts, in bytes. */
const COMPACT_FROM = 1 << 20;
/** Paths that clients of this process use. */
const used = new Set<string>();

/**
 * Opens a file as storage: a line of JSON per change. Writes are synchronous, so what was recorded survives a kill -9
 * right after the call.
 *
 * @throws {Error} if the file cannot be opened, or another process or client uses it
 */
export function openFileStore(path: string): Store {
  const process = (globalThis as { process?: Process }).process;
  const fs = process?.getBuiltinModule?.('node:fs');
  if (!process || !fs) throw new Error('rawlog: no file system');
  const lock = `${path}.lock`;
  const live = new Map<string, Batch>();
  let file = 0;
  let written = 0;
  /** Starts each line: a line break after a write that failed, which may have left a part of a line. */
  let separator = '';

  const read = (name: string) => {
    try {
      return fs.readFileSync(name, 'utf8');
    } catch {
      return '';
    }
  };
  const isRunning = (pid: number) => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  /** Writes lines, in one step. */
  const append = (changes: readonly Change[]) => {
    const text = separator + changes.map((change) => `${JSON.stringify(change)}\n`).join('');
    separator = '\n';
    fs.appendFileSync(file, text);
    separator = '';
    written += text.length;
  };
  /** Replaces the file by one with only the live batches. */
  const rewrite = () => {
    if (file) fs.closeSync(file);
    file = fs.openSync(`${path}.tmp`, 'w', 0o600);
    written = 0;
    append([...live.values()].map(takeAll));
    fs.fsyncSync(file);
    fs.closeSync(file);
    fs.renameSync(`${path}.tmp`, path);
    file = fs.openSync(path, 'a');
  };

  const holder = +read(lock);
  if (used.has(path) || (holder && holder !== process.pid && isRunning(holder))) {
    throw new Error(`rawlog: ${path} is in use`);
  }
  if (holder) fs.unlinkSync(lock);
  file = fs.openSync(lock, 'wx', 0o600);
  fs.appendFileSync(file, `${process.pid}`);
  for (const batch of batchesOf(changesOf(read(path)))) live.set(batch.key, batch);
  rewrite();
  used.add(path);

  return {
    load: async () => [...live.values()],
    async write(batch) {
      live.set(batch.key, batch);
      try {
        append([takeChange(batch)]);
      } catch {
        batch.isDurable = false;
      }
      return true;
    },
    replace({ key, order, sentAt }, others) {
      live.delete(key);
      for (const other of others) live.set(other.key, other);
      try {
        append([{ key, order, sentAt }, ...others.map(takeChange)]);
        if (live.size === 0) {
          fs.ftruncateSync(file);
          written = 0;
        }
        const bytes = [...live.values()].reduce((sum, batch) => sum + batch.bytes, 0);
        if (written > COMPACT_FROM && written > 2 * bytes) rewrite();
      } catch {
        for (const other of others) other.isDurable = false;
      }
    },
    release() {
      fs.closeSync(file);
      fs.unlinkSync(lock);
      used.delete(path);
    },
  };
}

/** Returns a whole batch as a change, and marks it as saved. */
function takeAll(batch: Batch): Change {
  batch.saved = 0;
  return takeChange(batch);
}

/** Returns the changes in a file. Skips lines that were not written completely. */
function changesOf(text: string): Change[] {
  return text.split('\n').flatMap((line): Change[] => {
    try {
      return [JSON.parse(line) as Change];
    } catch {
      return [];
    }
  });
}
