import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/*
 * The temporary copies of databases that are verified. A copy is deleted as soon as it is open, so only a process that is
 * killed while it extracts one leaves a file. The next verification in the same folder deletes it.
 */

const PREFIX = '.rawlog-verify-';
const SUFFIX = '.tmp';
/** Age from which the copy of another machine is abandoned, in milliseconds since its last write: a day. */
const ABANDONED_MS = 86_400_000;

/** Returns a path for a copy in a folder, and deletes the copies there that killed processes have left. */
export function preparePrivateCopy(folder: string): string {
  for (const name of namesIn(folder)) {
    if (!name.startsWith(PREFIX) || !name.endsWith(SUFFIX)) continue;
    const path = join(folder, name);
    try {
      if (isAbandoned(name, path)) rmSync(path, { force: true });
    } catch {
      // it cannot be deleted; the verification does not need that
    }
  }
  return join(folder, `${ownPrefix()}${process.pid}-${randomUUID()}${SUFFIX}`);
}

/** Returns the names in a folder; none if it cannot be read, which creating the copy reports. */
function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** Returns the beginning of the names of this machine's copies, whose processes can be looked up. */
function ownPrefix(): string {
  return `${PREFIX}${hostname()}-`;
}

function isAbandoned(name: string, path: string): boolean {
  const [, pid] = name.startsWith(ownPrefix()) ? (/^(\d+)-/.exec(name.slice(ownPrefix().length)) ?? []) : [];
  if (pid !== undefined && !isRunning(Number(pid))) return true;
  return statSync(path).mtimeMs < Date.now() - ABANDONED_MS;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'; // EPERM: another user's
  }
}
