import { checkSettingText } from './formats/setting-text.ts';
import { ALGORITHMS, MIN_SECRET_BYTES } from './jwt-keys.ts';

/*
 * The settings: their names, help and defaults, and the only reader of their texts. What the texts mean is config.ts's.
 */

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface Setting {
  readonly help: string;
  readonly default?: string;
  /** Never shown, and read from the environment or a file only: flags are visible to every user of the machine. */
  readonly secret?: true;
  /** Whether its file may hold several values, one per line. */
  readonly lines?: true;
  /** Whether its text may be a PEM, which has line ends. */
  readonly pem?: true;
}

const settings = {
  HOST: { help: 'IP address to listen on, or a name that resolves to one', default: '127.0.0.1' },
  PORT: { help: 'port to listen on; 0 takes any free one', default: '3000' },
  DATA_DIR: { help: 'folder of the database and of the own secret', default: './data' },
  DATABASE_URL: { help: 'the database, as file:PATH', default: 'file:<DATA_DIR>/rawlog.db' },
  JWT_SECRET: {
    help: `shared secret for HS256, ${MIN_SECRET_BYTES} bytes or more; of several, separated by commas (in a file by line ends), the first signs and all verify`,
    secret: true,
    lines: true,
    pem: true,
  },
  JWT_PUBLIC_KEY: { help: 'public key for RS256, ES256 or EdDSA: PEM, or the path of a PEM file', pem: true },
  JWT_JWKS_URL: { help: 'address of a JSON Web Key Set to take public keys from', secret: true },
  JWT_ALGORITHMS: { help: `accepted algorithms of ${Object.keys(ALGORITHMS).join(', ')}`, default: 'HS256' },
  JWT_AUDIENCE: {
    help: 'audiences, separated by commas, one of which "aud" must contain; none: not checked',
    default: 'authenticated',
  },
  JWT_LEEWAY: { help: 'how far ahead "nbf" may lie', default: '5s' },
  JWT_MAX_AGE: { help: 'how far ahead "exp" may lie; unset: not checked' },
  JWT_ISSUER: { help: 'issuer that "iss" must be; unset: not checked' },
  JWT_ROLE_CLAIM: { help: 'claim that holds the role, such as app_metadata.role', default: 'role' },
  JWT_ADMIN_ROLES: { help: 'values of "role" that make an admin, separated by commas', default: 'admin' },
  JWT_VIEWER_ROLES: { help: 'values of "role" that make a viewer, who reads everything and changes nothing' },
  METRICS_TOKEN: { help: 'bearer token for /metrics, beside the tokens of admins and viewers', secret: true },
  MAX_BODY_BYTES: { help: 'largest body, in bytes, also after decompression', default: '1048576' },
  MAX_BATCH_ITEMS: { help: 'most items of one batch', default: '1000' },
  MAX_CLOCK_SKEW: { help: 'how far ahead a timestamp may be', default: '5m' },
  RATE_LIMIT: { help: 'rows of each user, as NUMBER/s, /m or /h, or off', default: '1000/s' },
  RATE_LIMIT_BYTES: {
    help: 'bytes of bodies per user, as 1mb/s, 500kb/m or off; admins are exempt, and RATE_LIMIT=off disables it too',
    default: '1mb/s',
  },
  AUTH_FAILURE_LIMIT: { help: 'failed authentications of each address, in the same form', default: '600/m' },
  TRUSTED_PROXIES: {
    help: 'IP addresses and networks of proxies whose X-Forwarded-For is believed, separated by commas',
  },
  MAX_QUEUE_ROWS: { help: 'rows that may wait for their commit', default: '12000' },
  MAX_QUEUE_BYTES: { help: 'bytes of bodies that may wait for their commit', default: '67108864' },
  MAX_RESULT_BYTES: { help: 'largest query result, in bytes', default: '33554432' },
  IDLE_TIMEOUT: { help: 'after how long a connection on which no byte moves is closed, 1s to 255s', default: '75s' },
  QUERY_TIMEOUT: { help: 'how long a query may run', default: '10s' },
  MAX_NAMES_PER_USER: { help: 'distinct metric names and event types per user, together', default: '1000' },
  CORS_ORIGINS: {
    help: 'origins whose pages may call from a browser, such as https://app.example or https://*.example.com, separated by commas',
    default: '',
  },
  INSECURE_DEV: { help: 'on: accept published sample secrets', default: 'off' },
  LOG_LEVEL: { help: `least level to log: ${LOG_LEVELS.join(', ')}`, default: 'info' },
} as const satisfies Record<string, Setting>;
export type SettingName = keyof typeof settings;

