import { checkSettingText } from './formats/setting-text.ts';
import { ALGORITHMS, MIN_SECRET_BYTES } from './jwt-keys.ts';

/*
 * The settings: their names, help, defaults and sources. Only this file reads their text; config.ts parses it.
 */

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface Setting {
  /** A fragment without a full stop. */
  readonly help: string;
  readonly default?: string;
  /** A variable that other programs share, read if the setting is unset. */
  readonly fallback?: string;
  /** Masked, and read only from the environment or a file: flags are visible to every user of the machine. */
  readonly secret?: true;
  /** Whether its file may contain several values, one per line. */
  readonly lines?: true;
  /** Whether its text may be a PEM, which contains newlines. */
  readonly pem?: true;
  /** All accepted values, if they can be listed. For lists, completion offers single entries. */
  readonly words?: readonly string[];
}

const settings = {
  HOST: { help: 'IP address to listen on, or a name that resolves to one', default: '127.0.0.1' },
  PORT: { help: 'port to listen on; 0 picks a free one', default: '3000' },
  RECEIVERS: {
    help: 'threads that receive requests, 1 to 64; 1: the main thread receives them itself',
    default: '1',
  },
  DATA_DIR: { help: 'folder of the database and the generated secret', default: './data' },
  DATABASE_URL: { help: 'path of the database, as file:PATH', default: 'file:<DATA_DIR>/rawlog.db' },
  JWT_SECRET: {
    help: `shared secrets for HS256, at least ${MIN_SECRET_BYTES} bytes each, one per line (comma-separated in JWT_SECRET); the first signs tokens, all of them verify`,
    secret: true,
    lines: true,
    pem: true,
  },
  JWT_PUBLIC_KEY: { help: 'PEM-encoded public key for RS256, ES256 or EdDSA, or the path of a PEM file', pem: true },
  JWT_JWKS_URL: { help: 'URL of a JSON Web Key Set with the public keys', secret: true },
  JWT_ALGORITHMS: {
    help: `accepted algorithms, comma-separated: ${Object.keys(ALGORITHMS).join(', ')}`,
    default: 'HS256',
    words: Object.keys(ALGORITHMS),
  },
  JWT_AUDIENCE: {
    help: 'accepted audiences, comma-separated; the value none disables the check',
    default: 'authenticated',
  },
  JWT_LEEWAY: { help: 'how far in the future "nbf" may be, such as 5s or 1m', default: '5s' },
  JWT_MAX_AGE: { help: 'how far in the future "exp" may be, such as 1h or 30d; unlimited if unset' },
  JWT_ISSUER: { help: 'required issuer; not checked if unset' },
  JWT_ROLE_CLAIM: { help: 'claim with the role: a name, or a path such as app_metadata.role', default: 'role' },
  JWT_ADMIN_ROLES: { help: 'values of the role claim that grant the role admin, comma-separated', default: 'admin' },
  JWT_VIEWER_ROLES: {
    help: "values of the role claim that grant the role viewer, which can read all users' data, comma-separated",
  },
  OPERATOR_TOKENS: {
    help: "whether to accept the tokens of `rawlog token`, signed with rawlog's own secret, beside those of the product: on or off",
    default: 'on',
  },
  METRICS_TOKEN: {
    help: 'bearer token for /metrics, at least 16 characters; admin and viewer tokens also work',
    secret: true,
  },
  MAX_BODY_BYTES: { help: 'largest body in bytes, before and after decompression', default: '1048576' },
  MAX_BATCH_ITEMS: { help: 'maximum number of items in a batch', default: '1000' },
  MAX_CLOCK_SKEW: { help: 'how far in the future a timestamp may be, such as 30s, 5m or 1h', default: '5m' },
  MAX_TIMESTAMP_AGE: {
    help: 'how far in the past a timestamp may be, such as 30d, or off; admins and imports are exempt',
    default: 'off',
  },
  RATE_LIMIT: { help: 'maximum rate of rows per user, such as 1000/s, 600/m or 10000/h, or off', default: '1000/s' },
  RATE_LIMIT_BYTES: {
    help: 'maximum rate of body bytes per user, such as 1mb/s or 500kb/m, or off; admins are exempt, and RATE_LIMIT=off also disables this limit',
    default: '1mb/s',
  },
  AUTH_FAILURE_LIMIT: {
    help: 'maximum rate of failed authentications per IP address, such as 600/m, or off',
    default: '600/m',
  },
  TRUSTED_PROXIES: {
    help: 'IP addresses and networks of proxies whose X-Forwarded-For is trusted, comma-separated, such as 10.0.0.0/8',
  },
  MAX_QUEUE_ROWS: { help: 'maximum rows waiting to be committed; further requests are rejected', default: '12000' },
  MAX_QUEUE_BYTES: {
    help: 'maximum memory for bodies being read and records waiting to be committed, in bytes',
    default: '67108864',
  },
  RETENTION_DAYS: { help: 'days that records are kept, by their timestamp; unlimited if unset' },
  RETENTION: {
    help: 'exceptions from RETENTION_DAYS, comma-separated, such as metric:page_load_time=30d,type:debug=7d,type:signup=off',
  },
  MIN_FREE_BYTES: {
    help: 'free disk space in bytes below which recording is rejected; 0 records until the disk is full',
    default: '268435456',
  },
  MAX_RESULT_BYTES: { help: 'largest query result in bytes', default: '33554432' },
  IDLE_TIMEOUT: { help: 'how long a connection without traffic stays open, 1s to 255s', default: '75s' },
  QUERY_TIMEOUT: { help: 'how long a query may run, such as 10s or 1m; 1s to 24d', default: '10s' },
  SLOW_QUERY: { help: 'how long a query may take before it is logged, such as 250ms, 1s or off', default: '1s' },
  QUERY_URL: {
    help: 'ClickHouse that queries read instead of the local database, as clickhouse://USER:PASSWORD@HOST:8123/DATABASE, or clickhouses:// for HTTPS',
    secret: true,
  },
  MAX_NAMES_PER_USER: { help: 'maximum distinct metric names and event types per user, combined', default: '1000' },
  NAMES: {
    help: 'metric names and event types that may be recorded, comma-separated, such as signup,page_*; any if unset',
  },
  CORS_ORIGINS: {
    help: 'browser origins that may call the API, comma-separated, such as https://app.example or https://*.example.com',
    default: '',
  },
  EMBED_ORIGINS: {
    help: 'origins of pages that may embed shared boards in a frame, comma-separated, such as https://intranet.example; none if unset',
  },
  BACKUP_DIR: {
    help: 'folder of scheduled backups and the erasure log, or s3://BUCKET/PREFIX; neither is written if unset',
  },
  BACKUP_EVERY: { help: 'time between scheduled backups, such as 6h or 24h', default: '24h' },
  BACKUP_KEEP: { help: 'number of scheduled backups to keep', default: '7' },
  FORWARD_URL: {
    help: 'URLs of the engines that records are forwarded to, comma-separated, such as nats://user:password@127.0.0.1:4222/rawlog; none if unset',
    secret: true,
    lines: true,
  },
  NODE_ID: {
    help: 'name of this server in the engines that records are forwarded to; generated and stored next to the database if unset',
  },
  ALERT_WEBHOOK: {
    help: 'URL that alerts are sent to, as JSON in POST requests; no alerts if unset',
    secret: true,
  },
  ALERT_THRESHOLDS: {
    help: 'limits that raise an alert, comma-separated, such as checkout_ms:p95>2000/15m,type:signup:count<1/1h',
  },
  ALERT_SILENCE: {
    help: 'how long names may be silent, comma-separated, such as metric:heartbeat=10m,type:signup=6h,type:debug=off; others are compared with their past',
  },
  S3_ENDPOINT: {
    help: 'URL of the service for s3:// addresses, such as https://s3.example.com; Amazon S3 if unset',
    fallback: 'AWS_ENDPOINT',
  },
  S3_REGION: { help: 'region of the bucket in S3', fallback: 'AWS_REGION' },
  S3_ACCESS_KEY_ID: { help: 'ID of the access key for S3', secret: true, fallback: 'AWS_ACCESS_KEY_ID' },
  S3_SECRET_ACCESS_KEY: { help: 'access key for S3', secret: true, fallback: 'AWS_SECRET_ACCESS_KEY' },
  S3_SESSION_TOKEN: {
    help: 'session token for S3, if the credentials are temporary',
    secret: true,
    fallback: 'AWS_SESSION_TOKEN',
  },
  INSECURE_DEV: {
    help: 'whether to accept published sample secrets, on or off; for development only',
    default: 'off',
    words: ['on', 'off'],
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    help: 'URL of an OpenTelemetry receiver that gets traces with OTLP over HTTP, such as http://127.0.0.1:4318; no traces if unset',
    secret: true,
  },
  OTEL_TRACES_SAMPLER_ARG: { help: 'part of the traces that is sampled, from 0 to 1', default: '0.01' },
  LOG_LEVEL: { help: `lowest level to log: ${LOG_LEVELS.join(', ')}`, default: 'info', words: LOG_LEVELS },
} as const satisfies Record<string, Setting>;
export type SettingName = keyof typeof settings;

