import { createPublicKey, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import { parseDuration } from './formats/duration.ts';
import { parseByteRate, parseRate, type Rate } from './formats/rate.ts';

/** The algorithms that tokens may be signed with, each with the kind of key that it needs. */
export const ALGORITHMS = { HS256: 'secret', RS256: 'RSA', ES256: 'EC P-256', EdDSA: 'Ed25519' } as const;
export type Algorithm = keyof typeof ALGORITHMS;

/** RFC 7518, section 3.2: a key of at least the size of the hash output, 256 bits. */
export const MIN_SECRET_BYTES = 32;

/** How the server runs. All of it is checked; nothing has been opened or made yet. */
export interface Config {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly jwt: {
    /** The shared secret, or `own` where no key is configured: a secret kept in the data folder. */
    readonly secret: string | 'own' | undefined;
    readonly publicKey: KeyObject | undefined;
    readonly jwksUrl: URL | undefined;
    readonly algorithms: readonly Algorithm[];
    /** undefined: any audience. */
    readonly audience: string | undefined;
    /** undefined: any issuer. */
    readonly issuer: string | undefined;
    /** Values of the role claim that make an admin, and those that make a viewer. */
    readonly adminRoles: readonly string[];
    readonly viewerRoles: readonly string[];
  };
  readonly maxBodyBytes: number;
  readonly maxBatchItems: number;
  /** Rows of each user; undefined: no limit. */
  readonly rateLimit: Rate | undefined;
  /** Bytes of bodies per user who is no admin; undefined: no limit. */
  readonly rateLimitBytes: Rate | undefined;
  /** Failed authentications of each address; undefined: no limit. */
  readonly authFailureLimit: Rate | undefined;
  /** How far ahead of the server's clock a record's time may be, in microseconds. */
  readonly maxClockSkew: number;
  /** Origins whose pages may call the routes from a browser. */
  readonly corsOrigins: readonly string[];
  /** What may wait for its commit. */
  readonly maxQueueRows: number;
  readonly maxQueueBytes: number;
  /** Largest query result, in bytes. */
  readonly maxResultBytes: number;
  /** After how long a connection on which no byte moves is closed, in seconds. */
  readonly idleTimeoutSeconds: number;
  /** How long a query may run, in milliseconds. */
  readonly queryTimeoutMs: number;
  /** Distinct metric names and event types per recorded user, together. */
  readonly maxNamesPerUser: number;
  /** What a scraper of `/metrics` may present in place of a token; undefined: nothing. */
  readonly metricsToken: string | undefined;
  readonly logLevel: LogLevel;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

interface Setting {
  readonly help: string;
  readonly default?: string;
  /** Never shown. */
  readonly secret?: true;
}

const settings = {
  HOST: { help: 'address to listen on', default: '127.0.0.1' },
  PORT: { help: 'port to listen on; 0 takes any free one', default: '3000' },
  DATA_DIR: { help: 'folder of the database and of the own secret', default: './data' },
  DATABASE_URL: { help: 'the database, as file:PATH', default: 'file:<DATA_DIR>/rawlog.db' },
  JWT_SECRET: { help: `shared secret for HS256, ${MIN_SECRET_BYTES} bytes or more`, secret: true },
  JWT_PUBLIC_KEY: { help: 'public key for RS256, ES256 or EdDSA: PEM, or the path of a PEM file' },
  JWT_JWKS_URL: { help: 'address of a JSON Web Key Set to take public keys from' },
  JWT_ALGORITHMS: { help: `accepted algorithms of ${Object.keys(ALGORITHMS).join(', ')}`, default: 'HS256' },
  JWT_AUDIENCE: { help: 'audience that "aud" must contain; none: not checked', default: 'authenticated' },
  JWT_ISSUER: { help: 'issuer that "iss" must be; unset: not checked' },
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
  MAX_QUEUE_ROWS: { help: 'rows that may wait for their commit', default: '12000' },
  MAX_QUEUE_BYTES: { help: 'bytes of bodies that may wait for their commit', default: '67108864' },
  MAX_RESULT_BYTES: { help: 'largest query result, in bytes', default: '33554432' },
  IDLE_TIMEOUT: { help: 'after how long a connection on which no byte moves is closed, 1s to 255s', default: '75s' },
  QUERY_TIMEOUT: { help: 'how long a query may run', default: '10s' },
  MAX_NAMES_PER_USER: { help: 'distinct metric names and event types per user, together', default: '1000' },
  CORS_ORIGINS: {
    help: 'origins whose pages may call from a browser, such as https://app.example, with commas',
    default: '',
  },
  LOG_LEVEL: { help: `least level to log: ${LOG_LEVELS.join(', ')}`, default: 'info' },
} as const satisfies Record<string, Setting>;
export type SettingName = keyof typeof settings;

/** Every setting by the name of its environment variable. */
export const SETTINGS: Readonly<Record<SettingName, Setting>> = settings;
export const SETTING_NAMES = Object.keys(settings) as SettingName[];

/** The command-line form of a setting: `JWT_SECRET` is `--jwt-secret`. */
export function flagOf(name: SettingName): string {
  return `--${name.toLowerCase().replaceAll('_', '-')}`;
}

/** Where a setting's text comes from. An empty text counts as unset. */
export interface ConfigSources {
  readonly flags: Partial<Record<SettingName, string>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a text file; throws when it cannot. */
  readonly readFile: (path: string) => string;
}

/** All that is wrong with a configuration, a line for each fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

/**
 * The text of one setting as given, flag before environment.
 *
 * @returns the text and its origin; undefined text where the setting is given nowhere and has no default
 */
export function settingText(
  name: SettingName,
  { flags, env }: Pick<ConfigSources, 'flags' | 'env'>,
): { text: string | undefined; origin: 'flag' | 'environment' | 'default' } {
  if (flags[name]) return { text: flags[name], origin: 'flag' };
  if (env[name]) return { text: env[name], origin: 'environment' };
  return { text: SETTINGS[name].default, origin: 'default' };
}

/**
 * Builds the configuration from flags and environment.
 *
 * @throws {ConfigError} with every fault at once
 */
export function loadConfig(sources: ConfigSources): Config {
  const faults: string[] = [];

  /** Reads one setting; a fault is noted under its name, and `undefined` stands in its place. */
  function read<T>(name: SettingName, parse: (text: string) => T): T | undefined {
    const { text, origin } = settingText(name, sources);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch (error) {
      faults.push(`${origin === 'flag' ? flagOf(name) : name} ${(error as Error).message}`);
      return undefined;
    }
  }

  const dataDir = read('DATA_DIR', (text) => text) ?? '';
  const databaseGiven = settingText('DATABASE_URL', sources).origin !== 'default';
  const jwtSecret = read('JWT_SECRET', parseSecret);
  const publicKey = read('JWT_PUBLIC_KEY', (text) => parsePublicKey(text, sources.readFile));
  const jwksUrl = read('JWT_JWKS_URL', parseHttpUrl);
  const algorithms = read('JWT_ALGORITHMS', parseAlgorithms);
  const adminRoles = read('JWT_ADMIN_ROLES', parseRoles);
  const viewerRoles = read('JWT_VIEWER_ROLES', parseRoles);
  const metricsToken = read('METRICS_TOKEN', parseMetricsToken);
  const rateLimit = read('RATE_LIMIT', parseRate);
  const rateLimitBytes = read('RATE_LIMIT_BYTES', parseByteRate);
  const authFailureLimit = read('AUTH_FAILURE_LIMIT', parseRate);
  const config = {
    host: read('HOST', (text) => text),
    port: read('PORT', integerBetween(0, 65_535)),
    dataDir,
    databasePath: databaseGiven ? read('DATABASE_URL', parseDatabaseUrl) : join(dataDir, 'rawlog.db'),
    audience: read('JWT_AUDIENCE', (text) => text),
    issuer: read('JWT_ISSUER', (text) => text),
    maxBodyBytes: read('MAX_BODY_BYTES', integerBetween(1, 1024 ** 3)),
    maxBatchItems: read('MAX_BATCH_ITEMS', integerBetween(1, 1e6)),
    maxClockSkew: read('MAX_CLOCK_SKEW', (text) => parseDuration(text) * 1e6),
    maxQueueRows: read('MAX_QUEUE_ROWS', integerBetween(1, 1e9)),
    maxQueueBytes: read('MAX_QUEUE_BYTES', integerBetween(1, 1024 ** 4)),
    maxResultBytes: read('MAX_RESULT_BYTES', integerBetween(1024, 1024 ** 3)),
    idleTimeoutSeconds: read('IDLE_TIMEOUT', parseIdleTimeout),
    queryTimeoutMs: read('QUERY_TIMEOUT', (text) => parseDuration(text) * 1000),
    maxNamesPerUser: read('MAX_NAMES_PER_USER', integerBetween(1, 1e9)),
    corsOrigins: read('CORS_ORIGINS', parseOrigins),
    logLevel: read('LOG_LEVEL', oneOf(LOG_LEVELS)),
  };

  const isGiven = (name: SettingName) => settingText(name, sources).text !== undefined;
  const keyGiven = isGiven('JWT_SECRET') || isGiven('JWT_PUBLIC_KEY') || isGiven('JWT_JWKS_URL');
  if (algorithms) {
    const keys = { secret: isGiven('JWT_SECRET'), publicKey: isGiven('JWT_PUBLIC_KEY'), jwks: isGiven('JWT_JWKS_URL') };
    faults.push(...keyFaults(algorithms, keys, publicKey));
  }
  const both = viewerRoles?.filter((role) => adminRoles?.includes(role)) ?? [];
  if (both.length > 0) faults.push('JWT_VIEWER_ROLES names a role that JWT_ADMIN_ROLES makes an admin');
  if ((config.maxBatchItems ?? 0) > (config.maxQueueRows ?? Number.POSITIVE_INFINITY)) {
    faults.push('MAX_QUEUE_ROWS should be MAX_BATCH_ITEMS or more: the largest batch would never be taken');
  }
  if (faults.length > 0) throw new ConfigError(faults);

  const complete = config as Required<{ [K in keyof typeof config]: NonNullable<(typeof config)[K]> }>; // no faults
  return {
    ...complete,
    rateLimit,
    rateLimitBytes: rateLimit && rateLimitBytes,
    authFailureLimit,
    metricsToken,
    jwt: {
      secret: keyGiven ? jwtSecret : 'own',
      publicKey,
      jwksUrl,
      algorithms: algorithms ?? [],
      audience: config.audience === 'none' ? undefined : config.audience,
      issuer: config.issuer,
      adminRoles: adminRoles ?? [],
      viewerRoles: viewerRoles ?? [],
    },
  };
}

/** What does not fit together between the algorithms and the keys that are given for them. */
function keyFaults(
  algorithms: readonly Algorithm[],
  given: { secret: boolean; publicKey: boolean; jwks: boolean },
  publicKey: KeyObject | undefined,
): string[] {
  const faults: string[] = [];
  const asymmetric = algorithms.filter((algorithm) => algorithm !== 'HS256');
  const anyPublic = given.publicKey || given.jwks;
  if (given.publicKey && given.jwks) faults.push('JWT_PUBLIC_KEY and JWT_JWKS_URL exclude each other: give one');
  if (anyPublic && asymmetric.length === 0) {
    faults.push(
      `${given.publicKey ? 'JWT_PUBLIC_KEY' : 'JWT_JWKS_URL'} needs RS256, ES256 or EdDSA among JWT_ALGORITHMS`,
    );
  }
  if (!anyPublic && asymmetric.length > 0) {
    faults.push(`JWT_ALGORITHMS names ${asymmetric.join(', ')}, which needs JWT_PUBLIC_KEY or JWT_JWKS_URL`);
  }
  if (anyPublic && !given.secret && algorithms.includes('HS256')) {
    faults.push('JWT_ALGORITHMS names HS256, which needs JWT_SECRET');
  }
  if (publicKey) {
    for (const algorithm of asymmetric) {
      if (algorithm !== algorithmOf(publicKey)) {
        faults.push(`JWT_ALGORITHMS names ${algorithm}, which needs an ${ALGORITHMS[algorithm]} key in JWT_PUBLIC_KEY`);
      }
    }
  }
  return faults;
}

/** The one algorithm that a public key may verify here, or undefined for a key of another kind. */
function algorithmOf(key: KeyObject): Algorithm | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') return 'RS256';
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256';
  return type === 'ed25519' ? 'EdDSA' : undefined;
}

function parseSecret(text: string): string {
  if (Buffer.byteLength(text) < MIN_SECRET_BYTES) {
    throw new Error(`should have ${MIN_SECRET_BYTES} bytes or more; "openssl rand -base64 48" makes one`);
  }
  if (text.includes('-----BEGIN')) throw new Error('is a PEM; a public key belongs in JWT_PUBLIC_KEY');
  return text;
}

/** Takes a PEM, also with `\n` written out as in many environment files, or the path of a PEM file. */
function parsePublicKey(text: string, readFile: ConfigSources['readFile']): KeyObject {
  let pem = text.replaceAll('\\n', '\n');
  if (!pem.includes('-----BEGIN')) {
    try {
      pem = readFile(text);
    } catch {
      throw new Error('is neither a PEM nor a file that can be read');
    }
  }
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new Error('is a private key; give the public one');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error('is not a public key in PEM');
  }
  if (algorithmOf(key) === undefined) throw new Error('should be an RSA, an EC P-256 or an Ed25519 key');
  // RFC 7518, section 3.3
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new Error('should be an RSA key of 2048 bits or more');
  }
  return key;
}

