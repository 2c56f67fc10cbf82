import { existsSync } from 'node:fs';

/** Library that fakes the clock of a process (Debian package `libfaketime`). */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

/** Whether libfaketime is not installed; tests with a fake clock are then skipped. */
export const isFaketimeMissing = !existsSync(LIBRARY);
if (isFaketimeMissing) console.warn('SKIPPED: tests with a fake clock; run "apt-get install faketime"');

/** Returns the environment of a process whose clock starts at a UTC time such as `2026-06-01 00:00:00`. */
export function clockAt(time: string): Record<string, string> {
  return { LD_PRELOAD: LIBRARY, FAKETIME: `@${time}` };
}
