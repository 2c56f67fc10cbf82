/** Whether strace is not installed; tests with a slow disk are then skipped. */
export const isStraceMissing = Bun.which('strace') === null;
if (isStraceMissing) console.warn('SKIPPED: tests with a slow disk; run "apt-get install strace"');

/** Arguments with which strace delays each fdatasync, as a slow disk does. */
const delayBy = (ms: number) => ['-f', '-e', 'trace=fdatasync', '-e', `inject=fdatasync:delay_enter=${ms * 1000}`];

/** Returns the command with which to start a process on a slow disk. The process keeps its ID, and gets signals itself. */
export function onSlowDisk(ms: number): string[] {
  return ['strace', '-D', '-qq', '-o', '/dev/null', ...delayBy(ms)];
}

/** Slows down the disk of a running process until the result is disposed. Resolves once it is slow. */
export async function slowDown(pid: number, ms: number): Promise<AsyncDisposable> {
  const strace = Bun.spawn(['strace', '-o', '/dev/null', ...delayBy(ms), '-p', String(pid)], {
    stdout: 'ignore',
    stderr: 'pipe',
  });
  // it reports that it has attached to all threads
  for await (const chunk of strace.stderr) if (new TextDecoder().decode(chunk).includes('attached')) break;
  return {
    async [Symbol.asyncDispose]() {
      strace.kill('SIGINT');
      await strace.exited;
    },
  };
}
