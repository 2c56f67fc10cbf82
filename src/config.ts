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

/** A reserved audience, which no token of the product may have. */
const OPERATOR_AUDIENCE = 'rawlog';

/** Claims that users of identity providers can modify. */
const USER_WRITABLE_CLAIMS = ['user_metadata', 'unsafe_metadata', 'unsafeMetadata'];

/** The validated configuration. Loading it opens and creates nothing. */
export interface Config {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly dataDir: string;
  readonly databasePath: string;
  readonly jwt: {
    /** The shared secret that signs tokens; `generated` for the secret in the data folder, if no key is configured. */
    readonly secret: string | 'generated' | undefined;
    /** Additional shared secrets that only verify tokens. */
    readonly formerSecrets: readonly string[];
    readonly publicKey: KeyObject | undefined;
    readonly jwksUrl: URL | undefined;
    readonly algorithms: readonly Algorithm[];
    /** Accepted audiences; minted tokens contain the first. Undefined if the audience is not checked. */
    readonly audiences: readonly string[] | undefined;
    /** How far in the future `nbf` may be. */
    readonly leewaySeconds: number;
    /** How far in the future `exp` may be; undefined for no limit. */
    readonly maxAgeSeconds: number | undefined;
    /** Undefined if the issuer is not checked. */
    readonly issuer: string | undefined;
    /** The claim with the role: a claim name, or a path of names separated by dots. */
    readonly roleClaim: string;
    /** Role values that grant the role `admin` or `viewer`. */
    readonly adminRoles: readonly string[];
    readonly viewerRoles: readonly string[];
  };
  readonly maxBodyBytes: number;
  readonly maxBatchItems: number;
  /** Rows per user; undefined for no limit. */
  readonly rateLimit: Rate | undefined;
  /** Body bytes per user, except for admins; undefined for no limit. */
  readonly rateLimitBytes: Rate | undefined;
  /** Failed authentications per IP address; undefined for no limit. */
  readonly authFailureLimit: Rate | undefined;
  /** Proxies whose X-Forwarded-For is trusted; undefined for none. */
  readonly trustedProxies: Networks | undefined;
  /** How far a record's timestamp may be ahead of the server's clock. */
  readonly maxClockSkewUs: number;
  /** Browser origins that may call the API. */
  readonly corsOrigins: Origins | undefined;
  /** Bounds of the commit queue. */
  readonly maxQueueRows: number;
  readonly maxQueueBytes: number;
  readonly maxResultBytes: number;
  /** How long a connection without traffic stays open. */
  readonly idleTimeoutSeconds: number;
  readonly queryTimeoutMs: number;
  /** Maximum number of distinct metric names and event types per user, combined. */
  readonly maxNamesPerUser: number;
  /** Accepted at `/metrics` in place of a user's token; undefined for none. */
  readonly metricsToken: string | undefined;
  readonly logLevel: LogLevel;
  /** Whether published sample secrets are accepted. */
  readonly insecureDev: boolean;
}

/** An invalid configuration, with one issue per line. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly issues: readonly string[];

  constructor(issues: readonly string[]) {
    super(issues.join('\n'));
    this.issues = issues;
  }
}

/**
 * Loads the configuration from flags, environment and files.
 *
 * @throws {ConfigError} with all issues
 */
