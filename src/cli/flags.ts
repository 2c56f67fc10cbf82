import { flagOf, SETTING_NAMES, SETTINGS, type SettingName } from '../settings.ts';
import type { CliCommand } from './command.ts';

/** A flag of a command. */
export interface Flag {
  /** The flag with its value, in commander's syntax. */
  readonly flags: string;
  readonly help: string;
  readonly isHidden: boolean;
  /** What completes the value: words, paths, or nothing. */
  readonly completion: readonly string[] | 'path' | undefined;
}

/** Yields the flags of a command, including settings. Flags of secrets are defined only so that they can be rejected. */
export function* flagsOf(command: CliCommand): Generator<Flag> {
  for (const [name, option] of Object.entries(command.options ?? {})) {
    const note = option.required ? ' (required)' : option.default === undefined ? '' : ` (default ${option.default})`;
    const completion = option.parse.words;
    yield { flags: `--${name} ${option.value}`.trimEnd(), help: option.help + note, isHidden: false, completion };
  }
  for (const name of SETTING_NAMES) {
    const { help, default: preset, secret } = SETTINGS[name];
    const note = preset ? ` (default ${preset})` : '';
    const isHidden = !command.settings.includes(name);
    if (secret) {
      yield { flags: `${flagOf(name)} [value]`, help, isHidden: true, completion: undefined };
      const file = `${name}_FILE` as const;
      const fileHelp = `file with the ${help} [${name} or ${file}]`;
      yield { flags: `${flagOf(file)} <path>`, help: fileHelp, isHidden, completion: 'path' };
    } else {
      const completion = completionOf(name);
      yield { flags: `${flagOf(name)} <value>`, help: `${help}${note} [${name}]`, isHidden, completion };
    }
  }
}

function completionOf(name: SettingName): Flag['completion'] {
  return SETTINGS[name].words ?? (name.endsWith('_DIR') || name === 'JWT_PUBLIC_KEY' ? 'path' : undefined);
}
