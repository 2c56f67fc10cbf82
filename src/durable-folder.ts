import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { giveFolderToOwner } from './file-owner.ts';

/** Makes a folder, readable to its owner alone, and everything above it that is missing; durable at return. */
export function makeDurableFolder(folder: string): void {
  const made = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (made === undefined) return;
  const created: string[] = [];
  for (let path = resolve(folder); path.length >= resolve(made).length; path = dirname(path)) created.unshift(path);
  for (const path of created) giveFolderToOwner(path);
  // the name of a new folder is in the one above it, which must reach the disk as well
  for (const path of created) syncFolder(dirname(path));
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
