import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json' with { type: 'json' };
import { ConfigError, flagOf, loadConfig, SETTING_NAMES, SETTINGS, type SettingName } from '../config.ts';
import { Interrupted } from '../durable-file.ts';
import { messageOf } from '../storage/faults.ts';
import { type CliCommand, type CommandContext, type CommandOption, UsageError } from './command.ts';
import { configCommand } from './config.ts';
import { eraseCommand } from './erase.ts';
import { exportCommand } from './export.ts';
import { importCommand } from './import.ts';
import { flushMessages, print, printText, tell, tellText } from './output.ts';
import { realPath } from './real-path.ts';
import { rebuildCommand } from './rebuild.ts';
import { serveCommand } from './serve.ts';
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
    .configureOutput({ writeOut: printText, writeErr: tellText })
    .exitOverride();

  for (const command of COMMANDS) {
    const sub = program.command(command.name, { isDefault: command.name === DEFAULT_COMMAND });
    sub.summary(command.summary).description(`${command.summary}.`).allowExcessArguments(false);
    if (command.argument) sub.argument(command.argument.form, command.argument.help);
    const given = new Map<string, (string | null)[]>();
    for (const [flags, help] of flagsOf(command)) {
      const option = sub.createOption(flags, help);
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
      if (!name.startsWith('-') && !names.includes(name)) throw new UsageError(`There is no command "${name}".`);
    }
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error);
  } finally {
    await flushMessages();
  }
}

/** The flags of a command, settings included: commander's form, and text for the help. */
function* flagsOf(command: CliCommand): Generator<[flags: string, help: string]> {
  for (const [name, option] of Object.entries(command.options ?? {})) {
    const note = option.required ? ' (required)' : option.default === undefined ? '' : ` (default ${option.default})`;
    yield [`--${name} ${option.value}`, option.help + note];
  }
  for (const name of SETTING_NAMES) yield [`${flagOf(name)} <value>`, settingHelp(name)];
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
    SETTING_NAMES.flatMap((name) => {
      const text = given.get(flagOf(name).slice(2))?.at(-1);
      return typeof text === 'string' ? [[name, text]] : [];
    }),
  );
  const config = () => loadConfig({ flags, env, readFile: (path) => readFileSync(path, 'utf8') });
  try {
    config();
  } catch (error) {
    if (!(error instanceof ConfigError) || errors.length === 0) throw error;
    errors.push(...error.faults);
  }
  if (errors.length > 0) throw new UsageError(errors.join('\n'));
  // SQLite names the files beside a database after the file that links lead to, and so does everything here
  const resolved = () => {
    const { dataDir, databasePath, ...rest } = config();
    return { ...rest, dataDir: realPath(dataDir), databasePath: realPath(databasePath) };
  };
  return command.run({ env, flags, config: resolved }, options, argument ?? '');
}

/** @param text undefined: the flag is not given; null: it is, without its optional value */
function parseOption(option: CommandOption, text: string | null | undefined): unknown {
  if (text === null) return option.alone;
  if (text === '') throw new Error('should not be empty');
  if (text !== undefined) return option.parse(text);
  if (option.required) throw new Error('is required');
  return option.default === undefined ? undefined : option.parse(option.default);
}

/** Says what went wrong, unless commander has said it already. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError) {
    tell(`The configuration has ${error.faults.length === 1 ? 'an error' : `${error.faults.length} errors`}:`);
    for (const fault of error.faults) tell(`  ${fault}`);
    return 2;
  }
  if (error instanceof UsageError) {
    tell(`${error.message}\nRun "rawlog help" to see what there is.`);
    return 2;
  }
  if (error instanceof Interrupted) {
    // ends as without a listener, so that a script that runs this command ends as well
    process.kill(process.pid, error.signal);
    return 1;
  }
  tell(messageOf(error));
  return 1;
}

function settingHelp(name: SettingName): string {
  const setting = SETTINGS[name];
  return `${setting.help}${setting.default === undefined ? '' : ` (default ${setting.default})`} [${name}]`;
}