/** All settings, keyed by environment variable. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = settings;
export const SETTING_NAMES = Object.keys(settings) as SettingName[];

/** Returns the flag of a setting: `--jwt-secret` for `JWT_SECRET`. */
export function flagOf(name: SettingName | FileSettingName): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** The settings that can be read from a file. */
const SECRET_NAMES = SETTING_NAMES.filter((name) => SETTINGS[name].secret);

/** The name of the variable with the path of a secret's file, such as `JWT_SECRET_FILE`. */
export type FileSettingName = `${SettingName}_FILE`;
export const FILE_SETTING_NAMES = SECRET_NAMES.map((name): FileSettingName => `${name}_FILE`);

/** The sources of settings. Empty text counts as unset. */
export interface ConfigSources {
  readonly flags: Partial<Record<SettingName | FileSettingName, string>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file. Throws if it cannot be read. */
  readonly readFile: (path: string) => string;
}

/** The source that a setting's text came from. */
export type Origin = 'flag' | 'environment' | 'file' | 'default';

/**
 * Reads the text of a setting. A flag takes precedence over the environment, and its variable over the one that it
 * shares with other programs. A secret is read from the environment or from its file, whose trailing newline is stripped. The text is checked for characters that no value should contain.
 *
 * @returns the text, its origin, and the flag or variable that it came from; the text is undefined if the setting is
 *   unset and has no default
 * @throws {Error} with a message that starts with that flag or variable
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
      throw new Error(`${flagOf(name)} would expose a secret in the process list; set ${name} or ${fileName} instead`);
    }
    if (flags[fileName]) return fromFile(name, flagOf(fileName), flags[fileName], sources);
    if (env[name] && env[fileName]) throw new Error(`${name} and ${fileName} are mutually exclusive: set only one`);
    if (env[fileName]) return fromFile(name, fileName, env[fileName], sources);
  }
  if (flags[name]) return checked(setting, { text: flags[name], origin: 'flag', givenAs: flagOf(name) });
  if (env[name]) return checked(setting, { text: env[name], origin: 'environment', givenAs: name });
  const { fallback } = setting;
  if (fallback !== undefined && env[fallback]) {
    return checked(setting, { text: env[fallback], origin: 'environment', givenAs: fallback });
  }
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
    throw new Error(`${givenAs} names a file that cannot be read (${code ?? message})`); // the path may itself be a secret
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
