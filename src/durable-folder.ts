import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { giveFolderToOwner } from './file-owner.ts';
import { reasonOf } from './system-error.ts';

/**
 * Creates a folder that only its owner can read, with any missing parents. They are durable when it returns.
 *
 * @param isOurs whether new folders keep this process's user as their owner. Otherwise, folders that root creates in
 *   another user's folder are given to that user; see file-owner.ts
 */
export function makeDurableFolder(folder: string, { isOurs = false } = {}): void {
  const first = makeFolder(folder);
  if (first === undefined) return;
  const created: string[] = [];
  for (let path = resolve(folder); path.length >= resolve(first).length; path = dirname(path)) created.unshift(path);
  if (!isOurs) for (const path of created) giveFolderToOwner(path);
  // the entry of a new folder is in its parent, which must be synced too
  for (const path of created) syncFolder(dirname(path));
}

/** Creates a folder and its missing parents. Returns the topmost one that was created, or undefined for none. */
function makeFolder(folder: string): string | undefined {
  try {
    return mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`The folder ${folder} cannot be created: ${reasonOf(error, folder)}`, { cause: error });
  }
}

/** Syncs the directory entries of a folder to disk. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
