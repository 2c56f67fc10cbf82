import fs from 'node:fs';

/** Bytes after which a file is synced and its writer pauses: a disk of 100 MB per second is busy for 20 ms with them. */
const SLICE_BYTES = 2 * 1024 ** 2;
/** Longest pause, in milliseconds. */
const MAX_PAUSE_MS = 100;

/**
 * Writes a large file without making others wait for the disk. If all of it were synced at the end, a commit of the server
 * would meanwhile wait for hundreds of megabytes that are before it in the disk's queue. So each slice of 2 MB is synced,
 * and the writer then pauses for as long as it worked on the slice, at most 100 ms: it uses at most about half of the disk
 * and of a core, and less while others make it slow.
 */
export class PacedFile {
  readonly #file: number;
  #unsyncedBytes = 0;
  #startedAt = performance.now();

  /** @param file file descriptor, which the caller closes, and syncs at the end */
  constructor(file: number) {
    this.#file = file;
  }

  /**
   * Writes bytes, and pauses after each slice.
   *
   * @param position where in the file; by default after the bytes written before
   * @throws {Error} of node:fs if they cannot be written or synced
   */
  async write(bytes: Uint8Array, position?: number): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      at += fs.writeSync(this.#file, bytes, at, bytes.length - at, position === undefined ? null : position + at);
    }
    this.#unsyncedBytes += bytes.length;
    if (this.#unsyncedBytes < SLICE_BYTES) return;
    fs.fdatasyncSync(this.#file);
    this.#unsyncedBytes = 0;
    await Bun.sleep(Math.min(MAX_PAUSE_MS, performance.now() - this.#startedAt));
    this.#startedAt = performance.now();
  }
}
