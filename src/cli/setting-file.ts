import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** Far above what secrets and keys have. */
const MAX_BYTES = 64 * 1024;

/**
 * Reads a file that holds a setting. Only regular files: it is read again while the server runs, which a pipe without
 * a writer would stop.
 *
 * @throws {Error} with a code, or a message that does not contain the path
 */
export function readSettingFile(path: string): string {
  const handle = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const file = fstatSync(handle);
    if (!file.isFile()) throw new Error('it is not a regular file');
    if (file.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
    return readFileSync(handle, 'utf8');
  } finally {
    closeSync(handle);
  }
}
