import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { version } from '../../package.json' with { type: 'json' };
import { ConfigError, flagOf, loadConfig, SETTING_NAMES, SETTINGS, type SettingName } from '../config.ts';
import { type CliCommand, type CommandContext, UsageError } from './command.ts';
import { configCommand } from './config.ts';
import { eraseCommand } from './erase.ts';
import { exportCommand } from './export.ts';
import { importCommand } from './import.ts';
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

/**
 * Runs the command line.
 *
 * @param args the arguments behind the program's name
 * @returns the exit code: 0 done, 1 failed, 2 wrong usage or configuration
 */
export async function run(args: readonly string[], env: CommandContext['env']): Promise<number> {
  let exitCode = 0;
  const program = new Command('rawlog')
    .description('A durable log for product metrics and analytics events, in one file.')
    .version(version, '-V, --version', 'print the version')
    .helpCommand('help [command]', 'show help for a command')
    .showHelpAfterError('Run "rawlog help" to see what there is.')
    .exitOverride();

  for (const command of COMMANDS) {
    const sub = program.command(command.name, { isDefault: command.name === DEFAULT_COMMAND });
    sub.summary(command.summary).description(`${command.summary}.`).allowExcessArguments(false);
    if (command.argument) sub.argument(command.argument.form, command.argument.help);
    for (const option of command.options ?? []) {
      if (option.required) sub.requiredOption(option.form, option.help);
      else sub.option(option.form, option.help, option.default);
    }
    for (const name of SETTING_NAMES) sub.option(`${flagOf(name)} <value>`, settingHelp(name));
    sub.showHelpAfterError(`Run "rawlog help ${command.name}" to see its options.`);
    // commander gives the argument first, where the command has one
    sub.action(async (...given: [Record<string, string>] | [string | undefined, Record<string, string>]) => {
      const options = withTexts((command.argument ? given[1] : given[0]) as Record<string, string | true>);
      const argument = command.argument ? String(given[0] ?? '') : '';
      const flags = settingFlags(options);
      const config = () => loadConfig({ flags, env, readFile: (path) => readFileSync(path, 'utf8') });
      exitCode = await command.run({ env, flags, config }, options, argument);
    });
  }
  program
    .command('version')
    .summary('print the version')
    .action(() => console.log(version));

  try {
    const names = [...program.commands.map((command) => command.name()), 'help'];
    for (const name of args[0] === 'help' ? args.slice(1, 2) : args.slice(0, 1)) {
      if (!name.startsWith('-') && !names.includes(name)) throw new UsageError(`There is no command "${name}".`);
    }
    await program.parseAsync(args, { from: 'user' });
    return exitCode;
  } catch (error) {
    return exitCodeOf(error);
  }
}

/** Says what went wrong, unless commander has said it already. */
function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof ConfigError) {
    console.error(`The configuration has ${error.faults.length === 1 ? 'a fault' : `${error.faults.length} faults`}:`);
    for (const fault of error.faults) console.error(`  ${fault}`);
    return 2;
  }
  if (error instanceof UsageError) {
    console.error(`${error.message}\nRun "rawlog help" to see what there is.`);
    return 2;
  }
  console.error(error instanceof Error ? error.message : error);
  return 1;
}

/** Options with a text for those that were given without a value. */
function withTexts(options: Readonly<Record<string, string | true>>): Record<string, string> {
  return Object.fromEntries(Object.entries(options).map(([name, value]) => [name, value === true ? '' : value]));
}

/** The settings among a command's options: commander names `--jwt-secret` `jwtSecret`. */
function settingFlags(options: Readonly<Record<string, string>>): CommandContext['flags'] {
  const given = SETTING_NAMES.map((name) => {
    const camel = name.toLowerCase().replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    return [name, options[camel]] as const;
  });
  return Object.fromEntries(given.filter(([, text]) => text !== undefined));
}

function settingHelp(name: SettingName): string {
  const setting = SETTINGS[name];
  return `${setting.help}${setting.default === undefined ? '' : ` (default ${setting.default})`} [${name}]`;
}
