import { lookup } from 'node:dns/promises';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json' with { type: 'json' };
import { type Config, ConfigError, hostName, loadConfig } from '../config.ts';
import { InterruptedError } from '../durable-file.ts';
import { type ConfigSources, FILE_SETTING_NAMES, flagOf, SETTING_NAMES, settingText } from '../settings.ts';
import { messageOf, UnusableDatabaseError } from '../storage/storage-error.ts';
import { isValidArgument } from './argument-bytes.ts';
import { type CliCommand, type CommandContext, type CommandOption, UsageError } from './command.ts';
import { flagsOf } from './flags.ts';
import { shellQuote } from './invocation.ts';
import { flushMessages, print, printText, report, reportText } from './output.ts';
import { realPath } from './real-path.ts';
import { readSettingFile } from './setting-file.ts';

/** Loads each command, in the order of the help. Most of a command's start would be spent on loading the others. */
const COMMANDS: Readonly<Record<string, () => Promise<CliCommand>>> = {
  serve: async () => (await import('./serve.ts')).serveCommand,
  demo: async () => (await import('./demo.ts')).demoCommand,
  token: async () => (await import('./token.ts')).tokenCommand,
  backup: async () => (await import('./backup.ts')).backupCommand,
  restore: async () => (await import('./restore.ts')).restoreCommand,
  export: async () => (await import('./export.ts')).exportCommand,
  import: async () => (await import('./import.ts')).importCommand,
  erase: async () => (await import('./erase.ts')).eraseCommand,
  prune: async () => (await import('./prune.ts')).pruneCommand,
  forward: async () => (await import('./forward.ts')).forwardCommand,
  rebuild: async () => (await import('./rebuild.ts')).rebuildCommand,
  migrate: async () => (await import('./migrate.ts')).migrateCommand,
  status: async () => (await import('./status.ts')).statusCommand,
  verify: async () => (await import('./verify.ts')).verifyCommand,
  doctor: async () => (await import('./doctor.ts')).doctorCommand,
  audit: async () => (await import('./audit.ts')).auditCommand,
  config: async () => (await import('./config.ts')).configCommand,
  systemd: async () => (await import('./systemd.ts')).systemdCommand,
  completion: async () => (await import('./completion.ts')).createCompletionCommand(loadAll),
};
const DEFAULT_COMMAND = 'serve';

const HELP_HINT = 'Run "rawlog help" for a list of commands, or "rawlog help COMMAND" for the options of one.';

function loadAll(): Promise<CliCommand[]> {
  return Promise.all(Object.values(COMMANDS).map((load) => load()));
}

/** Loads the commands that a command line needs: one, or all to list them. */
async function loadCommands([first = DEFAULT_COMMAND, second]: readonly string[]): Promise<CliCommand[]> {
  const name = first === 'help' && second !== undefined ? second : first;
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (load) return [await load()];
  return name === 'version' ? [] : loadAll();
}

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

  for (const command of await loadCommands(args)) {
    const sub = program.command(command.name, { isDefault: command.name === DEFAULT_COMMAND });
    sub.summary(command.summary).description(`${command.summary}.`).allowExcessArguments(false);
    if (command.argument) sub.argument(command.argument.form, command.argument.help);
    if (command.secondArgument) sub.argument(command.secondArgument.form, command.secondArgument.help);
    sub.addHelpText('after', examplesText(command));
    const flagValues = new Map<string, (string | null)[]>();
    for (const { flags, help, isHidden } of flagsOf(command)) {
      const option = sub.createOption(flags, help).hideHelp(isHidden);
      sub.addOption(option);
      // commander keeps only the last value of a repeated flag
      sub.on(`option:${option.name()}`, (value: string | null | undefined) => {
        flagValues.set(option.name(), [...(flagValues.get(option.name()) ?? []), value ?? null]);
      });
    }
    sub.showHelpAfterError(`Run "rawlog help ${command.name}" for its options and examples.`);
    sub.action(async (...parameters: unknown[]) => {
      // commander passes the arguments of the command first
      const given = [command.argument, command.secondArgument].flatMap((declared, i) =>
        declared && typeof parameters[i] === 'string' ? [parameters[i]] : [],
      );
      exitCode = await runCommand(command, flagValues, given, env);
    });
  }
  program
    .command('version')
    .summary('Print the version')
    .description('Print the version.')
    .option('--json', 'print the version and the platform as JSON, for scripts')
    .action(({ json }: { json?: true }) => {
      print(
        json ? JSON.stringify({ version, platform: process.platform, arch: process.arch, bun: Bun.version }) : version,
      );
    });

  try {
    const names = [...Object.keys(COMMANDS), 'version', 'help'];
    for (const name of args[0] === 'help' ? args.slice(1, 2) : args.slice(0, 1)) {
      if (!name.startsWith('-') && !names.includes(name))
        throw new UsageError(`Unknown command "${name.replace(/=.*/s, '')}".${suggestionFor(name, names)}`);
    }
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof InterruptedError) await flushMessages(); // the process dies by the signal
    return exitCodeOf(error);
  } finally {
    await flushMessages();
  }
}

