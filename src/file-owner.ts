import fs from 'node:fs';
import { type FileHandle, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/*
 * Ownership of new files. Root may run a command in the folder of a service that runs as another user. Files that it
 * creates there must belong to that user, or the service could not open them.
 */

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = fs.constants;

/** Changes the owner of an open file to that of a folder, if this process is root and the folder belongs to another user. */
export function chownToFolderOwner(handle: number, folder: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = fs.statSync(folder);
  if (uid !== 0) fs.fchownSync(handle, uid, gid);
}

/** As {@link chownToFolderOwner}, without blocking the event loop. */
export async function giveToFolderOwner(file: FileHandle, folder: string): Promise<void> {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = await stat(folder);
  if (uid !== 0) await file.chown(uid, gid);
}

/** Changes the owner of a new folder to that of its parent, as {@link chownToFolderOwner} does. */
export function giveFolderToOwner(folder: string): void {
  if (process.geteuid?.() !== 0) return;
  const handle = fs.openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    chownToFolderOwner(handle, dirname(folder));
  } finally {
    fs.closeSync(handle);
  }
}

/** Creates an empty file that only its owner can read, unless it exists. {@link chownToFolderOwner} sets the owner. */
export function createOwnedFile(path: string): void {
  let handle: number;
  try {
    handle = fs.openSync(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return;
    throw error;
  }
  try {
    chownToFolderOwner(handle, dirname(path));
  } finally {
    fs.closeSync(handle);
  }
}
