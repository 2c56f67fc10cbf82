/**
 * Approximate number of bytes of rows between runs of the garbage collector. Without them, 60 to 120 MB of rows and encoded
 * text accumulate during an export, and up to 1 GB of parsed data on a machine with much memory. A run takes a few
 * milliseconds.
 */
const INTERVAL_BYTES = 8 * 1024 * 1024;

let bytesSinceRun = 0;

/** Counts bytes of rows that were read and are no longer needed, and runs the garbage collector now and then. */
export function countGarbage(bytes: number): void {
  bytesSinceRun += bytes;
  if (bytesSinceRun < INTERVAL_BYTES) return;
  bytesSinceRun = 0;
  Bun.gc(true);
}
