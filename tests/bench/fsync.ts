import fs from 'node:fs';
import { join } from 'node:path';
import { quantile } from './figures.ts';

const PAGE = 4_096;
/** As many as a write-ahead log has until it is written over from its start. */
const PAGES = 1_000;
const SYNCS = 500;

/** How long a write of a page and its fsync take in a file that has been written before, in milliseconds. */
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
      fs.fsyncSync(file);
      return performance.now() - began;
    });
    return { p50: quantile(times, 0.5), p99: quantile(times, 0.99) };
  } finally {
    fs.closeSync(file);
    fs.rmSync(path);
  }
}