/** Every setting by the name of its environment variable. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = settings;
export const SETTING_NAMES = Object.keys(settings) as SettingName[];

/** The command-line form of a setting: `JWT_SECRET` is `--jwt-secret`. */
export function flagOf(name: SettingName | FileSettingName): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** The settings that may come from a file. */
const SECRET_NAMES = SETTING_NAMES.filter((name) => SETTINGS[name].secret);

/** Names the file that holds a secret setting: `JWT_SECRET_FILE`. */
export type FileSettingName = `${SettingName}_FILE`;
export const FILE_SETTING_NAMES = SECRET_NAMES.map((name): FileSettingName => `${name}_FILE`);

/** Where a setting's text comes from. An empty text counts as unset. */
export interface ConfigSources {
  readonly flags: Partial<Record<SettingName | FileSettingName, string>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; throws when it cannot. */
  readonly readFile: (path: string) => string;
}

/** Where a text came from. */
export type Origin = 'flag' | 'environment' | 'file' | 'default';

/**
 * Reads the text of one setting: a flag before the environment. A secret setting comes from the environment or from
 * its file, whose trailing newline is stripped. Every text is checked for characters that no value is meant to have.
 *
 * @returns the text and its origin; undefined text where the setting is given nowhere and has no default
 * @throws {Error} with a message that begins with the name under which the setting was given
 */
export function settingText(
  name: SettingName,
  sources: ConfigSources,
): { text: string | undefined; origin: Origin; givenAs: string } {
  const { flags, env } = sources;
  const setting = SETTINGS[name];
  const fileName: FileSettingName = `${name}_FILE`;
  if (setting.secret) {
    if (flags[name] !== undefined) {
      throw new Error(`${flagOf(name)} would show a secret in the list of processes; set ${name} or ${fileName}`);
    }
    if (flags[fileName]) return fromFile(name, flagOf(fileName), flags[fileName], sources);
    if (env[name] && env[fileName]) throw new Error(`${name} and ${fileName} exclude each other: give one`);
    if (env[fileName]) return fromFile(name, fileName, env[fileName], sources);
  }
  if (flags[name]) return checked(setting, { text: flags[name], origin: 'flag', givenAs: flagOf(name) });
  if (env[name]) return checked(setting, { text: env[name], origin: 'environment', givenAs: name });
  return { text: setting.default, origin: 'default', givenAs: name };
}

function fromFile(name: SettingName, givenAs: string, path: string, { readFile }: ConfigSources) {
  let content: string;
  try {
    checkSettingText(path);
  } catch (error) {
    throw new Error(`${givenAs} ${(error as Error).message}`);
  }
  try {
    content = readFile(path);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(`${givenAs} names a file that cannot be read (${code ?? message})`); // the path may be a secret
  }
  const text = content.replace(/\n$/, '');
  if (text === '') throw new Error(`${givenAs} names an empty file`);
  return checked(SETTINGS[name], { text, origin: 'file' as const, givenAs });
}

function checked<Given extends { text: string; origin: Origin; givenAs: string }>(
  setting: Setting,
  given: Given,
): Given {
  const { text, origin, givenAs } = given;
  try {
    if (setting.pem && text.includes('-----BEGIN')) checkSettingText(text.replace(/[\t\n\r]+/g, ' ').trim());
    else if (setting.lines && origin === 'file') for (const line of text.split('\n')) checkSettingText(line);
    else checkSettingText(text);
  } catch (error) {
    throw new Error(`${givenAs} ${(error as Error).message}`);
  }
  return given;
}
