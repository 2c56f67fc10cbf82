import { SETTING_NAMES, SETTINGS, type SettingName, settingText } from '../settings.ts';
import { defineCommand } from './command.ts';
import { print } from './output.ts';

/** Prints the settings in effect, each with where it comes from. */
export const configCommand = defineCommand({
  name: 'config',
  summary: 'print the configuration in effect, secrets masked',
  resolvesHost: true,
  async run(context) {
    const { databasePath } = context.config(); // says what is wrong, if anything is
    for (const name of SETTING_NAMES) {
      const { text, origin } = settingText(name, context);
      if (text === undefined) print(`# ${name} is not set`);
      else if (name === 'DATABASE_URL') print(`${name}=file:${databasePath}  # ${origin}`);
      else print(`${name}=${shown(name, text)}  # ${origin}`);
    }
    return 0;
  },
});

/** Returns a setting's text on one line, a secret as stars, a secret address without all that follows its host. */
function shown(name: SettingName, text: string): string {
  if (name === 'JWT_JWKS_URL') return `${new URL(text).origin}/********`;
  if (SETTINGS[name].secret) return '********';
  return text.trim().replaceAll('\r', '').replaceAll('\n', '\\n');
}
