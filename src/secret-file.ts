import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { makeDurableFolder, syncFolder } from './durable-folder.ts';

/** The content of a secret file, and whether this call created it. */
export interface SecretFile {
  readonly content: string;
  readonly isNew: boolean;
}

/**
 * Reads a file that only its owner may read; creates it on first use. Two processes that start at once get the same
 * content.
 *
 * @param create returns the content of a new file
 * @throws if the file cannot be read or created
 */
export function readOrCreateSecretFile(path: string, create: () => string): SecretFile {
  const isNew = !existsSync(path) && createFile(path, create());
  const file = lstatSync(path);
  // what a link leads to is somebody else's to protect
  if (!file.isSymbolicLink() && (file.mode & 0o077) !== 0) chmodSync(path, 0o600);
  return { content: readFileSync(path, 'utf8').trim(), isNew };
}

/** Creates the file whole or not at all: written beside it, then linked to its name, which fails if it exists. */
function createFile(path: string, content: string): boolean {
  const folder = dirname(path);
  makeDurableFolder(folder);
  const draft = `${path}.${process.pid}.new`;
  const handle = openSync(draft, 'w', 0o600);
  try {
    writeSync(handle, `${content}\n`);
    fsyncSync(handle);
    linkSync(draft, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  } finally {
    closeSync(handle);
    rmSync(draft, { force: true });
    syncFolder(folder);
  }
}
