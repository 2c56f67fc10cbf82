import { randomBytes } from 'node:crypto';
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
import { join } from 'node:path';
import { MIN_SECRET_BYTES } from '../config.ts';
import { makeDurableFolder, syncFolder } from '../durable-folder.ts';

/** The server's own secret, and whether this call made it. */
export interface OwnSecret {
  readonly secret: string;
  readonly path: string;
  readonly made: boolean;
}

/**
 * Reads the secret that the server keeps for itself where none is configured; makes one, of 256
 * random bits and readable to the owner alone, on first use. Two processes that start at once get
 * the same one.
 *
 * @throws when the file cannot be read or made, or holds too little to be a secret
 */
export function ownSecret(dataDir: string): OwnSecret {
  try {
    return readOrMake(dataDir);
  } catch (error) {
    throw new Error(
      `The own secret in ${dataDir} cannot be used: ${(error as Error).message}. Check DATA_DIR, or set JWT_SECRET.`,
      { cause: error },
    );
  }
}

function readOrMake(dataDir: string): OwnSecret {
  const path = join(dataDir, 'jwt-secret');
  const made = !existsSync(path) && makeSecret(path, dataDir);
  const file = lstatSync(path);
  // what a link leads to is somebody else's to protect
  if (!file.isSymbolicLink() && (file.mode & 0o077) !== 0) chmodSync(path, 0o600);
  const secret = readFileSync(path, 'utf8').trim();
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new Error(`${path} holds less than ${MIN_SECRET_BYTES} bytes; without it, a new secret is made`);
  }
  return { secret, path, made };
}

/** Makes the file whole or not at all: written aside, then linked to its name, which fails where it exists. */
function makeSecret(path: string, folder: string): boolean {
  makeDurableFolder(folder);
  const draft = `${path}.${process.pid}.new`;
  const handle = openSync(draft, 'w', 0o600);
  try {
    writeSync(handle, `${randomBytes(32).toString('base64url')}\n`);
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
