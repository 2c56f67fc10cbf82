import { readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** How many symbolic links are followed, one from another, as in the kernel. */
const MAX_LINKS = 40;

/**
 * Returns the absolute path that a path leads to through symbolic links, also where there is nothing yet.
 *
 * @throws {Error} if a link leads back to itself
 */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'ELOOP') throw loop(path);
    return follow(resolve(path), 0, path);
  }
}

function follow(path: string, links: number, given: string): string {
  if (links > MAX_LINKS) throw loop(given);
  const parent = dirname(path);
  if (parent === path) return path;
  const folder = follow(parent, links, given);
  const place = join(folder, basename(path));
  let target: string;
  try {
    target = readlinkSync(place);
  } catch {
    return place; // it is no link, or does not exist
  }
  return follow(resolve(folder, target), links + 1, given);
}

function loop(path: string): Error {
  return new Error(`${path} is a symbolic link that leads back to itself.`);
}
