import { statfsSync } from 'node:fs';

/** Error codes of a full disk and of an exhausted quota. */
const FULL_CODES: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

/** Returns the innermost cause of an error, because libraries wrap errors in less specific ones. */
export function rootCause(error: unknown): unknown {
  let cause = error;
  for (let depth = 0; depth < 20 && cause instanceof Error && cause.cause instanceof Error; depth++)
    cause = cause.cause;
  return cause;
}

/** Returns whether a node:fs call failed because the disk is full. */
export function isFullError(error: unknown): boolean {
  const cause = rootCause(error);
  return cause instanceof Error && 'code' in cause && FULL_CODES.has(String(cause.code));
}

/** Returns whether the disk of a folder has no space or no inodes left for this user. */
export function isDiskFull(folder: string): boolean {
  try {
    const { bavail, bfree, files, ffree } = statfsSync(folder);
    const space = process.geteuid?.() === 0 ? bfree : bavail;
    return space === 0 || (files > 0 && ffree === 0);
  } catch {
    return false; // the folder does not exist
  }
}

/** Returns the reason for an error as a sentence: that the disk is full, or the message of the innermost cause. */
export function reasonOf(error: unknown, path: string): string {
  if (isFullError(error)) return diskFullMessage(path);
  const cause = rootCause(error);
  return sentence(cause instanceof Error ? cause.message : String(cause));
}

/** Returns the message for a full disk. */
export function diskFullMessage(path: string): string {
  return `The disk holding ${path} is full.`;
}

function sentence(text: string): string {
  return /[.!?)]$/.test(text) ? text : `${text}.`;
}
