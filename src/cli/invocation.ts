import { realpathSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { flagOf, type SettingName, settingText } from '../settings.ts';
import type { CommandContext } from './command.ts';

/** The entry point when running from source. It does not exist in the compiled binary. */
const ENTRY = resolve(import.meta.dir, '../main.ts');

/** The program, working directory and environment that a process was started with. */
export interface Invocation {
  /** The program name as typed by the caller. */
  readonly name: string;
  /** The path of the executable: the compiled binary, or Bun. */
  readonly path: string;
  /** The entry point when running from source; undefined in the compiled binary. */
  readonly entry: string | undefined;
  readonly folder: string;
  readonly env: CommandContext['env'];
}

/** Returns the invocation of this process. */
export function currentInvocation(env: CommandContext['env']): Invocation {
  const isSource = Bun.main === ENTRY;
  const { argv0: name, execPath: path } = process;
  return { name, path, entry: isSource ? ENTRY : undefined, folder: process.cwd(), env };
}

/**
 * Returns the start of a command line that runs this program again from the same working directory: the npm script if
 * npm started it, otherwise the name that it was started with, or its path if that name no longer resolves to it.
 */
export function commandPrefix({ name, path, entry, folder, env }: Invocation): string {
  if (entry === undefined) return shellQuote(resolvesTo(name, path, folder) ? name : path);
  const root = resolve(entry, '../..');
  if (env['npm_package_json'] !== join(root, 'package.json')) {
    const relativeEntry = relative(folder, entry);
    return `${shellQuote(path)} ${shellQuote(relativeEntry.startsWith('..') ? entry : relativeEntry)}`;
  }
  // npm searches the working directory and its parents for the package
  const isInsidePackage = !relative(root, env['INIT_CWD'] ?? root).startsWith('..');
  return `npm ${isInsidePackage ? '' : `--prefix ${shellQuote(root)} `}run -s rawlog --`;
}

/** Returns whether a program name still resolves to a path. As in a shell, a name without a slash is looked up in PATH. */
function resolvesTo(name: string, path: string, folder: string): boolean {
  try {
    const found = name.includes('/') ? resolve(folder, name) : Bun.which(name);
    return found !== null && realpathSync(found) === realpathSync(path);
  } catch {
    return false;
  }
}

/** Returns command-line flags for the settings that are set explicitly. */
export function settingFlags(names: readonly SettingName[], context: CommandContext): string[] {
  return names.flatMap((name) => {
    const { text = '', origin } = settingText(name, context);
    return origin === 'default' ? [] : [`${flagOf(name)}=${shellQuote(text)}`];
  });
}

/** Quotes a text as a single shell word. */
export function shellQuote(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
