import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runCli, temporaryFolder } from '../harness/target.ts';

/*
 * The completion scripts, typed into real shells on a terminal.
 */

const PYTHON = '/usr/bin/python3';

/** What is typed, with a TAB after each incomplete word, and the arguments that the program then receives. */
const TYPED = [
  ['rawlog tok\t', 'token'],
  ['rawlog token --ro\tad\t', 'token --role admin'],
  ['rawlog token --sub me --role=v\t', 'token --sub me --role viewer'],
  ['rawlog export --wh\tmet\t', 'export --what metrics'],
  ['rawlog --log-l\tdeb\t', '--log-level debug'],
  ['rawlog serve --insecure-dev=of\t', 'serve --insecure-dev off'],
  ['rawlog import row\t', 'import rows.ndjson'],
  ['rawlog verify --data-dir fol\t', 'verify --data-dir folder'],
  ['rawlog completion fi\t', 'completion fish'],
  ['rawlog help exp\t', 'help export'],
  // a command's help lists only the settings that it uses, and so does its completion
  ['rawlog status --log-l\t', 'status --log-l'],
] as const;

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
  writeFileSync(join(folder.path, 'rows.ndjson'), '');
  mkdirSync(join(folder.path, 'folder'));
});
afterAll(() => folder[Symbol.dispose]());

describe.each(['bash', 'zsh', 'fish'])('%s', (shell) => {
  const isMissing = Bun.which(shell) === null || !existsSync(PYTHON);
  if (isMissing) console.warn(`SKIPPED: completion in ${shell}; run "apt-get install ${shell} python3"`);

  test.skipIf(isMissing)('completes commands, flags, values and paths', async () => {
    const { exitCode, stdout } = await runCli(['completion', shell]);
    expect(exitCode).toBe(0);
    const script = join(folder.path, `completion.${shell}`);
    writeFileSync(script, stdout);
    const child = Bun.spawn(
      [PYTHON, join(import.meta.dir, '../harness/type-in-shell.py'), shell, script, ...TYPED.map(([line]) => line)],
      { cwd: folder.path, stdout: 'pipe', stderr: 'inherit' },
    );
    const received: string[] = JSON.parse(await new Response(child.stdout).text());
    // zsh adds "=" between a flag and its value, and a slash to a folder is a matter of taste
    const words = received.map((line) => line.replaceAll('=', ' ').replace(/\/? *$/, ''));
    expect(Object.fromEntries(TYPED.map(([line], i) => [line, words[i]]))).toEqual(Object.fromEntries(TYPED));
  });
});

test('rejects other shells, and names those that it knows', async () => {
  const { exitCode, stderr } = await runCli(['completion', 'tcsh']);
  expect(exitCode).toBe(2);
  expect(stderr).toContain('The shell should be one of bash, zsh, fish');
});
