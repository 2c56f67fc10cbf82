import { mintToken } from '../auth/mint.ts';
import { ownSecret } from '../auth/secret.ts';
import type { Config } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { parseDuration } from '../formats/duration.ts';
import { isUserId } from '../records.ts';
import { defineCommand, UsageError } from './command.ts';
import { print, tell } from './output.ts';

/** `--link` without an address: the one that the server listens on. */
const LISTENING = '';

/** Prints a token for a user, signed with the configured or the own secret. */
export const tokenCommand = defineCommand({
  name: 'token',
  summary: 'print a JWT for a user, signed with the secret that the server uses',
  options: {
    sub: { value: '<id>', help: 'the user: 1 to 255 characters', required: true, parse: parseUserId },
    role: {
      value: '<role>',
      help: 'the role; "admin" may do everything',
      default: 'authenticated',
      parse: (text) => text,
    },
    expires: {
      value: '<duration>',
      help: 'how long it is valid, such as 90s, 15m, 1h or 30d',
      default: '1h',
      parse: parseLifetime,
    },
    link: {
      value: '[address]',
      help: 'print a link that opens the dashboard signed in; where the server is not reached by HOST and PORT, with its address, such as https://log.example.com',
      alone: LISTENING,
      parse: parseAddress,
    },
  },
  async run({ config }, { sub, role, expires, link }) {
    const { jwt, dataDir, host, port } = config();
    const address = link === LISTENING ? listeningAddress(host, port) : link;
    const secret = signingSecret(jwt, dataDir);
    const token = await mintToken(secret, jwt, { sub, role, expires, now: Date.now() });
    print(address === undefined ? token : signInLink(address, token));
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
  return seconds;
}

function parseAddress(text: string): string {
  if (/^https?:$/.test(URL.parse(text)?.protocol ?? '')) return text;
  throw new Error('should have an address with http:// or https://, or none');
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
  const own = ownSecret(dataDir);
  if (own.made) tell(`There was no secret in ${dataDir}: a new one was made, ${own.path}`);
  return own.secret;
}
