import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { giveFolderToOwner } from './file-owner.ts';
import { reasonOf } from './system-error.ts';

/**
 * Makes a folder, readable to its owner alone, and everything above it that is missing; durable at return.
 *
 * @param isOurs whether it belongs to this user, also to root in a folder of somebody else: see file-owner.ts
 */
export function makeDurableFolder(folder: string, { isOurs = false } = {}): void {
  const made = makeFolder(folder);
  if (made === undefined) return;
  const created: string[] = [];
  for (let path = resolve(folder); path.length >= resolve(made).length; path = dirname(path)) created.unshift(path);
  if (!isOurs) for (const path of created) giveFolderToOwner(path);
  // the name of a new folder is in the one above it, which must reach the disk as well
  for (const path of created) syncFolder(dirname(path));
}

/** Returns the first folder that was made. */
function makeFolder(folder: string): string | undefined {
  try {
    return mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new Error(`The folder ${folder} cannot be created: ${reasonOf(error, folder)}`, { cause: error });
  }
}

/** Makes the names in a folder durable. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
