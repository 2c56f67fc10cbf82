import { lookup } from 'node:dns/promises';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json' with { type: 'json' };
import { type Config, ConfigError, hostName, loadConfig } from '../config.ts';
import { InterruptedError } from '../durable-file.ts';
import { type ConfigSources, FILE_SETTING_NAMES, flagOf, SETTING_NAMES, SETTINGS } from '../settings.ts';
import { messageOf } from '../storage/storage-error.ts';
import { isValidArgument } from './argument-bytes.ts';
import { type CliCommand, type CommandContext, type CommandOption, UsageError } from './command.ts';
import { configCommand } from './config.ts';
import { eraseCommand } from './erase.ts';
import { exportCommand } from './export.ts';
import { importCommand } from './import.ts';
import { flushMessages, print, printText, report, reportText } from './output.ts';
import { realPath } from './real-path.ts';
import { rebuildCommand } from './rebuild.ts';
import { serveCommand } from './serve.ts';
import { readSettingFile } from './setting-file.ts';
import { statusCommand } from './status.ts';
import { tokenCommand } from './token.ts';
import { verifyCommand } from './verify.ts';

const COMMANDS: readonly CliCommand[] = [
  serveCommand,
  tokenCommand,
  exportCommand,
  importCommand,
  eraseCommand,
  rebuildCommand,
  statusCommand,
  verifyCommand,
  configCommand,
];
const DEFAULT_COMMAND = serveCommand.name;

const HELP_HINT = 'Run "rawlog help" for a list of commands, or "rawlog help COMMAND" for the options of one.';

/** The values of each flag in command-line order; null for a flag without its optional value. */
type FlagValues = ReadonlyMap<string, (string | null)[]>;

/**
 * Runs a command line.
 *
 * @param args the arguments after the program name
 * @returns the exit status: 0 for success, 1 for failure, 2 for a usage or configuration error
 */