export function loadConfig(sources: ConfigSources): Config {
  const issues: string[] = [];
  const setNames = new Set<SettingName>();

  /** Reads and parses a setting. If it is invalid, adds an issue and returns undefined. */
  function read<T>(name: SettingName, parse: (text: string, origin: Origin) => T): T | undefined {
    try {
      const { text, origin, givenAs } = settingText(name, sources);
      if (origin !== 'default') setNames.add(name);
      if (text === undefined) return undefined;
      try {
        return parse(text, origin);
      } catch (error) {
        issues.push(`${givenAs} ${(error as Error).message}`);
      }
    } catch (error) {
      setNames.add(name);
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
  const maxAgeSeconds = read('JWT_MAX_AGE', parseLifetime);
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
    leewaySeconds: read('JWT_LEEWAY', parseDuration),
    maxBodyBytes: read('MAX_BODY_BYTES', integerBetween(1, 1024 ** 3)),
    maxBatchItems: read('MAX_BATCH_ITEMS', integerBetween(1, 1e6)),
    maxClockSkewUs: read('MAX_CLOCK_SKEW', (text) => parseDuration(text) * 1e6),
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
    secret: setNames.has('JWT_SECRET'),
    publicKey: setNames.has('JWT_PUBLIC_KEY'),
    jwks: setNames.has('JWT_JWKS_URL'),
  };
  const hasKey = keys.secret || keys.publicKey || keys.jwks;
  if (algorithms) issues.push(...keyIssues(algorithms, keys, publicKey));
  const sharedRoles = viewerRoles?.filter((role) => adminRoles?.includes(role)) ?? [];
  if (sharedRoles.length > 0) issues.push('JWT_VIEWER_ROLES contains a role that is also in JWT_ADMIN_ROLES');
  if ((config.maxBatchItems ?? 0) > (config.maxQueueRows ?? Number.POSITIVE_INFINITY)) {
    issues.push('MAX_QUEUE_ROWS should be at least MAX_BATCH_ITEMS');
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
      secret: hasKey ? jwtSecret : 'generated',
      formerSecrets,
      publicKey,
      jwksUrl,
      algorithms: algorithms ?? [],
      audiences: audiences.includes('none') ? undefined : audiences,
      leewaySeconds: complete.leewaySeconds,
      maxAgeSeconds,
      issuer,
      roleClaim: roleClaim ?? '',
      adminRoles: adminRoles ?? [],
      viewerRoles: viewerRoles ?? [],
    },
  };
}

/** Returns HOST if it is a host name, which the caller should resolve; undefined if it is an IP address or invalid. */
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

/** Parses a comma-separated list. Empty entries are dropped. */
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
    throw new Error(`should not contain ${OPERATOR_AUDIENCE}, which is reserved`);
  }
  return audiences;
}

function parseRoleClaim(text: string): string {
  const [first = '', ...rest] = text.split('.');
  if (USER_WRITABLE_CLAIMS.includes(first)) {
    throw new Error(
      `should not be in ${first}, which users can modify; use a claim that they cannot, such as one in app_metadata`,
    );
  }
  if ([first, ...rest].includes(''))
    throw new Error('should be a claim name, or a path of names separated by single dots');
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

/** Parses an IP address or a DNS name. */
function parseHost(text: string): string {
  const labels = text.replace(/\.$/, '').split('.');
  const isName = labels.every((label) => /^(?!-)[\w-]{1,63}(?<!-)$/.test(label)) && text.length <= 253;
  // the system resolver treats "127.1" and "0x7f.1" as IP addresses
  const isNumeric = /^(?:\d+|0x[\da-f]*)$/i.test(labels.at(-1) ?? '');
  if (isIP(text) === 0 && (!isName || isNumeric)) {
    throw new Error('should be an IP address such as 127.0.0.1, 0.0.0.0 or ::, or a name that resolves to one');
  }
  return text;
}

/** Parses a path. Rejects "~", which would create a folder with that name. */
function parseFolder(text: string): string {
  if (/^~(?:\/|$)/.test(text)) throw new Error('should be a path without ~, which only shells expand');
  return text;
}

/** Parses a token with the characters that RFC 6750, section 2.1, allows after "Bearer". */
function parseMetricsToken(text: string): string {
  if (!/^[\w.~+/-]{16,}=*$/.test(text)) {
    throw new Error(
      'should have at least 16 characters: letters, digits and -._~+/; generate one with "openssl rand -hex 32"',
    );
  }
  return text;
}

/**
 * Parses a `file:` URL: `file:data/x.db` is relative to the working directory, `file:/x.db` and `file:///x.db` are
 * absolute.
 */
function parseDatabaseUrl(text: string): string {
  const path = /^file:(?:\/\/(?=\/))?([^?#]+)$/.exec(text)?.[1];
  // SQLite treats ":memory:" and similar names as something other than a file
  if (path === undefined || path.startsWith('//') || path.startsWith(':')) throw new Error('should be file:PATH');
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch {
    throw new Error('should be file:PATH');
  }
  checkSettingText(decoded);
  if (decoded.endsWith('/')) throw new Error('should name a file, not a folder');
  return parseFolder(decoded);
}

/** Parses an idle timeout. Bun stores it in one byte, hence the maximum. */
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
