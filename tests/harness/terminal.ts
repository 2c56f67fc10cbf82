import { tmpdir } from 'node:os';
import { shellQuote } from '../../src/cli/invocation.ts';
import { COMMAND } from './target.ts';

/** Whether pseudoterminals can be opened here. */
export const hasTerminals = Bun.which('script') !== null && process.platform === 'linux';

/** Starts the program under test with a pseudoterminal as standard output, and without standard error. */
export function openTerminal(
  args: readonly string[],
  env: Record<string, string> = {},
): Bun.Subprocess<'ignore', 'pipe', 'ignore'> {
  const commandLine = [...COMMAND, ...args].map(shellQuote).join(' ');
  return Bun.spawn(['script', '-qefc', `exec ${commandLine} 2>/dev/null`, '/dev/null'], {
    env: { PATH: Bun.env['PATH'] ?? '', SHELL: '/bin/sh', ...env },
    cwd: tmpdir(),
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'ignore',
  });
}

/**
 * Runs the program under test with a pseudoterminal as standard output, and without standard error.
 *
 * @returns its exit status, and what reached the terminal, with `\n` as the line end
 */
export async function runInTerminal(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ exitCode: number; text: string }> {
  const child = openTerminal(args, env);
  const text = await new Response(child.stdout).text();
  return { exitCode: await child.exited, text: text.replace(/\r+\n/g, '\n') };
}
