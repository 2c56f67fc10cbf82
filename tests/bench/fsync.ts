import fs from 'node:fs';
import { join } from 'node:path';
import { quantile } from './statistics.ts';

const PAGE = 4_096;
/** Pages in a write-ahead log before SQLite checkpoints and restarts it. */
const PAGES = 1_000;
const SYNCS = 500;

/** Measures how long it takes to overwrite one page of a file and fsync it as rawlog does, in milliseconds. */
export function timeFsyncs(folder: string): { p50: number; p99: number } {
  const path = join(folder, 'fsync-bench');
  const file = fs.openSync(path, 'w');
  try {
    fs.writeSync(file, Buffer.alloc(PAGE * PAGES));
    fs.fsyncSync(file);
    const page = Buffer.alloc(PAGE, 1);
    const times = Array.from({ length: SYNCS }, (_, i) => {
      const began = performance.now();
      fs.writeSync(file, page, 0, PAGE, (i % PAGES) * PAGE);
      fs.fdatasyncSync(file);
      return performance.now() - began;
    });
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
  } finally {
    fs.closeSync(file);
    fs.rmSync(path);
  }
}
