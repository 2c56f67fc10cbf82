import { statfsSync } from 'node:fs';

/** Error codes of a full disk, and of a used-up quota. */
const FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Returns the innermost cause of an error: libraries wrap errors in ones that say less. */
export function rootCause(error: unknown): unknown {
  let cause = error;
  for (let depth = 0; depth < 20 && cause instanceof Error && cause.cause instanceof Error; depth++)
    cause = cause.cause;
  return cause;
}

/** Whether a call of node:fs has failed because the disk is full. */
export function isFullError(error: unknown): boolean {
  const cause = rootCause(error);
  return cause instanceof Error && 'code' in cause && FULL_CODES.has(String(cause.code));
}

/** Whether the disk that holds a folder has no space, or no room for another file, for this user. */
export function isDiskFull(folder: string): boolean {
  try {
    const { bavail, bfree, files, ffree } = statfsSync(folder);
    const space = process.geteuid?.() === 0 ? bfree : bavail;
    return space === 0 || (files > 0 && ffree === 0);
  } catch {
    return false; // the folder does not exist
  }
}

/** Returns why something failed, in a sentence: the innermost cause in its own words, or that the disk is full. */
export function reasonOf(error: unknown, path: string): string {
  if (isFullError(error)) return diskFullMessage(path);
  const cause = rootCause(error);
  return sentence(cause instanceof Error ? cause.message : String(cause));
}

/** Returns the sentence that says that a disk is full. */
export function diskFullMessage(path: string): string {
  return `The disk holding ${path} is full.`;
}

function sentence(text: string): string {
  return /[.!?)]$/.test(text) ? text : `${text}.`;
}
