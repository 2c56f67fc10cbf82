import { lookup } from 'node:dns/promises';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json' with { type: 'json' };
import { type Config, ConfigError, hostName, loadConfig } from '../config.ts';
import { Interrupted } from '../durable-file.ts';
import { type ConfigSources, FILE_SETTING_NAMES, flagOf, SETTING_NAMES, SETTINGS } from '../settings.ts';
import { messageOf } from '../storage/storage-error.ts';
import { isAsGiven } from './argument-bytes.ts';
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

/** The values of each flag as given, in order; null for a flag without its optional value. */
type GivenFlags = ReadonlyMap<string, (string | null)[]>;

/**
 * Runs the command line.
 *
 * @param args the arguments behind the program's name
 * @returns the exit status: 0 success, 1 failure, 2 usage or configuration error
 */
export async function run(args: readonly string[], env: CommandContext['env']): Promise<number> {
  let exitCode = 0;
  const program = new Command('rawlog')
    .description('A durable log for product metrics and analytics events, in one file.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show help for a command')
    .showHelpAfterError('Run "rawlog help" to see what there is.')
    .configureOutput({
      writeOut: printText,
      writeErr: reportText,
      // a flag that is not known may have a secret behind it
      outputError: (text, write) => write(text.replace(/(--?[^\s=']+)=[^']*/g, '$1')),
    })
    .exitOverride();

  for (const command of COMMANDS) {
    const sub = program.command(command.name, { isDefault: command.name === DEFAULT_COMMAND });
    sub.summary(command.summary).description(`${command.summary}.`).allowExcessArguments(false);
    if (command.argument) sub.argument(command.argument.form, command.argument.help);
    const given = new Map<string, (string | null)[]>();
    for (const { flags, help, isHidden } of flagsOf(command)) {
      const option = sub.createOption(flags, help).hideHelp(isHidden);
      sub.addOption(option);
      // commander itself keeps the last value of a flag that is given more than once
      sub.on(`option:${option.name()}`, (value: string | null) => {
        given.set(option.name(), [...(given.get(option.name()) ?? []), value]);
      });
    }
    sub.showHelpAfterError(`Run "rawlog help ${command.name}" to see its options.`);
    sub.action(async (...got: unknown[]) => {
      // commander gives the argument first, where the command has one
      const argument = command.argument && typeof got[0] === 'string' ? got[0] : undefined;
      exitCode = await runCommand(command, given, argument, env);
    });
  }
  program
    .command('version')
    .summary('print the version')
    .action(() => print(version));

  try {
    const names = [...program.commands.map((command) => command.name()), 'help'];
    for (const name of args[0] === 'help' ? args.slice(1, 2) : args.slice(0, 1)) {
      if (!name.startsWith('-') && !names.includes(name))
        throw new UsageError(`There is no command "${name.replace(/=.*/s, '')}".`);
    }
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error);
  } finally {
    await flushMessages();
  }
}

/** A flag in commander's form, with its text for the help. */
interface Flag {
  readonly flags: string;
  readonly help: string;
  readonly isHidden: boolean;
}

/** The flags of a command, settings included. Those of secrets are there to be rejected. */
function* flagsOf(command: CliCommand): Generator<Flag> {
  for (const [name, option] of Object.entries(command.options ?? {})) {
    const note = option.required ? ' (required)' : option.default === undefined ? '' : ` (default ${option.default})`;
    yield { flags: `--${name} ${option.value}`, help: option.help + note, isHidden: false };
  }
  for (const name of SETTING_NAMES) {
    const { help, default: preset, secret } = SETTINGS[name];
    const note = preset ? ` (default ${preset})` : '';
    if (secret) {
      yield { flags: `${flagOf(name)} [value]`, help, isHidden: true };
      const file = `${name}_FILE` as const;
      yield { flags: `${flagOf(file)} <path>`, help: `file with the ${help} [${name} or ${file}]`, isHidden: false };
    } else {
      yield { flags: `${flagOf(name)} <value>`, help: `${help}${note} [${name}]`, isHidden: false };
    }
  }
}

/**
 * Runs a command once its argument, its options and the configuration are valid.
 *
 * @throws {UsageError} with every error at once
 */
async function runCommand(
  command: CliCommand,
  given: GivenFlags,
  argument: string | undefined,
  env: CommandContext['env'],
): Promise<number> {
  const errors: string[] = [];
  if (argument === '') errors.push('The argument should not be empty');
  else if (argument !== undefined && !isAsGiven(argument)) errors.push('The argument is not valid UTF-8');
  else if (argument !== undefined) errors.push(...[command.argument?.check?.(argument) ?? []].flat());
  for (const [name, values] of given) if (values.length > 1) errors.push(`--${name} is given more than once`);

  const options: Record<string, unknown> = {};
  const attempt = (name: string, parse: () => unknown) => {
    try {
      options[name] = parse();
    } catch (error) {
      errors.push(`--${name} ${(error as Error).message}`); // options throw nothing else
    }
  };
  const before = errors.length;
  for (const [name, option] of Object.entries(command.options ?? {})) {
    attempt(name, () => parseOption(option, given.get(name)?.at(-1)));
  }
  if (errors.length === before) errors.push(...(command.check?.(options) ?? []));

  const flags = Object.fromEntries(
    [...SETTING_NAMES, ...FILE_SETTING_NAMES].flatMap((name) => {
      const values = given.get(flagOf(name).slice(2));
      return values ? [[name, values.at(-1) ?? '']] : [];
    }),
  );
  const sources = { flags, env, readFile: readSettingFile };
  const [config, issues] = checkedConfig(sources);
  const name = command.resolvesHost && hostName(sources);
  if (name && !(await resolves(name.host))) issues.push(`${name.givenAs} is a name that does not resolve`);
  if (errors.length > 0) throw new UsageError([...errors, ...issues].join('\n'));
  if (!config || issues.length > 0) throw new ConfigError(issues);
  // SQLite names the files beside a database after the file that links lead to, and so does everything here
  const resolved = { ...config, dataDir: realPath(config.dataDir), databasePath: realPath(config.databasePath) };
  return command.run({ ...sources, config: () => resolved }, options, argument ?? '');
}

/** Returns the configuration, or all that is wrong with it. */
function checkedConfig(sources: ConfigSources): [Config | undefined, string[]] {
  try {
    return [loadConfig(sources), []];
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [undefined, [...error.issues]];
  }
}

/** Returns whether a name has an address. */
async function resolves(host: string): Promise<boolean> {
  try {
    await lookup(host);
    return true;
  } catch {
    return false;
  }
}

/** @param text undefined: the flag is not given; null: it is, without its optional value */
function parseOption(option: CommandOption, text: string | null | undefined): unknown {
  if (text === null) return option.alone;
  if (text === '') throw new Error('should not be empty');
  if (text !== undefined && !isAsGiven(text)) throw new Error('is not valid UTF-8');
  if (text !== undefined) return option.parse(text);
  if (option.required) throw new Error('is required');
  return option.default === undefined ? undefined : option.parse(option.default);
}

/** Says what went wrong, unless commander has said it already. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError) {
    report(`The configuration has ${error.issues.length === 1 ? 'an error' : `${error.issues.length} errors`}:`);
    for (const issue of error.issues) report(`  ${issue}`);
    return 2;
  }
  if (error instanceof UsageError) {
    report(`${error.message}\nRun "rawlog help" to see what there is.`);
    return 2;
  }
  if (error instanceof Interrupted) {
    // ends as without a listener, so that a script that runs this command ends as well
    process.kill(process.pid, error.signal);
    return 1;
  }
  report(messageOf(error));
  return 1;
}
