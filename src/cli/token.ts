import { mintToken } from '../auth/mint.ts';
import { ownSecret } from '../auth/secret.ts';
import type { Config } from '../config.ts';
import { signInLink } from '../dashboard/link.ts';
import { parseDuration } from '../formats/duration.ts';
import { isUserId } from '../records.ts';
import { type CliCommand, UsageError } from './command.ts';

/** Prints a token for a user, signed with the configured or the own secret. */
export const tokenCommand: CliCommand = {
  name: 'token',
  summary: 'print a JWT for a user, signed with the secret that the server uses',
  options: [
    { form: '--sub <id>', help: 'the user: 1 to 255 characters', required: true },
    { form: '--role <role>', help: 'the role; "admin" may do everything', default: 'authenticated' },
    { form: '--expires <duration>', help: 'how long it is valid, such as 90s, 15m, 1h or 30d', default: '1h' },
    {
      form: '--link [address]',
      help: 'print a link that opens the dashboard signed in; where the server is not reached by HOST and PORT, with its address, such as https://log.example.com',
    },
  ],
  async run({ config }, { sub = '', role = '', expires = '', link }) {
    if (!isUserId(sub)) throw new UsageError('--sub should have 1 to 255 characters and no control characters');
    const seconds = lifetime(expires);
    const { jwt, dataDir, host, port } = config();
    const address = link === undefined ? undefined : reachedAt(link, host, port);
    const secret = signingSecret(jwt, dataDir);
    const token = await mintToken(secret, jwt, { sub, role, expires: seconds, now: Date.now() });
    console.log(address === undefined ? token : signInLink(address, token));
    return 0;
  },
};

function lifetime(text: string): number {
  try {
    const seconds = parseDuration(text);
    if (seconds > 0) return seconds;
  } catch {
    // said below
  }
  throw new UsageError('--expires should be a number above 0 with s, m, h or d behind it, such as 90s or 1h');
}

/** The address of the server: the one that is given, or the one that it listens on. */
function reachedAt(given: string, host: string, port: number): string {
  if (given !== '') {
    if (/^https?:$/.test(URL.parse(given)?.protocol ?? '')) return given;
    throw new UsageError('--link should have an address with http:// or https://, or none');
  }
  if (port === 0) throw new UsageError('PORT is 0, so the port is not known: give --link the address of the server');
  // a server that listens on all addresses is also there on this machine's own
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

function signingSecret({ secret, algorithms }: Config['jwt'], dataDir: string): string {
  if (secret === undefined || !algorithms.includes('HS256')) {
    throw new UsageError('The server takes no HS256 here: tokens come from whoever holds the private key.');
  }
  if (secret !== 'own') return secret;
  const own = ownSecret(dataDir);
  if (own.made) console.error(`There was no secret in ${dataDir}: a new one was made, ${own.path}`);
  return own.secret;
}
