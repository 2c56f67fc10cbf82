import { constants, getPriority, setPriority } from 'node:os';

/**
 * Lowers the priority of this thread, for work that may wait. On Linux, other threads keep theirs. A thread with an even
 * lower priority keeps it, because only root may raise one.
 *
 * @param niceness the new niceness: the higher, the lower the priority
 */
export function lowerPriority(niceness: number = constants.priority.PRIORITY_BELOW_NORMAL): void {
  try {
    if (getPriority(0) < niceness) setPriority(0, niceness);
  } catch {
    // a sandbox may forbid any change
  }
}
