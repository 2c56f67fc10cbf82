import { generatedSecret } from '../auth/generated-secret.ts';
import { mintToken } from '../auth/mint.ts';
import { createSignInCode } from '../auth/sign-in-code.ts';
import type { Config } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { parseDuration } from '../formats/duration.ts';
import { isUserId } from '../records.ts';
import { type CommandOptions, defineCommand, oneOf, UsageError } from './command.ts';
import { print, report } from './output.ts';

/** Roles that mean something; without one, a token is a user's. */
const ROLES = ['admin', 'viewer'] as const;

/** The longest that a token may be valid, in seconds: 90 days. */
const MAX_LIFETIME = 90 * 86_400;

/** `--link` without an address: the one that the server listens on. */
const LISTENING = '';

const OPTIONS = {
  sub: { value: '<id>', help: 'the user: 1 to 255 characters', required: true, parse: parseUserId },
  role: {
    value: '<role>',
    help: 'admin: may do everything; viewer: reads everything; default: a user, for its own rows',
    parse: oneOf(ROLES),
  },
  expires: {
    value: '<duration>',
    help: 'how long it is valid, such as 90s, 15m, 1h or 30d; at most 90d',
    default: '1h',
    parse: parseLifetime,
  },
  link: {
    value: '[address]',
    help: 'print a link that opens the dashboard signed in, once and within 10 minutes; where the server is not reached by HOST and PORT, with its address, such as https://log.example.com',
    alone: LISTENING,
    parse: parseAddress,
  },
} satisfies CommandOptions;

/** Prints a token for a user, signed with the configured or the own secret. */
export const tokenCommand = defineCommand({
  name: 'token',
  summary: 'print a JWT for a user, signed with the secret that the server uses',
  options: OPTIONS,
  async run({ config }, { sub, role, expires, link }) {
    const { jwt, dataDir, host, port } = config();
    const address = link === LISTENING ? listeningAddress(host, port) : link;
    if (jwt.maxAge !== undefined && expires > jwt.maxAge) {
      throw new UsageError('--expires is longer than JWT_MAX_AGE: the server would not accept the token');
    }
    const secret = signingSecret(jwt, dataDir);
    const grant = { sub, role: roleClaim(role, jwt), expires };
    const now = Date.now();
    if (address === undefined) print(await mintToken(secret, jwt, { ...grant, now }));
    else print(signInLink(address, await createSignInCode(secret, grant, now)));
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
  if (seconds > MAX_LIFETIME) throw new Error('should be at most 90d');
  return seconds;
}

function parseAddress(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text;
  throw new Error('should have an address with http:// or https://, or none');
}

/** Returns the value of the role claim that the server takes for a role. */
function roleClaim(role: (typeof ROLES)[number] | undefined, { adminRoles, viewerRoles }: Config['jwt']): string {
  if (role === undefined) return 'authenticated';
  const [claim] = role === 'admin' ? adminRoles : viewerRoles;
  if (claim === undefined) throw new UsageError('No role makes a viewer here: set JWT_VIEWER_ROLES.');
  return claim;
}

/** The address that the server listens on. */
function listeningAddress(host: string, port: number): string {
  if (port === 0) throw new UsageError('PORT is 0, so the port is not known: give --link the address of the server');
  // a server that listens on all addresses also listens on the loopback address
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

function signingSecret({ secret, algorithms }: Config['jwt'], dataDir: string): string {
  if (secret === undefined || !algorithms.includes('HS256')) {
    throw new UsageError('The server takes no HS256 here: tokens come from whoever holds the private key.');
  }
  if (secret !== 'own') return secret;
  const own = generatedSecret(dataDir);
  if (own.made) report(`There was no secret in ${dataDir}: a new one was made, ${own.path}`);
  return own.secret;
}