function parseRoles(text: string): string[] {
  const roles = text.split(',').flatMap((role) => role.trim() || []);
  if (roles.length === 0) throw new Error('should name at least one role');
  return roles;
}

/** RFC 6750, section 2.1: what can stand behind "Bearer". */
function parseMetricsToken(text: string): string {
  if (!/^[\w.~+/-]{16,}=*$/.test(text)) {
    throw new Error('should have 16 or more letters, digits and -._~+/; "openssl rand -hex 32" makes one');
  }
  return text;
}

function parseAlgorithms(text: string): Algorithm[] {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !Object.hasOwn(ALGORITHMS, name));
  if (unknown.length > 0) throw new Error(`should be a list of ${Object.keys(ALGORITHMS).join(', ')}`);
  return [...new Set(names as Algorithm[])];
}

function parseHttpUrl(text: string): URL {
  if (!/^https?:\/\//i.test(text) || !URL.canParse(text)) throw new Error('should be an http or https URL');
  return new URL(text);
}

/** Origins as browsers send them: scheme, host and, where it is not the scheme's own, port. */
function parseOrigins(text: string): string[] {
  const origins = text.split(',').flatMap((origin) => origin.trim() || []);
  for (const origin of origins) {
    if (!/^https?:/.test(origin) || !URL.canParse(origin) || new URL(origin).origin !== origin) {
      throw new Error('should be a list of origins such as https://app.example, without a path');
    }
  }
  return origins;
}

/** `file:data/x.db` is relative to the working folder; `file:/x.db` and `file:///x.db` are absolute. */
function parseDatabaseUrl(text: string): string {
  const path = /^file:(?:\/\/(?=\/))?([^?#]+)$/.exec(text)?.[1];
  // ":memory:" and the like would be no file
  if (path === undefined || path.startsWith('//') || path.startsWith(':')) throw new Error('should be file:PATH');
  try {
    return decodeURIComponent(path);
  } catch {
    throw new Error('should be file:PATH');
  }
}

/** Bun holds an idle timeout in a byte. */
function parseIdleTimeout(text: string): number {
  const seconds = parseDuration(text);
  if (seconds < 1 || seconds > 255) throw new Error('should be from 1s to 255s');
  return seconds;
}

function integerBetween(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (!(value >= min && value <= max)) throw new Error(`should be a whole number from ${min} to ${max}`);
    return value;
  };
}

function oneOf<const T extends string>(values: readonly T[]): (text: string) => T {
  return (text) => {
    const value = values.find((candidate) => candidate === text.toLowerCase());
    if (value === undefined) throw new Error(`should be one of ${values.join(', ')}`);
    return value;
  };
}
