import { createPublicKey, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseDuration } from './formats/duration.ts';
import { type Networks, parseNetworks } from './formats/ip-address.ts';
import { type Origins, parseOrigins } from './formats/origins.ts';
import { parseByteRate, parseRate, type Rate } from './formats/rate.ts';
import { isGuessable } from './formats/sample-secrets.ts';
import { checkSettingText } from './formats/setting-text.ts';

/** The algorithms that tokens may be signed with, each with the kind of key that it needs. */
export const ALGORITHMS = { HS256: 'secret', RS256: 'RSA', ES256: 'EC P-256', EdDSA: 'Ed25519' } as const;
export type Algorithm = keyof typeof ALGORITHMS;

/** RFC 7518, section 3.2: a key of at least the size of the hash output, 256 bits. */
export const MIN_SECRET_BYTES = 32;

/** The audience of tokens that the server's own secret signs. */
const OPERATOR_AUDIENCE = 'rawlog';

/** Claims that users of identity providers write themselves. */
const USER_WRITABLE_CLAIMS = ['user_metadata', 'unsafe_metadata', 'unsafeMetadata'];

/** How the server runs. All of it is checked; nothing has been opened or made yet. */
export interface Config {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly jwt: {
    /** The shared secret that signs, or `own` where no key is configured: a secret kept in the data folder. */
    readonly secret: string | 'own' | undefined;
    /** Further shared secrets whose tokens verify. */
    readonly formerSecrets: readonly string[];
    readonly publicKey: KeyObject | undefined;
    readonly jwksUrl: URL | undefined;
    readonly algorithms: readonly Algorithm[];
    /** Any of these is accepted, and the first is minted; undefined: not checked. */
    readonly audiences: readonly string[] | undefined;
    /** How far ahead `nbf` may lie, in seconds. */
    readonly leeway: number;
    /** How far ahead `exp` may lie, in seconds; undefined: any time. */
    readonly maxAge: number | undefined;
    /** undefined: any issuer. */
    readonly issuer: string | undefined;
    /** The claim that holds the role: a top-level key, or a path of keys separated by dots. */
    readonly roleClaim: string;
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
  /** Proxies whose X-Forwarded-For is believed; undefined: none. */
  readonly trustedProxies: Networks | undefined;
  /** How far ahead of the server's clock a record's time may be, in microseconds. */
  readonly maxClockSkew: number;
  /** Origins whose pages may call the routes from a browser. */
  readonly corsOrigins: Origins | undefined;
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
  /** Whether published sample secrets are accepted. */
  readonly insecureDev: boolean;
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'silent'] as const;
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

/** All that is wrong with a configuration, a line for each fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.join('\n'));
    this.faults = faults;
  }
}

type Origin = 'flag' | 'environment' | 'file' | 'default';

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

/**
 * Builds the configuration from flags, environment and files.
 *
 * @throws {ConfigError} with every fault at once
 */
export function loadConfig(sources: ConfigSources): Config {
  const faults: string[] = [];
  const given = new Set<SettingName>();

  /** Reads one setting; a fault is noted under its name, and `undefined` stands in its place. */
  function read<T>(name: SettingName, parse: (text: string, origin: Origin) => T): T | undefined {
    try {
      const { text, origin, givenAs } = settingText(name, sources);
      if (origin !== 'default') given.add(name);
      if (text === undefined) return undefined;
      try {
        return parse(text, origin);
      } catch (error) {
        faults.push(`${givenAs} ${(error as Error).message}`);
      }
    } catch (error) {
      given.add(name);
      faults.push((error as Error).message);
    }
    return undefined;
  }

  const dataDir = read('DATA_DIR', parseFolder) ?? '';
  const databasePath = read('DATABASE_URL', (text, origin) => (origin === 'default' ? '' : parseDatabaseUrl(text)));
  const insecureDev = read('INSECURE_DEV', parseSwitch);
  const jwtSecrets = read('JWT_SECRET', (text, origin) => parseSecrets(text, origin, insecureDev ?? false));
  const publicKey = read('JWT_PUBLIC_KEY', (text) => parsePublicKey(text, sources.readFile));
  const jwksUrl = read('JWT_JWKS_URL', parseJwksUrl);
  const algorithms = read('JWT_ALGORITHMS', parseAlgorithms);
  const maxAge = read('JWT_MAX_AGE', parseLifetime);
  const roleClaim = read('JWT_ROLE_CLAIM', parseRoleClaim);
  const adminRoles = read('JWT_ADMIN_ROLES', parseRoles);
  const viewerRoles = read('JWT_VIEWER_ROLES', parseRoles);
  const metricsToken = read('METRICS_TOKEN', parseMetricsToken);
  const rateLimit = read('RATE_LIMIT', parseRate);
  const rateLimitBytes = read('RATE_LIMIT_BYTES', parseByteRate);
  const authFailureLimit = read('AUTH_FAILURE_LIMIT', parseRate);
  const trustedProxies = read('TRUSTED_PROXIES', parseNetworks);
  const corsOrigins = read('CORS_ORIGINS', (text) => (text === '' ? undefined : parseOrigins(text)));
  const issuer = read('JWT_ISSUER', (text) => text);
  const config = {
    host: read('HOST', parseHost),
    port: read('PORT', integerBetween(0, 65_535)),
    dataDir,
    databasePath: databasePath || join(dataDir, 'rawlog.db'),
    audiences: read('JWT_AUDIENCE', parseAudiences),
    leeway: read('JWT_LEEWAY', parseDuration),
    maxBodyBytes: read('MAX_BODY_BYTES', integerBetween(1, 1024 ** 3)),
    maxBatchItems: read('MAX_BATCH_ITEMS', integerBetween(1, 1e6)),
    maxClockSkew: read('MAX_CLOCK_SKEW', (text) => parseDuration(text) * 1e6),
    maxQueueRows: read('MAX_QUEUE_ROWS', integerBetween(1, 1e9)),
    maxQueueBytes: read('MAX_QUEUE_BYTES', integerBetween(1, 1024 ** 4)),
    maxResultBytes: read('MAX_RESULT_BYTES', integerBetween(1024, 1024 ** 3)),
    idleTimeoutSeconds: read('IDLE_TIMEOUT', parseIdleTimeout),
    queryTimeoutMs: read('QUERY_TIMEOUT', (text) => parseDuration(text) * 1000),
    maxNamesPerUser: read('MAX_NAMES_PER_USER', integerBetween(1, 1e9)),
    logLevel: read('LOG_LEVEL', oneOf(LOG_LEVELS)),
    insecureDev,
  };

  const keys = {
    secret: given.has('JWT_SECRET'),
    publicKey: given.has('JWT_PUBLIC_KEY'),
    jwks: given.has('JWT_JWKS_URL'),
  };
  const keyGiven = keys.secret || keys.publicKey || keys.jwks;
  if (algorithms) faults.push(...keyFaults(algorithms, keys, publicKey));
  const both = viewerRoles?.filter((role) => adminRoles?.includes(role)) ?? [];
  if (both.length > 0) faults.push('JWT_VIEWER_ROLES names a role that JWT_ADMIN_ROLES makes an admin');
  if ((config.maxBatchItems ?? 0) > (config.maxQueueRows ?? Number.POSITIVE_INFINITY)) {
    faults.push('MAX_QUEUE_ROWS should be MAX_BATCH_ITEMS or more: the largest batch would never be taken');
  }
  if (faults.length > 0) throw new ConfigError(faults);

  const complete = config as Required<{ [K in keyof typeof config]: NonNullable<(typeof config)[K]> }>; // no faults
  const { audiences } = complete;
  const [jwtSecret, ...formerSecrets] = jwtSecrets ?? [];
  return {
    ...complete,
    rateLimit,
    rateLimitBytes: rateLimit && rateLimitBytes,
    authFailureLimit,
    trustedProxies,
    corsOrigins,
    metricsToken,
    jwt: {
      secret: keyGiven ? jwtSecret : 'own',
      formerSecrets,
      publicKey,
      jwksUrl,
      algorithms: algorithms ?? [],
      audiences: audiences.includes('none') ? undefined : audiences,
      leeway: complete.leeway,
      maxAge,
      issuer,
      roleClaim: roleClaim ?? '',
      adminRoles: adminRoles ?? [],
      viewerRoles: viewerRoles ?? [],
    },
  };
}

/** Returns HOST if it is a name, which has to resolve; undefined for an address, and for one that is invalid. */
export function hostName(sources: ConfigSources): { host: string; givenAs: string } | undefined {
  try {
    const { text = '', givenAs } = settingText('HOST', sources);
    return isIP(parseHost(text)) === 0 ? { host: text, givenAs } : undefined;
  } catch {
    return undefined; // loadConfig reports it
  }
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

/**
 * Parses the secrets of HS256: the first signs, all verify. Commas separate them; in a file, line ends, so that a file
 * may hold a secret that contains a comma.
 */
function parseSecrets(text: string, origin: Origin, acceptGuessable: boolean): string[] {
  if (text.includes('-----BEGIN')) throw new Error('is a PEM; a public key belongs in JWT_PUBLIC_KEY');
  const isFile = origin === 'file';
  const secrets = text.split(isFile ? '\n' : ',');
  for (const secret of secrets) {
    checkSettingText(secret);
    if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
      const where = secrets.length === 1 ? '' : isFile ? ' in every line' : ' on each side of a comma';
      const why = where === '' ? '' : isFile ? ': each line is a secret' : ': a comma separates secrets';
      throw new Error(
        `should have ${MIN_SECRET_BYTES} bytes or more${where}${why}; "openssl rand -base64 48" makes one`,
      );
    }
    if (!acceptGuessable && isGuessable(secret)) {
      throw new Error(
        'is a published sample or a repetition, so anybody can sign tokens; "openssl rand -base64 48" makes a secret, and INSECURE_DEV=on accepts this one',
      );
    }
  }
  return secrets;
}

/** Takes a PEM, also with `\n` written out as in many environment files, or the path of a PEM file. */
function parsePublicKey(text: string, readFile: ConfigSources['readFile']): KeyObject {
  let pem = text;
  if (!pem.includes('-----BEGIN')) {
    try {
      pem = readFile(text);
    } catch {
      throw new Error('is neither a PEM nor a file that can be read');
    }
  }
  pem = pem.replaceAll('\\n', '\n');
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
  const roles = listOf(text);
  if (roles.length === 0) throw new Error('should name at least one role');
  return roles;
}

/** Returns the entries of a comma-separated list, without empty ones. */
function listOf(text: string): string[] {
  const entries = text.split(',').flatMap((entry) => entry.trim() || []);
  for (const entry of entries) checkSettingText(entry);
  return entries;
}

function parseAudiences(text: string): string[] {
  const audiences = listOf(text);
  if (audiences.length === 0) throw new Error('should name at least one audience, or be none');
  if (audiences.includes('none') && audiences.length > 1)
    throw new Error('should be either none or a list of audiences');
  if (audiences.includes(OPERATOR_AUDIENCE)) {
    throw new Error(`should not contain ${OPERATOR_AUDIENCE}, the audience of operator tokens`);
  }
  return audiences;
}

function parseRoleClaim(text: string): string {
  const [first = '', ...rest] = text.split('.');
  if (USER_WRITABLE_CLAIMS.includes(first)) {
    throw new Error(
      `should not be in ${first}, which users can write themselves; app_metadata, for example, they cannot`,
    );
  }
  if ([first, ...rest].includes('')) throw new Error('should be a claim, or a path of claims separated by single dots');
  return text;
}

function parseLifetime(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === 0) throw new Error('should be above 0');
  return seconds;
}

