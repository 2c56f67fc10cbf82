import type { Config } from '../config.ts';
import type { ConfigSources, SettingName } from '../settings.ts';

/** The input of a command: the configuration and its sources. */
export interface CommandContext extends ConfigSources {
  /** Returns the validated configuration. Symbolic links in its paths are already resolved. */
  readonly config: () => Config;
}

/** An option of one command, as opposed to a setting. */
export interface CommandOption<Value = unknown> {
  /** The value in commander's syntax: `<format>`, or `[url]` if the flag works without one. */
  readonly value: string;
  readonly help: string;
  readonly required?: true;
  /** Parsed like a value from the command line. */
  readonly default?: string;
  /** The result for a flag without a value. Only for options whose value is optional. */
  readonly bareValue?: Value;
  /**
   * Parses the value, which is never empty.
   *
   * @throws {Error} with a message that completes a sentence starting with the flag: "should be …"
   */
  parse(text: string): Value;
}

/** Options of a command, keyed by flag name without the leading hyphens. */
export type CommandOptions = Readonly<Record<string, CommandOption>>;

/** Parsed options. A value is undefined if the option is absent, not required and has no default. */
export type Values<Options extends CommandOptions> = {
  readonly [Name in keyof Options]:
    | ReturnType<Options[Name]['parse']>
    | (Options[Name] extends { required: true } | { default: string } ? never : undefined);
};

/** An example for the end of a command's help. */
export interface CommandExample {
  /** An imperative phrase without a full stop. */
  readonly purpose: string;
  readonly commandLine: string;
}

/** A command. Each one has its own file and is created with {@link defineCommand}. */
export interface CliCommand<Options extends CommandOptions = CommandOptions> {
  readonly name: string;
  /** An imperative sentence without its full stop. */
  readonly summary: string;
  readonly examples: readonly CommandExample[];
  /** The positional argument: commander's syntax and its help. */
  readonly argument?: { readonly form: string; readonly help: string; check?(text: string): string | undefined };
  readonly options?: Options;
  /** The settings that the command uses: its help lists only these. The flags of all settings are accepted. */
  readonly settings: readonly SettingName[];
  /** Whether HOST must resolve: for commands that listen on it or validate the settings. */
  readonly resolvesHost?: true;
  /** Returns the conflicts between options that are each valid, one message per conflict. */
  check?(options: Values<Options>): string[];
  /**
   * Runs the command. An optional argument that is missing is empty.
   *
   * @returns the exit status
   * @throws {UsageError} for errors that depend on the configuration
   */
  run(context: CommandContext, options: Values<Options>, argument: string): Promise<number>;
}

/** The settings that locate the database. */
export const DATABASE_SETTINGS: readonly SettingName[] = ['DATA_DIR', 'DATABASE_URL'];

/** Returns a command, with the types of its option values inferred. */
export function defineCommand<const Options extends CommandOptions>(command: CliCommand<Options>): CliCommand {
  return command;
}

/** Returns a parser that accepts one of several words. */
export function oneOf<const Word extends string>(words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) throw new Error(`should be one of ${words.join(', ')}`);
    return word;
  };
}

/** An invalid command line. The message has one line per error. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
