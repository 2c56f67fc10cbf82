import { SETTING_NAMES, SETTINGS, type SettingName, settingText } from '../config.ts';
import { defineCommand } from './command.ts';
import { print } from './output.ts';

/** Prints the settings in effect, each with where it comes from. */
export const configCommand = defineCommand({
  name: 'config',
  summary: 'print the configuration in effect, secrets masked',
  async run({ env, flags, config }) {
    const { databasePath } = config(); // says what is wrong, if anything is
    for (const name of SETTING_NAMES) {
      const { text, origin } = settingText(name, { flags, env });
      if (text === undefined) print(`# ${name} is not set`);
      else if (name === 'DATABASE_URL') print(`${name}=file:${databasePath}  # ${origin}`);
      else print(`${name}=${shown(name, text)}  # ${origin}`);
    }
    return 0;
  },
});

/** A setting's text on one line, a secret as stars, a URL without its password and query. */
function shown(name: SettingName, text: string): string {
  if (SETTINGS[name].secret) return '********';
  if (name === 'JWT_JWKS_URL') {
    const url = new URL(text);
    if (url.password !== '') url.password = '********';
    if (url.search !== '') url.search = '?********';
    return url.href;
  }
  return text.replaceAll('\n', '\\n');
}
