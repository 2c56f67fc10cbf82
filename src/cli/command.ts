import type { Config } from '../config.ts';
import type { ConfigSources } from '../settings.ts';

/** What a command gets to work with: where settings come from, and what they say. */
export interface CommandContext extends ConfigSources {
  /** Returns the configuration. It has been checked before the command runs, and its paths have no symbolic links left. */
  readonly config: () => Config;
}

/** An option of a command, beside the settings. */
export interface CommandOption<Value = unknown> {
  /** Its value in commander's form: `<format>`, or `[url]` where the flag may stand without a value. */
  readonly value: string;
  readonly help: string;
  readonly required?: true;
  /** Parsed like a given text. */
  readonly default?: string;
  /** What the flag alone means. Only for options whose value is optional. */
  readonly alone?: Value;
  /**
   * Parses its text, which is never empty.
   *
   * @throws {Error} with a message that continues the name of the flag: "should be …"
   */
  parse(text: string): Value;
}

/** Options of a command by the names of their flags, without the hyphens. */
export type CommandOptions = Readonly<Record<string, CommandOption>>;

/** Parsed options: a value each, or undefined for those that are neither given, required nor have a default. */
export type Values<Options extends CommandOptions> = {
  readonly [Name in keyof Options]:
    | ReturnType<Options[Name]['parse']>
    | (Options[Name] extends { required: true } | { default: string } ? never : undefined);
};

/** One command, in its own file. Make it with {@link defineCommand}. */
export interface CliCommand<Options extends CommandOptions = CommandOptions> {
  readonly name: string;
  readonly summary: string;
  /** What stands behind the name without a flag: commander's form, and text for the help. */
  readonly argument?: { readonly form: string; readonly help: string; check?(text: string): string | undefined };
  readonly options?: Options;
  /** Whether HOST has to resolve: for commands that listen on it, or show whether the settings are valid. */
  readonly resolvesHost?: true;
  /** Returns what is wrong with options that are valid one by one; a line each. */
  check?(options: Values<Options>): string[];
  /**
   * Does the work. An optional argument that is not given is empty.
   *
   * @returns the exit status
   * @throws {UsageError} for what only shows with the configuration
   */
  run(context: CommandContext, options: Values<Options>, argument: string): Promise<number>;
}

/** Types the options of a command by their definition. */
export function defineCommand<const Options extends CommandOptions>(command: CliCommand<Options>): CliCommand {
  return command;
}

/** Parses a text that is one of several words. */
export function oneOf<const Word extends string>(words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((one) => one === text);
    if (word === undefined) throw new Error(`should be one of ${words.join(', ')}`);
    return word;
  };
}

/** The command line cannot be used as it is. The message has a line for each error. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
