import { statfsSync } from 'node:fs';

/** Returns the space in bytes that an unprivileged process can still use on the disk of a folder. */
export function readFreeBytes(folder: string): number {
  const { bavail, bsize } = statfsSync(folder);
  return bavail * bsize;
}
