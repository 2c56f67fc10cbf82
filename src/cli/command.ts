import type { Config } from '../config.ts';
import type { ConfigSources, SettingName } from '../settings.ts';

/** The input of a command: the configuration and its sources. */
export interface CommandContext extends ConfigSources {
  /** Returns the validated configuration. Symbolic links in its paths are already resolved. */
  readonly config: () => Config;
}

/** An option of one command, as opposed to a setting. */
export interface CommandOption<Value = unknown> {
  /** The value in commander's syntax: `<format>`, `[url]` if the flag works without one, or empty if it has none. */
  readonly value: string;
  readonly help: string;
  readonly required?: true;
  /** Parsed like a value from the command line. */
  readonly default?: string;
  /** The result for a flag without a value. Only for options whose value is optional or that have none. */
  readonly bareValue?: Value;
  /** Parses the value, which is never empty. */
  readonly parse: Parser<Value>;
}

/** The parser of an option's value. */
export interface Parser<Value> {
  /** @throws {Error} with a message that completes a sentence starting with the flag: "should be …" */
  (text: string): Value;
  /** All accepted values, if they can be listed. */
  readonly words?: readonly string[];
}

/** Returns an option without a value, which is true if it is given. */
export function flag(help: string): CommandOption<true> {
  return { value: '', help, bareValue: true, parse: () => true };
}

/** The option of commands whose results scripts read. */
export const JSON_OPTION = flag('print the result as JSON, for scripts');

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
  /** The positional argument: commander's syntax, its help, and all accepted values, if they can be listed. */
  readonly argument?: {
    readonly form: string;
    readonly help: string;
    readonly words?: readonly string[];
    check?(text: string): string | undefined;
  };
  /** A second positional argument: commander's syntax, and its help. Only if there is a first. */
  readonly secondArgument?: { readonly form: string; readonly help: string };
  readonly options?: Options;
  /** The settings that the command uses: its help lists only these. The flags of all settings are accepted. */
  readonly settings: readonly SettingName[];
  /** Whether HOST must resolve: for commands that listen on it or validate the settings. */
  readonly resolvesHost?: true;
  /** Returns the conflicts between options and arguments that are each valid, one message per conflict. */
  check?(options: Values<Options>, argument: string, secondArgument: string): string[];
  /**
   * Runs the command. Optional arguments that are missing are empty.
   *
   * @returns the exit status
   * @throws {UsageError} for errors that depend on the configuration
   */
  run(context: CommandContext, options: Values<Options>, argument: string, secondArgument: string): Promise<number>;
}

/** The settings that locate the database. */
export const DATABASE_SETTINGS: readonly SettingName[] = ['DATA_DIR', 'DATABASE_URL'];

/** The settings of commands that open the database for writing, and so migrate it, after a backup if necessary. */
export const MIGRATION_SETTINGS: readonly SettingName[] = [...DATABASE_SETTINGS, 'BACKUP_DIR', 'MIN_FREE_BYTES'];

/** Returns a command, with the types of its option values inferred. */
export function defineCommand<const Options extends CommandOptions>(command: CliCommand<Options>): CliCommand {
  return command;
}

/** Returns a parser that accepts one of several words. */
export function oneOf<const Word extends string>(words: readonly Word[]): Parser<Word> {
  const parse = (text: string) => {
    const word = words.find((candidate) => candidate === text);
    if (word === undefined) throw new Error(`should be one of ${words.join(', ')}`);
    return word;
  };
  return Object.assign(parse, { words });
}

/** An invalid command line. The message has one line per error. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}
