import { existsSync } from 'node:fs';

/** A library that gives a process another clock (Debian's package `libfaketime`). */
const LIBRARY = '/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1';

/** Whether there is nothing to give a process another clock with. */
export const noClock = !existsSync(LIBRARY);
if (noClock) console.warn('SKIPPED: tests with another clock: "apt-get install faketime" has what they need');

/** The environment of a process whose clock starts at a time, in UTC, such as `2026-06-01 00:00:00`. */
export function clockAt(time: string): Record<string, string> {
  return { LD_PRELOAD: LIBRARY, FAKETIME: `@${time}` };
}
