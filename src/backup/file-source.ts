import fs from 'node:fs';

/** Bytes read at once. */
const CHUNK_BYTES = 1024 ** 2;

/**
 * Yields the bytes of a file in chunks, and lets the event loop run between them. A chunk is valid only until the next
 * one is requested.
 *
 * @throws {Error} with a message for the operator if it cannot be read
 */
export async function* readFileChunks(path: string): AsyncGenerator<Uint8Array> {
  const file = openForChunks(path);
  try {
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (;;) {
      const length = fs.readSync(file, buffer, 0, CHUNK_BYTES, null);
      if (length === 0) return;
      yield buffer.subarray(0, length);
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  } finally {
    fs.closeSync(file);
  }
}

function openForChunks(path: string): number {
  try {
    const file = fs.openSync(path, 'r');
    if (!fs.fstatSync(file).isDirectory()) return file;
    fs.closeSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'ENOENT') throw new Error(`There is no file ${path}.`, { cause: error });
    throw new Error(`${path} cannot be read: ${code}.`, { cause: error });
  }
  throw new Error(`${path} is a folder. Specify a file.`);
}
