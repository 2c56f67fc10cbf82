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
  type Stats,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { makeDurableFolder, syncFolder } from './durable-folder.ts';
import { chownToFolderOwner } from './file-owner.ts';
import { reasonOf } from './system-error.ts';

/** Mode bits that allow users other than the owner to read or to write. */
const READABLE_BY_OTHERS = 0o044;
const WRITABLE_BY_OTHERS = 0o022;

/** The result of reading or creating a secret file. */
export interface SecretFile {
  readonly content: string;
  /** Whether this call created it. */
  readonly isNew: boolean;
}

/**
 * Reads a secret file that only its owner may read, or creates it on first use. Processes that start at the same time
 * get the same content.
 *
 * @param create returns the content of a new file
 * @throws {Error} if the file cannot be read or created, or if other users could have written it. The message names the
 *   file and the remedy
 */
export function readOrCreateSecretFile(path: string, create: () => string): SecretFile {
  const folder = dirname(path);
  if (existsSync(folder)) assertTrustedFolder(folder, { isOwnerTrusted: isRoot() });
  try {
    const isNew = !existsSync(path) && createFile(path, create());
    protect(path);
    return { content: readFileSync(path, 'utf8').trim(), isNew };
  } catch (error) {
    if (error instanceof UntrustedFileError) throw error;
    throw new Error(`${path} cannot be read or created: ${reasonOf(error, path)}`, { cause: error });
  }
}

/**
 * Checks that only this user and root can write to a folder, because other users could replace the secrets in it.
 *
 * @param isOwnerTrusted whether the folder may belong to any user, because root runs commands in the folders of
 *   services
 * @throws {Error} whose message names the remedy
 */
export function assertTrustedFolder(folder: string, { isOwnerTrusted = false } = {}): void {
  const stat = statSync(folder);
  if (!isOwnerTrusted) assertOwner(folder, stat, []);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new UntrustedFileError(
      `${folder} is writable by other users (mode ${modeOf(stat)}), who could replace the secrets in it. Run: chmod go-w ${folder}`,
    );
  }
}

/** The error of a file or folder that other users could have changed. */
class UntrustedFileError extends Error {}

/** Checks the owner and mode of a secret file, and removes read access for other users. */
function protect(path: string): void {
  const isLink = lstatSync(path).isSymbolicLink();
  const stat = statSync(path);
  if (!stat.isFile()) throw new UntrustedFileError(`${path} is not a regular file.`);
  assertOwner(path, stat, isRoot() ? [statSync(dirname(path)).uid] : []);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new UntrustedFileError(
      `${path} is writable by other users (mode ${modeOf(stat)}). If you trust its content, run: chmod 600 ${path}`,
    );
  }
  // the owner of a symbolic link's target is responsible for its mode
  if (isLink || (stat.mode & READABLE_BY_OTHERS) === 0) return;
  if (stat.uid !== process.geteuid?.() && !isRoot()) {
    throw new UntrustedFileError(
      `${path} is readable by other users (mode ${modeOf(stat)}). As its owner, run: chmod 600 ${path}`,
    );
  }
  chmodSync(path, 0o600);
}

/**
 * Checks that a file belongs to this user or to root.
 *
 * @param trustedUsers additional users that may own it
 */
function assertOwner(path: string, { uid }: Stats, trustedUsers: readonly number[]): void {
  const user = process.geteuid?.();
  if (user === undefined || uid === user || uid === 0 || trustedUsers.includes(uid)) return;
  throw new UntrustedFileError(
    `${path} belongs to user ${uid}, but rawlog runs as user ${user}. Run rawlog as user ${uid}, or change the owner as root: chown ${user} ${path}`,
  );
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

function modeOf({ mode }: Stats): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/**
 * Creates a file atomically: writes a draft, then links it to the final name, which fails if the file exists.
 *
 * @returns whether this call created the file
 */
function createFile(path: string, content: string): boolean {
  const folder = dirname(path);
  makeDurableFolder(folder);
  const draft = `${path}.${process.pid}.new`;
  rmSync(draft, { force: true }); // left by an earlier process with the same ID
  const handle = openSync(draft, 'wx', 0o600);
  try {
    chownToFolderOwner(handle, folder);
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
