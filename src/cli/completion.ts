import { type CliCommand, defineCommand } from './command.ts';
import { type Completion, completionScript, type Program, SHELLS } from './completion-script.ts';
import { flagsOf } from './flags.ts';
import { printFile } from './output.ts';

/**
 * Creates the command that prints completion scripts.
 *
 * @param commands returns all commands, including this one
 */
export function createCompletionCommand(commands: () => Promise<readonly CliCommand[]>): CliCommand {
  return defineCommand({
    name: 'completion',
    summary: 'Print a script that completes commands, flags and values in a shell',
    settings: [],
    examples: [
      { purpose: 'Complete in this bash', commandLine: 'source <(rawlog completion bash)' },
      {
        purpose: 'Complete in every bash',
        commandLine: 'rawlog completion bash | sudo tee /usr/share/bash-completion/completions/rawlog',
      },
      {
        purpose: 'Complete in every zsh',
        commandLine: 'rawlog completion zsh | sudo tee /usr/local/share/zsh/site-functions/_rawlog',
      },
      {
        purpose: 'Complete in every fish',
        commandLine: 'rawlog completion fish > ~/.config/fish/completions/rawlog.fish',
      },
    ],
    argument: {
      form: '<shell>',
      help: SHELLS.join(', '),
      words: SHELLS,
      check: (text) =>
        SHELLS.some((shell) => shell === text) ? undefined : `The shell should be one of ${SHELLS.join(', ')}`,
    },
    async run(_context, _options, argument) {
      const shell = SHELLS.find((candidate) => candidate === argument);
      if (shell) printFile(`${completionScript(shell, describeProgram(await commands()))}\n`);
      return 0;
    },
  });
}

const VERSION_JSON = { name: '--json', help: 'print the version as JSON', value: 'none', isOptional: false } as const;

/** Describes the command line for the scripts. */
function describeProgram(commands: readonly CliCommand[]): Program {
  const argumentOf = ({ argument }: CliCommand): Completion | undefined =>
    argument && (argument.words ?? (argument.form.includes('file') ? 'path' : 'text'));
  const described = commands.map((command) => ({
    name: command.name,
    summary: command.summary,
    argument: argumentOf(command),
    flags: [...flagsOf(command)].flatMap(({ flags, help, isHidden, completion }) => {
      const [name = '', value = ''] = flags.split(' ');
      if (isHidden) return [];
      const described = value === '' ? 'none' : (completion ?? 'text');
      return [{ name, help, value: described, isOptional: value.startsWith('[') } as const];
    }),
  }));
  const names = [...described.map(({ name }) => name), 'version', 'help'];
  return {
    commands: [
      ...described,
      { name: 'version', summary: 'Print the version', argument: undefined, flags: [VERSION_JSON] },
      { name: 'help', summary: 'Print help for a command', argument: names, flags: [] },
    ],
    defaultCommand: 'serve',
  };
}
