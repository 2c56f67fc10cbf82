import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { parseDuration } from './formats/duration.ts';
import { type Networks, parseNetworks } from './formats/ip-address.ts';
import { type Origins, parseOrigins } from './formats/origins.ts';
import { parseByteRate, parseRate, type Rate } from './formats/rate.ts';
import { checkSettingText } from './formats/setting-text.ts';
import { type Algorithm, keyIssues, parseAlgorithms, parseJwksUrl, parsePublicKey, parseSecrets } from './jwt-keys.ts';
import {
  type ConfigSources,
  LOG_LEVELS,
  type LogLevel,
  type Origin,
  type SettingName,
  settingText,
} from './settings.ts';

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

/** All that is wrong with a configuration, a line for each fault. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(issues.join('\n'));
    this.issues = issues;
  }
}

/**
 * Builds the configuration from flags, environment and files.
 *
 * @throws {ConfigError} with every fault at once
 */
export function loadConfig(sources: ConfigSources): Config {
  const issues: string[] = [];
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
        issues.push(`${givenAs} ${(error as Error).message}`);
      }
    } catch (error) {
      given.add(name);
      issues.push((error as Error).message);
    }
    return undefined;
  }

  const dataDir = read('DATA_DIR', parseFolder) ?? '';
  const databasePath = read('DATABASE_URL', (text, origin) => (origin === 'default' ? '' : parseDatabaseUrl(text)));
  const insecureDev = read('INSECURE_DEV', parseSwitch);
  const jwtSecrets = read('JWT_SECRET', (text, origin) => parseSecrets(text, origin === 'file', insecureDev ?? false));
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
  if (algorithms) issues.push(...keyIssues(algorithms, keys, publicKey));
  const both = viewerRoles?.filter((role) => adminRoles?.includes(role)) ?? [];
  if (both.length > 0) issues.push('JWT_VIEWER_ROLES names a role that JWT_ADMIN_ROLES makes an admin');
  if ((config.maxBatchItems ?? 0) > (config.maxQueueRows ?? Number.POSITIVE_INFINITY)) {
    issues.push('MAX_QUEUE_ROWS should be MAX_BATCH_ITEMS or more: the largest batch would never be taken');
  }
  if (issues.length > 0) throw new ConfigError(issues);

  const complete = config as Required<{ [K in keyof typeof config]: NonNullable<(typeof config)[K]> }>; // no issues
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
