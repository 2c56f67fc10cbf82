import { SQLiteError } from 'bun:sqlite';
import { accessSync, constants, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { diskFullMessage, isDiskFull, isFullError, reasonOf, rootCause } from '../system-error.ts';
import { toStorageError } from './storage-error.ts';

/** Suffixes of the files that SQLite and rawlog keep for a database. */
export const DATABASE_FILES = ['', '-wal', '-shm', '-journal', '.lock', '.audit'] as const;

/**
 * Returns a message for the operator that says why a database cannot be opened and what to do. SQLite's own message
 * names neither the file nor the reason.
 */
export function openingErrorMessage(error: unknown, path: string): string {
  const folder = dirname(path);
  const storageError = toStorageError(error);
  if (storageError.kind === 'full' || isFullError(error)) return diskFullMessage(path);
  const cause = rootCause(error);
  const isSystemError = !(cause instanceof SQLiteError) && cause instanceof Error && 'code' in cause;
  if (storageError.kind === 'unavailable' || storageError.kind === 'failing' || isSystemError) {
    if (!isSystemError && isDiskFull(folder)) return diskFullMessage(path);
    const problem = findAccessProblem(folder, 'folder') ?? findFileAccessProblem(path);
    if (problem) return problem;
  }
  return reasonOf(error, path);
}

function findFileAccessProblem(path: string): string | undefined {
  for (const suffix of DATABASE_FILES) {
    const problem = findAccessProblem(path + suffix, 'file');
    if (problem) return problem;
  }
  return undefined;
}

/** Returns why an existing file or folder cannot be read and written, and what to do; undefined if it can. */
function findAccessProblem(path: string, expected: 'file' | 'folder'): string | undefined {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (!stat) return undefined;
  if (stat.isDirectory() !== (expected === 'folder')) {
    return `${path} is not a ${expected}. Move it away, or set DATABASE_URL or DATA_DIR to a different path.`;
  }
  const { R_OK, W_OK, X_OK } = constants;
  try {
    accessSync(path, expected === 'folder' ? R_OK | W_OK | X_OK : R_OK | W_OK);
    return undefined;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException; // node:fs throws nothing else
    if (code === 'EROFS') {
      return `${path} is on a read-only file system. Remount it writable, or set DATABASE_URL or DATA_DIR to a different path.`;
    }
    const user = process.geteuid?.();
    const mode = (stat.mode & 0o7777).toString(8).padStart(4, '0');
    return `${path} cannot be read and written by user ${user}: it belongs to user ${stat.uid} and has mode ${mode}. Run rawlog as user ${stat.uid}, or change the owner or mode.`;
  }
}
