import { Elysia } from 'elysia';
import type { Issuer } from '../../auth/issuer.ts';
import { usedCodeError, verifySignInCode } from '../../auth/sign-in-code.ts';
import type { Config } from '../../config.ts';
import { ApiError } from '../../errors.ts';
import type { UsedCodes } from '../../ingest/used-codes.ts';
import { signInCheck } from '../../records.ts';
import type { Session } from '../../responses.ts';
import { readJson } from '../body.ts';
import { documentSession } from '../openapi.ts';
import { validate } from '../validation.ts';

/** Largest request body, in bytes. A code is shorter than 4 KB. */
const MAX_BODY_BYTES = 16_384;

/** Dependencies of the session route. */
export interface SessionParts {
  /** Returns the issuers whose codes are accepted; none if tokens are issued elsewhere. */
  readonly issuers: () => readonly Issuer[];
  readonly jwt: Pick<Config['jwt'], 'maxAgeSeconds'>;
  readonly usedCodes: UsedCodes;
  /** Returns the time, in milliseconds since 1970. */
  readonly now: () => number;
}

/** Creates the route that exchanges the code in a sign-in link for a token. */
export function sessionRoutes({ issuers, jwt, usedCodes, now }: SessionParts) {
  return new Elysia({ name: 'sessions' }).post(
    '/api/session',
    async ({ request, set }): Promise<Session> => {
      // the body is too small to need a reservation
      const { value } = await readJson(request, MAX_BODY_BYTES, { grow: () => true });
      const { code } = validate('body', signInCheck, value);
      const accepted = issuers();
      if (accepted.length === 0) {
        throw new ApiError('unauthorized', {
          message: 'This server does not accept sign-in links',
          tokenRejection: 'sign_in_link',
        });
      }
      const { issuer, jti, codeExpiresAt, ...grant } = await verifySignInCode(accepted, code, now());
      const expires = Math.min(grant.expires, jwt.maxAgeSeconds ?? grant.expires);
      if (!(await usedCodes.use(jti, codeExpiresAt))) throw usedCodeError();
      const time = now();
      const token = await issuer.issue({ ...grant, expires }, time);
      set.headers['cache-control'] = 'no-store';
      return {
        token,
        user_id: grant.sub,
        expires_at: new Date((Math.floor(time / 1000) + expires) * 1000).toISOString(),
      };
    },
    { parse: 'none', detail: documentSession() },
  );
}
