import type { KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { type AlertThreshold, parseSilenceRules, parseThresholds, parseWebhook } from './formats/alert-rules.ts';
import { parseClickHouseUrl } from './formats/clickhouse-url.ts';
import { parseDuration, parseOptionalDuration, parseThreshold } from './formats/duration.ts';
import { type ForwardUrl, parseForwardUrls, parseNodeId } from './formats/forward-url.ts';
import { type Networks, parseNetworks } from './formats/ip-address.ts';
import { type NameTest, parseNamePatterns } from './formats/name-patterns.ts';
import { type Origins, parseEmbedOrigins, parseOrigins } from './formats/origins.ts';
import { parseByteRate, parseRate, type Rate } from './formats/rate.ts';
import { type NameRule, parseDays, parseRetentionRules, type Retention } from './formats/retention.ts';
import {
  isS3Url,
  missingCredentials,
  parseS3Credential,
  parseS3Endpoint,
  parseS3Prefix,
  parseS3Region,
  type S3Access,
} from './formats/s3.ts';
import { checkSettingText } from './formats/setting-text.ts';
import {
  type Algorithm,
  keyIssues,
  OPERATOR_AUDIENCE,
  parseAlgorithms,
  parseJwksUrl,
  parsePublicKey,
  parseSecrets,
} from './jwt-keys.ts';
import {
  type ConfigSources,
  LOG_LEVELS,
  type LogLevel,
  type Origin,
  type SettingName,
  settingText,
} from './settings.ts';

/** Claims that users of identity providers can modify. */
const USER_WRITABLE_CLAIMS = ['user_metadata', 'unsafe_metadata', 'unsafeMetadata'];

/** Longest QUERY_TIMEOUT. */
const MAX_QUERY_TIMEOUT_SECONDS = 24 * 86_400;

/** The validated configuration. Loading it opens and creates nothing. */
export interface Config {
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** The number of threads that receive requests; 1 for the main thread. */
  readonly receivers: number;
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
  /** Whether tokens signed with rawlog's own secret are accepted. */
  readonly operatorTokens: boolean;
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
  /** How far a record's timestamp may be behind the server's clock; undefined for any time. */
  readonly maxTimestampAgeUs: number | undefined;
  /** Browser origins that may call the API. */
  readonly corsOrigins: Origins | undefined;
  /** Origins whose pages may embed shared boards in a frame. */
  readonly embedOrigins: Origins | undefined;
  /** Bounds of the commit queue. */
  readonly maxQueueRows: number;
  readonly maxQueueBytes: number;
  /** How long records are kept. */
  readonly retention: Retention;
  /** Free disk space below which nothing is recorded. */
  readonly minFreeBytes: number;
  readonly maxResultBytes: number;
  /** How long a connection without traffic stays open. */
  readonly idleTimeoutSeconds: number;
  readonly queryTimeoutMs: number;
  /** The ClickHouse that queries read; undefined: the local database. */
  readonly queryUrl: URL | undefined;
  /** How long a query may take, its wait included, before it is logged; undefined if none is. */
  readonly slowQueryMs: number | undefined;
  /** Maximum number of distinct metric names and event types per user, combined. */
  readonly maxNamesPerUser: number;
  /** Tests which metric names and event types may be recorded; undefined for any. */
  readonly isAllowedName: NameTest | undefined;
  /** Accepted at `/metrics` in place of a user's token; undefined for none. */
  readonly metricsToken: string | undefined;
  /** The folder of backups and the erasure log, or their s3:// address; undefined if there is none. */
  readonly backupDir: string | undefined;
  readonly s3: S3Access;
  /** What is wrong with variables of S3 that other programs share, if BACKUP_DIR is not in S3. */
  readonly s3Issues: readonly string[];
  /** Time between scheduled backups. */
  readonly backupEverySeconds: number;
  /** Number of scheduled backups to keep. */
  readonly backupKeep: number;
  /** Where traces are sent, and the part of the traces that is sampled; undefined if none is. */
  readonly traces: { readonly url: string; readonly ratio: number } | undefined;
  /** The engines that records are forwarded to. */
  readonly forwardUrls: readonly ForwardUrl[];
  /** The name of this server in those engines; undefined for the generated one. */
  readonly nodeId: string | undefined;
  /** Where alerts are sent; undefined: there are none. */
  readonly alertWebhook: URL | undefined;
  readonly alertThresholds: readonly AlertThreshold[];
  /** How long names may be silent. */
  readonly alertSilence: readonly NameRule[];
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
  const embedOrigins = read('EMBED_ORIGINS', parseEmbedOrigins);
  const issuer = read('JWT_ISSUER', (text) => text);
  const retentionSeconds = read('RETENTION_DAYS', parseDays);
  const retentionRules = read('RETENTION', parseRetentionRules);
  const backupDir = read('BACKUP_DIR', parseBackupDir);
  const maxAge = read('MAX_TIMESTAMP_AGE', parseOptionalDuration);
  const isAllowedName = read('NAMES', parseNamePatterns);
  const traceUrl = read('OTEL_EXPORTER_OTLP_ENDPOINT', parseTraceEndpoint);
  // without an endpoint, the value may be meant for other programs
  const isTraced = setNames.has('OTEL_EXPORTER_OTLP_ENDPOINT');
  const traceRatio = read('OTEL_TRACES_SAMPLER_ARG', (text) => (isTraced ? parseRatio(text) : 0));
  const queryUrl = read('QUERY_URL', parseQueryUrl);
  const slowQueryMs = read('SLOW_QUERY', parseThreshold);
  const forwardUrls = read('FORWARD_URL', parseForwardUrls) ?? [];
  const nodeId = read('NODE_ID', parseNodeId);
  const alertWebhook = read('ALERT_WEBHOOK', parseWebhook);
  const alertThresholds = read('ALERT_THRESHOLDS', parseThresholds) ?? [];
  const alertSilence = read('ALERT_SILENCE', parseSilenceRules) ?? [];
  const s3: S3Access = {
    endpoint: read('S3_ENDPOINT', parseS3Endpoint),
    region: read('S3_REGION', parseS3Region),
    accessKeyId: read('S3_ACCESS_KEY_ID', parseS3Credential),
    secretAccessKey: read('S3_SECRET_ACCESS_KEY', parseS3Credential),
    sessionToken: read('S3_SESSION_TOKEN', parseS3Credential),
  };
  const config = {
    host: read('HOST', parseHost),
    port: read('PORT', integerBetween(0, 65_535)),
    receivers: read('RECEIVERS', integerBetween(1, 64)),
    dataDir,
    databasePath: databasePath || join(dataDir, 'rawlog.db'),
    audiences: read('JWT_AUDIENCE', parseAudiences),
    leewaySeconds: read('JWT_LEEWAY', parseDuration),
    operatorTokens: read('OPERATOR_TOKENS', parseSwitch),
    maxBodyBytes: read('MAX_BODY_BYTES', integerBetween(1, 1024 ** 3)),
    maxBatchItems: read('MAX_BATCH_ITEMS', integerBetween(1, 1e6)),
    maxClockSkewUs: read('MAX_CLOCK_SKEW', (text) => parseDuration(text) * 1e6),
    maxQueueRows: read('MAX_QUEUE_ROWS', integerBetween(1, 1e9)),
    maxQueueBytes: read('MAX_QUEUE_BYTES', integerBetween(1, 1024 ** 4)),
    minFreeBytes: read('MIN_FREE_BYTES', integerBetween(0, 1e14)),
    maxResultBytes: read('MAX_RESULT_BYTES', integerBetween(1024, 1024 ** 3)),
    idleTimeoutSeconds: read('IDLE_TIMEOUT', parseIdleTimeout),
    queryTimeoutMs: read('QUERY_TIMEOUT', parseQueryTimeout),
    backupEverySeconds: read('BACKUP_EVERY', parseLifetime),
    backupKeep: read('BACKUP_KEEP', integerBetween(1, 1e6)),
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
  // only if it was set: a small queue with the default body limit is a way to bound memory
  if (
    setNames.has('MAX_BODY_BYTES') &&
    (config.maxBodyBytes ?? 0) > (config.maxQueueBytes ?? Number.POSITIVE_INFINITY)
  ) {
    issues.push('MAX_QUEUE_BYTES should be at least MAX_BODY_BYTES, or the largest bodies would never be recorded');
  }
  if (!setNames.has('ALERT_WEBHOOK')) {
    if (alertThresholds.length > 0) issues.push('ALERT_THRESHOLDS requires ALERT_WEBHOOK');
    if (alertSilence.length > 0) issues.push('ALERT_SILENCE requires ALERT_WEBHOOK');
  }
  const isBackupInS3 = backupDir !== undefined && isS3Url(backupDir);
  const usesS3 = isBackupInS3 || forwardUrls.some(({ scheme }) => scheme === 's3');
  // other programs on the machine may understand them differently
  const s3Issues = usesS3 ? [] : issues.filter((issue) => issue.startsWith('AWS_'));
  if (usesS3) {
    const missing = missingCredentials(s3).filter((name) => !setNames.has(name)); // an invalid one is an issue already
    issues.push(
      ...missing.map(
        (name) => `${name} should be set, because ${isBackupInS3 ? 'BACKUP_DIR' : 'a URL of FORWARD_URL'} is in S3`,
      ),
    );
  }
  if (issues.length > s3Issues.length) throw new ConfigError(issues);

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
    embedOrigins,
    retention: { seconds: retentionSeconds, rules: retentionRules ?? [] },
    metricsToken,
    backupDir,
    queryUrl,
    slowQueryMs,
    maxTimestampAgeUs: maxAge === undefined ? undefined : maxAge * 1e6,
    isAllowedName,
    traces: traceUrl === undefined ? undefined : { url: traceUrl, ratio: traceRatio ?? 0 },
    forwardUrls,
    nodeId,
    alertWebhook,
    alertThresholds,
    alertSilence,
    s3,
    s3Issues,
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

/** Parses QUERY_URL. No message repeats it, since it may contain a password. */
function parseQueryUrl(text: string): URL {
  const url = URL.parse(text);
  if (!url) throw new Error('should be clickhouse://HOST/DATABASE or clickhouses://HOST/DATABASE');
  parseClickHouseUrl(url);
  return url;
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

/** Parses the folder of backups, or checks its address in S3. */
function parseBackupDir(text: string): string {
  if (!isS3Url(text)) return parseFolder(text);
  parseS3Prefix(text);
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

/**
 * Parses how long a query may run. Timers expire at once if they are set to more than 2³¹ ms, hence the maximum.
 *
 * @returns milliseconds
 */
function parseQueryTimeout(text: string): number {
  const seconds = parseDuration(text);
  if (seconds < 1 || seconds > MAX_QUERY_TIMEOUT_SECONDS) throw new Error('should be from 1s to 24d');
  return seconds * 1000;
}

/** Parses the URL of an OTLP receiver; returns the URL for its traces. */
function parseTraceEndpoint(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !/^https?:$/.test(url.protocol) || url.search !== '' || url.hash !== '') {
    throw new Error('should be an http or https URL without a query, such as http://127.0.0.1:4318');
  }
  return `${url.href.replace(/\/$/, '')}/v1/traces`;
}

function parseRatio(text: string): number {
  const ratio = text.trim() === '' ? Number.NaN : Number(text);
  if (!(ratio >= 0 && ratio <= 1)) throw new Error('should be a number from 0 to 1, such as 0.01');
  return ratio;
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