function parseSwitch(text: string): boolean {
  return oneOf(['on', 'off'])(text) === 'on';
}

/** An IP address, or a name as DNS has them. */
function parseHost(text: string): string {
  const labels = text.replace(/\.$/, '').split('.');
  const isName = labels.every((label) => /^(?!-)[\w-]{1,63}(?<!-)$/.test(label)) && text.length <= 253;
  // the system's resolver takes "127.1" and "0x7f.1" for addresses
  const isNumeric = /^(?:\d+|0x[\da-f]*)$/i.test(labels.at(-1) ?? '');
  if (isIP(text) === 0 && (!isName || isNumeric)) {
    throw new Error('should be an IP address such as 127.0.0.1, 0.0.0.0 or ::, or a name that resolves to one');
  }
  return text;
}

/** A shell expands "~", nothing else does. */
function parseFolder(text: string): string {
  if (/^~(?:\/|$)/.test(text)) throw new Error('should be a path without ~, which only a shell expands');
  return text;
}

/** RFC 6750, section 2.1: what can stand behind "Bearer". */
function parseMetricsToken(text: string): string {
  if (!/^[\w.~+/-]{16,}=*$/.test(text)) {
    throw new Error('should have 16 or more letters, digits and -._~+/; "openssl rand -hex 32" makes one');
  }
  return text;
}

