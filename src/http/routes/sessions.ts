import { Elysia } from 'elysia';
import { mintToken } from '../../auth/mint.ts';
import { used, verifySignInCode } from '../../auth/sign-in-code.ts';
import type { Config } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import type { UsedCodes } from '../../ingest/used-codes.ts';
import { signInCheck } from '../../records.ts';
import type { Session } from '../../responses.ts';
import { readJson } from '../body.ts';
import { sessionRoute } from '../openapi.ts';
import { validate } from '../validation.ts';

/** Largest body, in bytes: a code has less than 4 KB. */
const MAX_BYTES = 16_384;

/** What the route for sessions works with. */
export interface SessionParts {
  /** Returns the secret that `rawlog token` signs with; undefined where tokens come from elsewhere. */
  readonly signingSecret: () => string | undefined;
  readonly jwt: Pick<Config['jwt'], 'audiences' | 'issuer' | 'roleClaim' | 'maxAge'>;
  readonly usedCodes: UsedCodes;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/** The route that exchanges the code of a sign-in link for a token. */
export function sessions({ signingSecret, jwt, usedCodes, now }: SessionParts) {
  return new Elysia({ name: 'sessions' }).post(
    '/api/session',
    async ({ request, set }): Promise<Session> => {
      // the body is too small to be counted
      const { value } = await readJson(request, MAX_BYTES, { grow: () => true });
      const { code } = validate('body', signInCheck, value);
      const secret = signingSecret();
      if (secret === undefined) {
        throw new ApiError('unauthorized', { message: 'This server accepts no sign-in links' });
      }
      const { sub, role, jti, codeExpiresAt, ...grant } = await verifySignInCode(secret, code, now());
      const expires = Math.min(grant.expires, jwt.maxAge ?? grant.expires);
      if (!(await usedCodes.use(jti, codeExpiresAt))) throw used();
      const time = now();
      const token = await mintToken(secret, jwt, { sub, role, expires, now: time });
      set.headers['cache-control'] = 'no-store';
      return { token, user_id: sub, expires_at: new Date((Math.floor(time / 1000) + expires) * 1000).toISOString() };
    },
    { parse: 'none', detail: sessionRoute() },
  );
}
