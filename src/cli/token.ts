import { mintToken } from '../auth/mint.ts';
import { ownSecret } from '../auth/secret.ts';
import { isUserId } from '../auth/verifier.ts';
import type { Config } from '../config.ts';
import { parseDuration } from '../duration.ts';
import { type CliCommand, UsageError } from './program.ts';

/** Prints a token for a user, signed with the configured or the own secret. */
export const tokenCommand: CliCommand = {
  name: 'token',
  summary: 'print a JWT for a user, signed with the secret that the server uses',
  options: [
    { form: '--sub <id>', help: 'the user: 1 to 128 characters', required: true },
    { form: '--role <role>', help: 'the role; "admin" may do everything', default: 'authenticated' },
    { form: '--expires <duration>', help: 'how long it is valid, such as 90s, 15m, 1h or 30d', default: '1h' },
  ],
  async run({ config }, { sub = '', role = '', expires = '' }) {
    if (!isUserId(sub)) throw new UsageError('--sub should have 1 to 128 characters and no control characters');
    const seconds = lifetime(expires);
    const { jwt, dataDir } = config();
    const secret = signingSecret(jwt, dataDir);
    console.log(await mintToken(secret, jwt, { sub, role, expires: seconds, now: Date.now() }));
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

function signingSecret({ secret, algorithms }: Config['jwt'], dataDir: string): string {
  if (secret === undefined || !algorithms.includes('HS256')) {
    throw new UsageError('The server takes no HS256 here: tokens come from whoever holds the private key.');
  }
  if (secret !== 'own') return secret;
  const own = ownSecret(dataDir);
  if (own.made) console.error(`There was no secret in ${dataDir}: a new one was made, ${own.path}`);
  return own.secret;
}