export async function run(args: readonly string[], env: CommandContext['env']): Promise<number> {
  let exitCode = 0;
  const program = new Command('rawlog')
    .description('A durable log for product metrics and analytics events.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'Print help for a command')
    .showHelpAfterError(HELP_HINT)
    .configureOutput({
      writeOut: printText,
      writeErr: reportText,
      // the value of an unknown flag may be a secret
      outputError: (text, write) => write(text.replace(/(--?[^\s=']+)=[^']*/g, '$1')),
    })
    .exitOverride();

  for (const command of COMMANDS) {
    const sub = program.command(command.name, { isDefault: command.name === DEFAULT_COMMAND });
    sub.summary(command.summary).description(`${command.summary}.`).allowExcessArguments(false);
    if (command.argument) sub.argument(command.argument.form, command.argument.help);
    sub.addHelpText('after', examplesText(command));
    const flagValues = new Map<string, (string | null)[]>();
    for (const { flags, help, isHidden } of flagsOf(command)) {
      const option = sub.createOption(flags, help).hideHelp(isHidden);
      sub.addOption(option);
      // commander keeps only the last value of a repeated flag
      sub.on(`option:${option.name()}`, (value: string | null) => {
        flagValues.set(option.name(), [...(flagValues.get(option.name()) ?? []), value]);
      });
    }
    sub.showHelpAfterError(`Run "rawlog help ${command.name}" for its options and examples.`);
    sub.action(async (...parameters: unknown[]) => {
      // commander passes the argument first if the command has one
      const argument = command.argument && typeof parameters[0] === 'string' ? parameters[0] : undefined;
      exitCode = await runCommand(command, flagValues, argument, env);
    });
  }
  program
    .command('version')
    .summary('Print the version')
    .description('Print the version.')
    .action(() => print(version));

  try {
    const names = [...program.commands.map((command) => command.name()), 'help'];
    for (const name of args[0] === 'help' ? args.slice(1, 2) : args.slice(0, 1)) {
      if (!name.startsWith('-') && !names.includes(name))
        throw new UsageError(`Unknown command "${name.replace(/=.*/s, '')}".`);
    }
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error);
  } finally {
    await flushMessages();
  }
}

/** Returns the examples of a command for the end of its help. */
function examplesText({ examples }: CliCommand): string {
  const blocks = examples.map(({ purpose, commandLine }) => `  # ${purpose}\n  ${commandLine}`);
  return `\nExamples:\n${blocks.join('\n\n')}`;
}

/** A flag in commander's syntax, with its help. */
interface Flag {
  readonly flags: string;
  readonly help: string;
  readonly isHidden: boolean;
}

/** Yields the flags of a command, including settings. Flags of secrets are defined only so that they can be rejected. */
function* flagsOf(command: CliCommand): Generator<Flag> {
  for (const [name, option] of Object.entries(command.options ?? {})) {
    const note = option.required ? ' (required)' : option.default === undefined ? '' : ` (default ${option.default})`;
    yield { flags: `--${name} ${option.value}`, help: option.help + note, isHidden: false };
  }
  for (const name of SETTING_NAMES) {
    const { help, default: preset, secret } = SETTINGS[name];
    const note = preset ? ` (default ${preset})` : '';
    const isHidden = !command.settings.includes(name);
    if (secret) {
      yield { flags: `${flagOf(name)} [value]`, help, isHidden: true };
      const file = `${name}_FILE` as const;
      yield { flags: `${flagOf(file)} <path>`, help: `file with the ${help} [${name} or ${file}]`, isHidden };
    } else {
      yield { flags: `${flagOf(name)} <value>`, help: `${help}${note} [${name}]`, isHidden };
    }
  }
}

/**
 * Runs a command after validating its argument, its options and the configuration.
 *
 * @throws {UsageError} with all errors, if the argument or an option is invalid
 * @throws {ConfigError} if only settings are invalid
 */
async function runCommand(
  command: CliCommand,
  flagValues: FlagValues,
  argument: string | undefined,
  env: CommandContext['env'],
): Promise<number> {
  const errors: string[] = [];
  if (argument === '') errors.push('The argument should not be empty');
  else if (argument !== undefined && !isValidArgument(argument)) errors.push('The argument is not valid UTF-8');
  else if (argument !== undefined) errors.push(...[command.argument?.check?.(argument) ?? []].flat());
  for (const [name, values] of flagValues) if (values.length > 1) errors.push(`--${name} was given more than once`);

  const options: Record<string, unknown> = {};
  const attempt = (name: string, parse: () => unknown) => {
    try {
      options[name] = parse();
    } catch (error) {
      errors.push(`--${name} ${(error as Error).message}`); // option parsers throw only Error
    }
  };
  const errorsBefore = errors.length;
  for (const [name, option] of Object.entries(command.options ?? {})) {
    attempt(name, () => parseOption(option, flagValues.get(name)?.at(-1)));
  }
  if (errors.length === errorsBefore) errors.push(...(command.check?.(options) ?? []));

  const flags = Object.fromEntries(
    [...SETTING_NAMES, ...FILE_SETTING_NAMES].flatMap((name) => {
      const values = flagValues.get(flagOf(name).slice(2));
      return values ? [[name, values.at(-1) ?? '']] : [];
    }),
  );
  const sources = { flags, env, readFile: readSettingFile };
  const [config, issues] = tryLoadConfig(sources);
  const name = command.resolvesHost && hostName(sources);
  if (name && !(await resolves(name.host))) issues.push(`${name.givenAs} is a host name that does not resolve`);
  if (errors.length > 0) throw new UsageError([...errors, ...issues].join('\n'));
  if (!config || issues.length > 0) throw new ConfigError(issues);
  // SQLite derives the names of its other files from the target of a symbolic link, so rawlog resolves links too
  const resolvedConfig = { ...config, dataDir: realPath(config.dataDir), databasePath: realPath(config.databasePath) };
  return command.run({ ...sources, config: () => resolvedConfig }, options, argument ?? '');
}

/** Returns the configuration, or its issues. */
function tryLoadConfig(sources: ConfigSources): [Config | undefined, string[]] {
  try {
    return [loadConfig(sources), []];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [undefined, [...error.issues]];
  }
}

/** Returns whether a host name resolves to an address. */
async function resolves(host: string): Promise<boolean> {
  try {
    await lookup(host);
    return true;
  } catch {
    return false;
  }
}

/**
 * Returns the parsed value of an option, or its default.
 *
 * @param text undefined if the flag is absent; null if it has no value
 */
function parseOption(option: CommandOption, text: string | null | undefined): unknown {
  if (text === null) return option.bareValue;
  if (text === '') throw new Error('should not be empty');
  if (text !== undefined && !isValidArgument(text)) throw new Error('is not valid UTF-8');
  if (text !== undefined) return option.parse(text);
  if (option.required) throw new Error('is required');
  return option.default === undefined ? undefined : option.parse(option.default);
}

/** Reports an error, unless commander already has, and returns the exit status. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError) {
    report(`The configuration has ${error.issues.length === 1 ? 'an error' : `${error.issues.length} errors`}:`);
    for (const issue of error.issues) report(`  ${issue}`);
    return 2;
  }
  if (error instanceof UsageError) {
    report(`${error.message}\n${HELP_HINT}`);
    return 2;
  }
  if (error instanceof InterruptedError) {
    // die by the signal, so that a calling script stops too
    process.kill(process.pid, error.signal);
    return 1;
  }
  report(messageOf(error));
  return 1;
}
