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

/** The bits of a mode with which others than the owner read, and those with which they write. */
const READABLE_BY_OTHERS = 0o044;
const WRITABLE_BY_OTHERS = 0o022;

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
 * @throws {Error} if the file cannot be read or created, or if somebody else could have written it; the message names
 *   the file, and what to do
 */
export function readOrCreateSecretFile(path: string, create: () => string): SecretFile {
  const folder = dirname(path);
  if (existsSync(folder)) assertTrustedFolder(folder, { isOwnerTrusted: isRoot() });
  try {
    const isNew = !existsSync(path) && createFile(path, create());
    protect(path);
    return { content: readFileSync(path, 'utf8').trim(), isNew };
  } catch (error) {
    if (error instanceof Untrusted) throw error;
    throw new Error(`${path} cannot be read or created: ${reasonOf(error, path)}`, { cause: error });
  }
}

/**
 * Checks that nobody but this user and root can put files into a folder: whoever can, chooses the secrets in it.
 *
 * @param isOwnerTrusted whether it may belong to any user: root works on the folders of services
 * @throws {Error} with what to do
 */
export function assertTrustedFolder(folder: string, { isOwnerTrusted = false } = {}): void {
  const stat = statSync(folder);
  if (!isOwnerTrusted) assertOwner(folder, stat, []);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new Untrusted(
      `${folder} can be written by other users (mode ${modeOf(stat)}), who could replace the secrets in it. Run: chmod go-w ${folder}`,
    );
  }
}

class Untrusted extends Error {}

/** Checks whose file a secret is, and takes it from the eyes of others. */
function protect(path: string): void {
  const isLink = lstatSync(path).isSymbolicLink();
  const stat = statSync(path);
  if (!stat.isFile()) throw new Untrusted(`${path} is not a regular file.`);
  assertOwner(path, stat, isRoot() ? [statSync(dirname(path)).uid] : []);
  if ((stat.mode & WRITABLE_BY_OTHERS) !== 0) {
    throw new Untrusted(
      `${path} can be written by other users (mode ${modeOf(stat)}). If its content is yours, run: chmod 600 ${path}`,
    );
  }
  // what a link leads to is somebody else's to protect
  if (isLink || (stat.mode & READABLE_BY_OTHERS) === 0) return;
  if (stat.uid !== process.geteuid?.() && !isRoot()) {
    throw new Untrusted(
      `${path} can be read by other users (mode ${modeOf(stat)}). As its owner, run: chmod 600 ${path}`,
    );
  }
  chmodSync(path, 0o600);
}

/** @param others users that may own it, beside this one and root */
function assertOwner(path: string, { uid }: Stats, others: readonly number[]): void {
  const user = process.geteuid?.();
  if (user === undefined || uid === user || uid === 0 || others.includes(uid)) return;
  throw new Untrusted(
    `${path} belongs to user ${uid}, but rawlog runs as user ${user}. Run rawlog as user ${uid}, or as root: chown ${user} ${path}`,
  );
}

function isRoot(): boolean {
  return process.geteuid?.() === 0;
}

function modeOf({ mode }: Stats): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}

/** Creates the file whole or not at all: written beside it, then linked to its name, which fails if it exists. */
function createFile(path: string, content: string): boolean {
  const folder = dirname(path);
  makeDurableFolder(folder);
  const draft = `${path}.${process.pid}.new`;
  rmSync(draft, { force: true }); // of an earlier process with this ID
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
