import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';

/** Maximum size of a setting file, far larger than any secret or key. */
const MAX_BYTES = 64 * 1024;

/**
 * Reads a file that contains a setting. Only regular files are accepted: the server reads them again on SIGHUP, and a
 * pipe without a writer would block it.
 *
 * @throws {Error} with a code, or with a message that does not contain the path
 */
export function readSettingFile(path: string): string {
  const handle = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const file = fstatSync(handle);
    if (!file.isFile()) throw new Error('not a regular file');
    if (file.size > MAX_BYTES) throw new Error(`larger than ${MAX_BYTES} bytes`);
    return readFileSync(handle, 'utf8');
  } finally {
    closeSync(handle);
  }
}
