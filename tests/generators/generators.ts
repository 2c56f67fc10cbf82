import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../docs/markdown.ts';

/** Options with which the output of generators has to compile. */
const COMPILER_OPTIONS = {
  target: 'ES2022',
  module: 'ESNext',
  moduleResolution: 'bundler',
  lib: ['ES2022', 'DOM', 'DOM.Iterable'],
  types: [],
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
};

/**
 * Installs the packages of a folder next to this file, unless they are installed, and returns the folder where they
 * are. They have their own lock files, and stay out of the repository's folders.
 */
export async function installGenerators(name: string): Promise<string> {
  const source = join(import.meta.dir, name);
  const folder = join(ROOT, 'node_modules/.cache/rawlog-generators', name);
  const lock = join(folder, 'package-lock.json');
  const installed = join(folder, 'node_modules/.package-lock.json');
  const isCurrent = existsSync(installed) && readFileSync(lock).equals(readFileSync(join(source, 'package-lock.json')));
  mkdirSync(folder, { recursive: true });
  cpSync(source, folder, { recursive: true });
  if (!isCurrent) await run(['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], folder);
  return folder;
}

/** Runs a command, and throws an error with its output if it fails. */
export async function run(command: readonly string[], cwd: string): Promise<void> {
  const child = Bun.spawn([...command], { cwd, stdin: 'ignore', stdout: 'pipe', stderr: 'pipe' });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${command.join(' ')}: exit code ${exitCode}\n${stdout}${stderr}`.slice(0, 5000));
}

/** Compiles files of a folder with TypeScript's strict checks. */
export async function compile(folder: string, include: readonly string[]): Promise<void> {
  await Bun.write(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include }));
  await run(['node_modules/.bin/tsc', '-p', '.'], folder);
}