/**
 * Returns the command that an unknown one resembles, as a sentence for its error; empty if there is none. commander has this
 * only for programs without a default command.
 */
function suggestionFor(name: string, names: readonly string[]): string {
  const program = new Command()
    .helpCommand(false)
    .exitOverride()
    .configureOutput({ outputError() {} });
  for (const known of names) program.command(known);
  try {
    program.parse([name], { from: 'user' });
  } catch (error) {
    const suggestion = /Did you mean [^)]+/.exec((error as Error).message)?.[0]; // commander throws only errors
    if (suggestion !== undefined) return ` ${suggestion}`;
  }
  return '';
}

/** Returns the examples of a command for the end of its help. */
function examplesText({ examples }: CliCommand): string {
  const blocks = examples.map(({ purpose, commandLine }) => `  # ${purpose}\n  ${commandLine}`);
  return `\nExamples:\n${blocks.join('\n\n')}`;
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
  given: readonly string[],
  env: CommandContext['env'],
): Promise<number> {
  const errors: string[] = [];
  const [argument = '', secondArgument = ''] = given;
  if (given.includes('')) errors.push('The argument should not be empty');
  else if (!given.every(isValidArgument)) errors.push('The argument is not valid UTF-8');
  else if (given.length > 0) errors.push(...[command.argument?.check?.(argument) ?? []].flat());
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
  if (errors.length === errorsBefore) {
    errors.push(...(command.check?.(options, argument, secondArgument) ?? []));
  }

  const flags = Object.fromEntries(
    [...SETTING_NAMES, ...FILE_SETTING_NAMES].flatMap((name) => {
      const values = flagValues.get(flagOf(name).slice(2));
      return values ? [[name, values.at(-1) ?? '']] : [];
    }),
  );
  const sources = { flags, env, readFile: readSettingFile };
  const [config, issues] = tryLoadConfig(sources);
  if (config) issues.push(...linkIssues(config, sources));
  const name = command.resolvesHost && hostName(sources);
  if (name && !(await resolves(name.host))) issues.push(`${name.givenAs} is a host name that does not resolve`);
  if (errors.length > 0) throw new UsageError([...errors, ...issues].join('\n'));
  if (!config || issues.length > 0) throw new ConfigError(issues);
  // SQLite derives the names of its other files from the target of a symbolic link, so rawlog resolves links too
  const resolvedConfig = { ...config, dataDir: realPath(config.dataDir), databasePath: realPath(config.databasePath) };
  try {
    return await command.run({ ...sources, config: () => resolvedConfig }, options, argument, secondArgument);
  } catch (error) {
    throw await withUpgradeBackup(error, resolvedConfig);
  }
}

/** Returns the settings whose paths are circular symbolic links, as issues. */
function linkIssues({ dataDir, databasePath }: Config, sources: ConfigSources): string[] {
  const paths = { DATA_DIR: dataDir, DATABASE_URL: databasePath };
  return (['DATA_DIR', 'DATABASE_URL'] as const).flatMap((name) => {
    const { origin, givenAs } = settingText(name, sources);
    // the default path of the database is not a setting: its file in the data folder is what is wrong
    if (name === 'DATABASE_URL' && origin === 'default') return [];
    try {
      realPath(paths[name]);
      return [];
    } catch (error) {
      return `${givenAs} should be another path: ${(error as Error).message}`; // realPath throws nothing else
    }
  });
}

/** Adds the backup from before the upgrade to the error of a database that a newer version has migrated. */
async function withUpgradeBackup(error: unknown, { databasePath, backupDir }: Config): Promise<unknown> {
  if (!(error instanceof UnusableDatabaseError) || !error.isNewer) return error;
  const { findUpgradeBackup } = await import('../backup/upgrade-backup.ts');
  const backup = findUpgradeBackup(databasePath, backupDir);
  if (backup === undefined) return error;
  return new Error(
    `${error.message} The backup from before the upgrade is ${backup}: "rawlog restore ${shellQuote(backup)} --force" brings it back, without what was recorded since.`,
    { cause: error },
  );
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
