import { realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { flagOf, type SettingName, settingText } from '../settings.ts';
import type { CommandContext } from './command.ts';

/** Where this runs from its sources: their entry. In the compiled binary, the file is not there. */
const ENTRY = resolve(import.meta.dir, '../main.ts');

/** How the process was started. */
export interface Started {
  /** The program, as its caller named it. */
  readonly name: string;
  /** The path of the program: the compiled binary, or Bun. */
  readonly path: string;
  /** The entry among the sources; undefined in the compiled binary. */
  readonly entry: string | undefined;
  readonly folder: string;
  readonly env: CommandContext['env'];
}

/** Returns how this process was started. */
export function started(env: CommandContext['env']): Started {
  const isSource = Bun.main === ENTRY;
  const { argv0: name, execPath: path } = process;
  return { name, path, entry: isSource ? ENTRY : undefined, folder: process.cwd(), env };
}

/**
 * Returns the start of a command line that runs this program once more, for a shell in the folder that the process
 * was started in: under npm its script, otherwise the program as it was named, as far as that still leads to it.
 */
export function invocation({ name, path, entry, folder, env }: Started): string {
  if (entry === undefined) return quoted(leadsTo(name, path, folder) ? name : path);
  const root = resolve(entry, '../..');
  if (env['npm_package_json'] !== join(root, 'package.json')) {
    const shown = relative(folder, entry);
    return `${quoted(path)} ${quoted(shown.startsWith('..') ? entry : shown)}`;
  }
  // npm looks for the package in the folder that it is called in, and in those above it
  const isInside = !relative(root, env['INIT_CWD'] ?? root).startsWith('..');
  return `npm ${isInside ? '' : `--prefix ${quoted(root)} `}run -s rawlog --`;
}

/** Whether a name still leads to a program: a shell looks for those without a slash in PATH. */
function leadsTo(name: string, path: string, folder: string): boolean {
  try {
    const found = name.includes('/') ? resolve(folder, name) : Bun.which(name);
    return found !== null && realpathSync(found) === realpathSync(path);
  } catch {
    return false;
  }
}

/** Returns settings as flags: those that were given, whether as a flag or in the environment. */
export function givenSettings(names: readonly SettingName[], context: CommandContext): string[] {
  return names.flatMap((name) => {
    const { text = '', origin } = settingText(name, context);
    return origin === 'default' ? [] : [`${flagOf(name)}=${quoted(text)}`];
  });
}

/** Returns a text as a shell's word. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
