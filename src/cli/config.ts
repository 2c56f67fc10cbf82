import { SETTING_NAMES, SETTINGS, type SettingName, settingText } from '../settings.ts';
import { defineCommand, JSON_OPTION } from './command.ts';
import { print } from './output.ts';

/** The command that prints every setting with its origin. */
export const configCommand = defineCommand({
  name: 'config',
  summary: 'Print the effective configuration, with secrets masked',
  settings: SETTING_NAMES,
  examples: [
    { purpose: 'Show every setting and where its value comes from', commandLine: 'rawlog config' },
    {
      purpose: 'Check settings before deploying them',
      commandLine: 'RATE_LIMIT=500/s rawlog config --data-dir /var/lib/rawlog',
    },
  ],
  options: { json: JSON_OPTION },
  resolvesHost: true,
  async run(context, { json }) {
    const { databasePath, dataDir, jwt } = context.config(); // throws if the configuration is invalid
    if (json) {
      const entries = SETTING_NAMES.map((name) => {
        const { text, origin } = settingText(name, context);
        const value = name === 'DATABASE_URL' ? `file:${databasePath}` : text && displayText(name, text);
        return [name, { value: value ?? null, origin: text === undefined ? null : origin }];
      });
      print(JSON.stringify(Object.fromEntries(entries)));
      return 0;
    }
    for (const name of SETTING_NAMES) {
      const { text, origin } = settingText(name, context);
      if (name === 'JWT_SECRET' && jwt.secret === 'generated') {
        print(`# ${name} is not set: rawlog generates a secret in ${dataDir}/jwt-secret`);
      } else if (text === undefined) print(`# ${name} is not set`);
      else if (name === 'DATABASE_URL') print(`${name}=file:${databasePath}  # ${origin}`);
      else print(`${name}=${displayText(name, text)}  # ${origin}`);
    }
    return 0;
  },
});

/** Returns the value of a setting on one line. Secrets are masked; of a secret URL, only the origin is shown. */
function displayText(name: SettingName, text: string): string {
  if (name === 'JWT_JWKS_URL') return `${new URL(text).origin}/********`;
  if (SETTINGS[name].secret) return '********';
  return text.trim().replaceAll('\r', '').replaceAll('\n', '\\n');
}
