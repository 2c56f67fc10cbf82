import { issuersOf } from '../auth/access.ts';
import { type Issuer, productRole } from '../auth/issuer.ts';
import { loadSecrets } from '../auth/secrets.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import type { Config } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { parseDuration } from '../formats/duration.ts';
import { isUserId, type Role } from '../records.ts';
import { type CommandOptions, defineCommand, flag, oneOf, UsageError } from './command.ts';
import { print, report } from './output.ts';

/** Roles with extra permissions. A token without one is limited to its own user. */
const ROLES = ['admin', 'viewer'] as const;

/** Default lifetime of a token: one hour. */
const DEFAULT_LIFETIME_SECONDS = 3_600;
/** Maximum lifetime of a token: 90 days. */
const MAX_LIFETIME_SECONDS = 90 * 86_400;

/** The value of `--link` without a URL: use the address that the server listens on. */
const LISTEN_ADDRESS = '';

const OPTIONS = {
  sub: { value: '<id>', help: 'user ID, 1 to 255 characters', required: true, parse: parseUserId },
  role: {
    value: '<role>',
    help: "admin (full access) or viewer (reads all users' data); by default, the token gives access only to the user's own data",
    parse: oneOf(ROLES),
  },
  expires: {
    value: '<duration>',
    help: 'lifetime of the token, such as 90s, 15m, 1h or 30d; at most 90d (default 1h, or JWT_MAX_AGE if shorter)',
    parse: parseLifetime,
  },
  link: {
    value: '[url]',
    help: 'print a single-use sign-in link for the dashboard instead, valid for 10 minutes; behind a proxy, pass the public URL, such as https://log.example.com',
    bareValue: LISTEN_ADDRESS,
    parse: parseAddress,
  },
  json: flag('print the token or the link as JSON, for scripts'),
} satisfies CommandOptions;

/** The command that prints a token or a sign-in link for a user. */
export const tokenCommand = defineCommand({
  name: 'token',
  summary: "Print a token or a sign-in link for a user, signed with rawlog's own secret",
  settings: [
    'DATA_DIR',
    'HOST',
    'PORT',
    'OPERATOR_TOKENS',
    'JWT_SECRET',
    'JWT_ALGORITHMS',
    'JWT_AUDIENCE',
    'JWT_ISSUER',
    'JWT_ROLE_CLAIM',
    'JWT_ADMIN_ROLES',
    'JWT_VIEWER_ROLES',
    'JWT_MAX_AGE',
  ],
  examples: [
    {
      purpose: 'Print a token for user-42 that is valid for 15 minutes',
      commandLine: 'rawlog token --sub user-42 --expires 15m',
    },
    {
      purpose: 'Print a link that opens the dashboard as an admin',
      commandLine: 'rawlog token --sub me --role admin --link https://log.example.com',
    },
  ],
  options: OPTIONS,
  async run({ config }, { sub, role, expires, link, json }) {
    const { jwt, host, port } = config();
    const address = link === LISTEN_ADDRESS ? listenAddress(host, port) : link;
    const maxAge = jwt.maxAgeSeconds ?? Number.POSITIVE_INFINITY;
    const lifetime = expires ?? Math.min(DEFAULT_LIFETIME_SECONDS, maxAge);
    if (lifetime > maxAge) {
      throw new UsageError('--expires is longer than JWT_MAX_AGE: the server would reject the token');
    }
    const grant = { sub, role: role ?? 'user', expires: lifetime } as const;
    const issuer = issuerFor(grant.role, config());
    const now = Date.now();
    const { role: granted } = grant;
    if (address === undefined) {
      const token = await issuer.issue(grant, now);
      const expiresAt = new Date((Math.floor(now / 1000) + lifetime) * 1000).toISOString();
      print(json ? JSON.stringify({ token, sub, role: granted, expires_at: expiresAt }) : token);
    } else {
      const url = signInLink(address, await createSignInCode(issuer.secret, grant, now));
      print(json ? JSON.stringify({ link: url, sub, role: granted }) : url);
    }
    return 0;
  },
});

function parseUserId(text: string): string {
  if (!isUserId(text)) throw new Error('should have 1 to 255 characters and no control characters');
  return text;
}

function parseLifetime(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === 0) throw new Error('should be above 0');
  if (seconds > MAX_LIFETIME_SECONDS) throw new Error('should be at most 90d');
  return seconds;
}

function parseAddress(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text;
  throw new Error('should be an http or https URL, or be given without a value');
}

/** Returns the URL of the address that the server listens on. */
function listenAddress(host: string, port: number): string {
  if (port === 0) throw new UsageError('PORT is 0, so the port is unknown: pass the URL of the server to --link.');
  // a server that listens on all addresses is reachable on the loopback address
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

/** Returns what signs the token: rawlog's own secret, or that of the product if operator tokens are off. */
function issuerFor(role: Role, config: Config): Issuer {
  const secrets = loadSecrets(config);
  if (secrets.generated?.isNew) report(`Generated a new signing secret: ${secrets.generated.path}`);
  const [issuer] = issuersOf(config, secrets);
  if (!issuer) {
    throw new UsageError(
      'OPERATOR_TOKENS is off and this server does not accept HS256: get a token from your identity provider, or set OPERATOR_TOKENS=on.',
    );
  }
  if (!config.operatorTokens && productRole(role, config.jwt) === undefined) {
    throw new UsageError('No viewer role is configured: set JWT_VIEWER_ROLES.');
  }
  return issuer;
}
