import { readFileSync } from 'node:fs';

/**
 * Returns whether an argument was passed as valid UTF-8. The runtime replaces invalid bytes with U+FFFD, which would
 * name a different user or file. On Linux the original bytes are still available, so a real U+FFFD is accepted there.
 */
export function isValidArgument(argument: string): boolean {
  if (!argument.includes('\ufffd')) return true;
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(readFileSync('/proc/self/cmdline'));
    return true;
  } catch {
    return false;
  }
}
