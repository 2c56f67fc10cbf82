import { randomUUID } from 'node:crypto';
import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makeDurableFolder } from '../durable-folder.ts';

/**
 * Creates a file without a name, which disappears with the process however it ends. Other users cannot read it.
 *
 * @param folder where it takes its space; created if missing
 * @returns its handle
 */
export function createUnlinkedFile(folder: string): number {
  makeDurableFolder(folder);
  const path = join(folder, `.rawlog-${randomUUID()}.tmp`);
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
  try {
    rmSync(path);
    return file;
  } catch (error) {
    closeSync(file);
    throw error;
  }
}
