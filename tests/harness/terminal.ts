import { tmpdir } from 'node:os';
import { shellQuote } from '../../src/cli/invocation.ts';
import { COMMAND } from './target.ts';

/** Whether {@link runInTerminal} works here. */
export const hasTerminals = Bun.which('script') !== null && process.platform === 'linux';

/**
 * Runs the program under test with a pseudoterminal as standard output, and without standard error.
 *
 * @returns its exit status, and what reached the terminal, with `\n` as the line end
 */
export async function runInTerminal(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ exitCode: number; text: string }> {
  const commandLine = [...COMMAND, ...args].map(shellQuote).join(' ');
  const child = Bun.spawn(['script', '-qefc', `${commandLine} 2>/dev/null`, '/dev/null'], {
    env: { PATH: Bun.env['PATH'] ?? '', SHELL: '/bin/sh', ...env },
    cwd: tmpdir(),
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'ignore',
  });
  const text = await new Response(child.stdout).text();
  return { exitCode: await child.exited, text: text.replace(/\r+\n/g, '\n') };
}
