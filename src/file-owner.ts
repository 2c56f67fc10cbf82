import fs from 'node:fs';
import { dirname } from 'node:path';

/*
 * Whose files these are. Root may run a command in the folder of a service that runs as its own user: what it creates
 * there must belong to that user, who could not open it otherwise.
 */

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_RDWR } = fs.constants;

/** Gives an open file to the owner of a folder, if this process is root and the folder is somebody else's. */
export function chownToFolderOwner(handle: number, folder: string): void {
  if (process.geteuid?.() !== 0) return;
  const { uid, gid } = fs.statSync(folder);
  if (uid !== 0) fs.fchownSync(handle, uid, gid);
}

/** Gives a folder that was just created to the owner of the one above it, as {@link chownToFolderOwner}. */
export function giveFolderToOwner(folder: string): void {
  if (process.geteuid?.() !== 0) return;
  const handle = fs.openSync(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  try {
    chownToFolderOwner(handle, dirname(folder));
  } finally {
    fs.closeSync(handle);
  }
}

/** Creates an empty file that belongs to the owner of its folder, readable to that owner only, if there is no file. */
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
