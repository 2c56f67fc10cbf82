import { readFileSync } from 'node:fs';

/**
 * Returns whether an argument is the text that was given. Bytes that are not UTF-8 have become U+FFFD, which names
 * another user or file. Linux still has the bytes, so that U+FFFD itself is accepted there.
 */
export function isAsGiven(argument: string): boolean {
  if (!argument.includes('\ufffd')) return true;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(readFileSync('/proc/self/cmdline'));
    return true;
  } catch {
    return false;
  }
}