function parseAlgorithms(text: string): Algorithm[] {
  // RFC 9864: EdDSA with the curve that is meant here
  const names = text.split(',').map((name) => (name.trim() === 'Ed25519' ? 'EdDSA' : name.trim()));
  const unknown = names.filter((name) => !Object.hasOwn(ALGORITHMS, name));
  if (unknown.length > 0) throw new Error(`should be a list of ${Object.keys(ALGORITHMS).join(', ')}`);
  return [...new Set(names as Algorithm[])];
}

function parseJwksUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text)) throw new Error('should be an http or https URL');
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new Error('should be an https URL: over http, anybody on the way could put in a key');
  }
  return url;
}

function isLoopback(hostname: string): boolean {
  return /^(?:.+\.)?localhost$|^127\.\d+\.\d+\.\d+$|^\[::1\]$/.test(hostname);
}

/** `file:data/x.db` is relative to the working folder; `file:/x.db` and `file:///x.db` are absolute. */
function parseDatabaseUrl(text: string): string {
  const path = /^file:(?:\/\/(?=\/))?([^?#]+)$/.exec(text)?.[1];
  // ":memory:" and the like would be no file
  if (path === undefined || path.startsWith('//') || path.startsWith(':')) throw new Error('should be file:PATH');
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new Error('should be file:PATH');
  }
  checkSettingText(decoded);
  if (decoded.endsWith('/')) throw new Error('should be file:PATH of a file, not of a folder');
  return parseFolder(decoded);
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
