import { SignJWT } from 'jose';
import type { Config } from '../config.ts';

/**
 * Creates a token that a server with the same configuration accepts: HS256, with the configured audience, issuer and
 * role claim.
 *
 * @param expires lifetime in seconds
 * @param now milliseconds since 1970
 */
export function mintToken(
  secret: string,
  { audiences, issuer, roleClaim }: Pick<Config['jwt'], 'audiences' | 'issuer' | 'roleClaim'>,
  { sub, role, expires, now }: { sub: string; role: string; expires: number; now: number },
): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  const token = new SignJWT({ [roleClaim]: role }) // verification looks up the exact claim name before it tries a path
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + expires);
  if (audiences?.[0] !== undefined) token.setAudience(audiences[0]);
  if (issuer !== undefined) token.setIssuer(issuer);
  return token.sign(new TextEncoder().encode(secret));
}
