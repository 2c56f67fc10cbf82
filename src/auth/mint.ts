import { SignJWT } from 'jose';
import type { Config } from '../config.ts';

/**
 * Makes a token that a server with the same configuration accepts: HS256, with the configured
 * audience and issuer.
 *
 * @param expires seconds from now on
 * @param now milliseconds since 1970
 */
export function mintToken(
  secret: string,
  { audience, issuer }: Pick<Config['jwt'], 'audience' | 'issuer'>,
  { sub, role, expires, now }: { sub: string; role: string; expires: number; now: number },
): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  const token = new SignJWT({ role })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + expires);
  if (audience !== undefined) token.setAudience(audience);
  if (issuer !== undefined) token.setIssuer(issuer);
  return token.sign(new TextEncoder().encode(secret));
}
