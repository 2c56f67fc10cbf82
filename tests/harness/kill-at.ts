import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { COMMAND, SECRET, temporaryFolder } from './target.ts';

/*
 * Kills commands at system calls, with strace.
 */

/** Runs a command under strace; resolves to its exit code. */
function trace(options: readonly string[], args: readonly string[], dataDir: string): Promise<number> {
  return Bun.spawn(['strace', '-f', '-qq', ...options, ...COMMAND, ...args], {
    env: { DATA_DIR: dataDir, JWT_SECRET: SECRET },
    stdout: 'ignore',
    stderr: 'ignore',
  }).exited;
}

/**
 * Runs a command that is killed (SIGKILL) when one of its threads makes a system call for the n-th time.
 *
 * @returns whether it was killed
 * @throws {Error} if it fails otherwise
 */
export async function killAt(call: string, n: number, args: readonly string[], dataDir: string): Promise<boolean> {
  const exitCode = await trace(['-o', '/dev/null', '-e', `inject=${call}:signal=KILL:when=${n}`], args, dataDir);
  if (exitCode !== 0 && exitCode !== 137) throw new Error(`rawlog ${args.join(' ')} exited with status ${exitCode}`);
  return exitCode !== 0;
}

/** Returns how often a command makes a system call, in the thread that makes most of them. */
export async function countCalls(call: string, args: readonly string[], dataDir: string): Promise<number> {
  using folder = temporaryFolder();
  const output = join(folder.path, 'calls');
  const exitCode = await trace(['-o', output, '-e', `trace=${call}`], args, dataDir);
  if (exitCode !== 0) throw new Error(`rawlog ${args.join(' ')} exited with status ${exitCode}`);
  // for example "435   pwrite64(3, ..." for each call
  const threads = [...readFileSync(output, 'utf8').matchAll(new RegExp(`^(\\d+) +${call}\\(`, 'gm'))];
  const counts = Object.values(Object.groupBy(threads, ([, thread = '']) => thread)).map((calls) => calls?.length ?? 0);
  return Math.max(0, ...counts);
}
