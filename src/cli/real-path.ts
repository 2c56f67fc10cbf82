import { readlinkSync, realpathSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** Maximum chain of symbolic links, as in the Linux kernel. */
const MAX_LINKS = 40;

/**
 * Returns the absolute path with all symbolic links resolved. The path does not have to exist.
 *
 * @throws {Error} if the links are circular
 */
export function realPath(path: string): string {
  try {
    return realpathSync.native(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'ELOOP') throw circularLinkError(path);
    return resolveLinks(resolve(path), 0, path);
  }
}

function resolveLinks(path: string, depth: number, originalPath: string): string {
  if (depth > MAX_LINKS) throw circularLinkError(originalPath);
  const parent = dirname(path);
  if (parent === path) return path;
  const folder = resolveLinks(parent, depth, originalPath);
  const resolvedPath = join(folder, basename(path));
  let target: string;
  try {
    target = readlinkSync(resolvedPath);
  } catch {
    return resolvedPath; // not a link, or it does not exist
  }
  return resolveLinks(resolve(folder, target), depth + 1, originalPath);
}

function circularLinkError(path: string): Error {
  return new Error(`${path} is a circular symbolic link.`);
}
