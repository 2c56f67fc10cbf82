/*
 * Completion scripts in the native form of each shell. They contain the commands and flags of this version, so that a
 * shell runs no program, and evaluates nothing that was typed, when it completes. (Libraries that ask the program
 * instead complete no file names, and evaluate the typed words.)
 */

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What completes a value: words, paths, or nothing. */
export type Completion = readonly string[] | 'path' | 'text';

interface Flag {
  /** With the leading hyphens. */
  readonly name: string;
  readonly help: string;
  /** What completes its value; `none` for a flag without one. */
  readonly value: Completion | 'none';
  /** Whether the flag works without its value. */
  readonly isOptional: boolean;
}

interface Command {
  readonly name: string;
  readonly summary: string;
  /** What completes the argument; undefined if the command has none. */
  readonly argument: Completion | undefined;
  readonly flags: readonly Flag[];
}

/** A command line. */
export interface Program {
  readonly commands: readonly Command[];
  /** The command whose flags may be given without its name. */
  readonly defaultCommand: string;
}

const NAME = 'rawlog';

/** Returns the script that completes `rawlog` in a shell. */
export function completionScript(shell: Shell, program: Program): string {
  return { bash, zsh, fish }[shell](program);
}

/** Returns the flags that may be given without a command. */
function rootFlags({ commands, defaultCommand }: Program): readonly Flag[] {
  return commands.find(({ name }) => name === defaultCommand)?.flags ?? [];
}

/** Quotes a text as a single word of a shell: single quotes work alike in all of them, except for the escaping. */
function quote(text: string, escapedQuote = "'\\''"): string {
  return `'${text.replaceAll("'", escapedQuote)}'`;
}

/**
 * The words of bash are split at "=", so `--role=admin` consists of three. Where there is nothing to offer, bash completes
 * file names, as it does without a script.
 */
function bash(program: Program): string {
  const { commands } = program;
  const names = commands.map(({ name }) => name).join(' ');
  const wordCases = (command: Command) =>
    command.flags.flatMap(({ name, value }) =>
      typeof value === 'string' ? [] : [`    ${command.name}:${name}) words=${quote(value.join(' '))} ;;`],
    );
  const textCases = (command: Command) =>
    command.flags.flatMap(({ name, value, isOptional }) =>
      value === 'text' && !isOptional ? [`${command.name}:${name}`] : [],
    );
  const pathCases = (command: Command) =>
    command.flags.flatMap(({ name, value }) => (value === 'path' ? [`${command.name}:${name}`] : []));
  const offers = commands.map(({ name, argument, flags }) => {
    const list = [...flags.map((flag) => flag.name), '--help'].join(' ');
    const words = Array.isArray(argument) ? argument.join(' ') : '';
    return `    ${name}) flags=${quote(list)} words=${quote(words)} ;;`;
  });
  return `# bash completion for ${NAME}
_${NAME}() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} command= flags= words= i
  COMPREPLY=()
  if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=\${COMP_WORDS[COMP_CWORD-2]}; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case " ${names} " in *" \${COMP_WORDS[i]} "*) command=\${COMP_WORDS[i]}; break ;; esac
  done
  case \${command:-${program.defaultCommand}}:$prev in
${commands.flatMap(wordCases).join('\n')}
    ${commands.flatMap(pathCases).join(' | ')}) return ;;
    ${commands.flatMap(textCases).join(' | ')}) compopt +o default; return ;;
  esac
  if [[ -n $words ]]; then
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    return
  fi
  case \${command:-${program.defaultCommand}} in
${offers.join('\n')}
  esac
  [[ -n $command ]] || words='${names}' flags+=' --version'
  if [[ $cur == -* ]]; then words=$flags; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o default -F _${NAME} ${NAME}`;
}

/** Works both as a file of \`$fpath\`, whose first line names the program, and when it is sourced. */
function zsh(program: Program): string {
  const action = (value: Completion | 'none') =>
    value === 'path' ? '_files' : typeof value === 'string' ? ' ' : `(${value.join(' ')})`;
  const flagSpec = ({ name, help, value, isOptional }: Flag) => {
    const text = help.replace(/[[\]\\]/g, '\\$&').replaceAll(':', '\\:');
    if (value === 'none') return quote(`${name}[${text}]`);
    return quote(`${name}=[${text}]${isOptional ? '::' : ':'}value:${action(value)}`);
  };
  const helpSpec = quote('(- *)--help[print help]');
  const cases = program.commands.map(({ name, argument, flags }) => {
    const argumentSpec = argument === undefined ? [] : [quote(`1:${name}:${action(argument)}`)];
    return `        ${name}) _arguments ${[...flags.map(flagSpec), helpSpec, ...argumentSpec].join(' \\\n          ')} ;;`;
  });
  const descriptions = program.commands.map(({ name, summary }) => quote(`${name}:${summary}`));
  const rootSpecs = [...rootFlags(program).map(flagSpec), helpSpec, quote('(- *)--version[print the version]')];
  return `#compdef ${NAME}
_${NAME}() {
  local curcontext=$curcontext state line
  local -a commands=(
    ${descriptions.join('\n    ')}
  )
  _arguments -C ${rootSpecs.join(' \\\n    ')} \\
    '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe -t commands 'rawlog command' commands ;;
    argument)
      curcontext=\${curcontext%:*:*}:${NAME}-$line[1]:
      case $line[1] in
${cases.join('\n')}
      esac ;;
  esac
}
if [[ $funcstack[1] == _${NAME} ]]; then _${NAME} "$@"; else compdef _${NAME} ${NAME}; fi`;
}

/** Without a command, fish offers the commands and the flags of the default command. */
function fish(program: Program): string {
  const { commands } = program;
  const literal = (text: string) => quote(text.replaceAll('\\', '\\\\'), "\\'");
  const noCommand = literal('__fish_use_subcommand');
  const valueSpec = (value: Completion | 'none') => {
    if (value === 'path') return '-r -F';
    return typeof value === 'string' ? '-x' : `-x -a ${literal(value.join(' '))}`;
  };
  const flagLine = (condition: string, { name, help, value, isOptional }: Flag) => {
    const spec = isOptional || value === 'none' ? '' : ` ${valueSpec(value)}`;
    return `complete -c ${NAME} -n ${condition} -l ${name.slice(2)}${spec} -d ${literal(help)}`;
  };
  const lines = commands.flatMap(({ name, summary, argument, flags }) => {
    const condition = literal(`__fish_seen_subcommand_from ${name}`);
    const values = argument === undefined ? [] : [`complete -c ${NAME} -n ${condition} ${valueSpec(argument)}`];
    return [
      `complete -c ${NAME} -n ${noCommand} -a ${name} -d ${literal(summary)}`,
      ...flags.map((flag) => flagLine(condition, flag)),
      ...values,
    ];
  });
  return `# fish completion for ${NAME}
complete -c ${NAME} -f
complete -c ${NAME} -l help -d 'print help'
complete -c ${NAME} -n ${noCommand} -l version -d 'print the version'
${rootFlags(program)
  .map((flag) => flagLine(noCommand, flag))
  .join('\n')}
${lines.join('\n')}`;
}
