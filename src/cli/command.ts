import type { Config, SettingName } from '../config.ts';

/** What a command gets to work with. */
export interface CommandContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The settings that were given as flags. */
  readonly flags: Partial<Record<SettingName, string>>;
  /** The configuration from flags and environment; throws {@link ConfigError}. */
  readonly config: () => Config;
}

/** One command, in a file of its own. */
export interface CliCommand {
  readonly name: string;
  readonly summary: string;
  /** What stands behind the name without a flag: commander's form, and text for the help. */
  readonly argument?: { form: string; help: string };
  /** Options beside the settings: commander's form, text for the help, and whether it must be given. */
  readonly options?: readonly { form: string; help: string; required?: boolean; default?: string }[];
  /**
   * Does it. Returns the exit code; throws {@link UsageError} for options that make no sense. The text of an
   * argument, or of an option's value, that may be left out and is, is empty.
   */
  run(context: CommandContext, options: Readonly<Record<string, string>>, argument: string): Promise<number>;
}

/** An option's value is of no use. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
