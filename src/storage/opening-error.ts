import { SQLiteError } from 'bun:sqlite';
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { diskFullMessage, isDiskFull, isFullError, reasonOf, rootCause } from '../system-error.ts';
import { toStorageError } from './storage-error.ts';

/** The files that SQLite and rawlog keep for a database, by the endings of their names. */
export const DATABASE_FILES = ['', '-wal', '-shm', '-journal', '.lock'] as const;

/**
 * Returns why a database cannot be opened, in sentences. SQLite's own words name neither the file that it could not open
 * nor the reason.
 */
export function openingErrorMessage(error: unknown, path: string): string {
  const folder = dirname(path);
  const storageError = toStorageError(error);
  if (storageError.kind === 'full' || isFullError(error)) return diskFullMessage(path);
  const cause = rootCause(error);
  const isOfSystem = !(cause instanceof SQLiteError) && cause instanceof Error && 'code' in cause;
  if (storageError.kind === 'unavailable' || storageError.kind === 'failing' || isOfSystem) {
    if (!isOfSystem && isDiskFull(folder)) return diskFullMessage(path);
    const problem = inaccessible(folder, 'folder') ?? firstInaccessible(path);
    if (problem) return problem;
  }
  return reasonOf(error, path);
}

function firstInaccessible(path: string): string | undefined {
  for (const ending of DATABASE_FILES) {
    const problem = inaccessible(path + ending, 'file');
    if (problem) return problem;
  }
  return undefined;
}

/** Returns why a file or folder that exists cannot be read and written, in a sentence. */
function inaccessible(path: string, expected: 'file' | 'folder'): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (stat.isDirectory() !== (expected === 'folder')) return `${path} is not a ${expected}.`;
  const { R_OK, W_OK, X_OK } = constants;
  try {
    accessSync(path, expected === 'folder' ? R_OK | W_OK | X_OK : R_OK | W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'EROFS') return `${path} is on a read-only file system.`;
    const user = process.geteuid?.();
    return `${path} cannot be read and written by user ${user}: it belongs to user ${stat.uid}, and its mode is ${(stat.mode & 0o7777).toString(8).padStart(4, '0')}.`;
  }
}
