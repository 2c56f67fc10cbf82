import { SignJWT } from 'jose';
import type { Config } from '../config.ts';
import { OPERATOR_AUDIENCE, OPERATOR_KEY_ID } from '../jwt-keys.ts';
import type { Role } from '../records.ts';

/** What a token grants. */
export interface Grant {
  readonly sub: string;
  readonly role: Role;
  /** Lifetime of the token in seconds. */
  readonly expires: number;
}

/** Signs tokens that a server with the same configuration accepts. */
export interface Issuer {
  /** The secret, which also signs the codes of sign-in links. */
  readonly secret: string;
  /** @param now milliseconds since 1970 */
  issue(grant: Grant, now: number): Promise<string>;
}

/** The configured claims of product tokens. */
type ProductClaims = Pick<Config['jwt'], 'audiences' | 'issuer' | 'roleClaim' | 'adminRoles' | 'viewerRoles'>;

/**
 * Creates the issuer of operator tokens: signed with rawlog's own secret, for an audience and with a key ID that product
 * tokens do not have, and with the role itself instead of a claim of the product.
 */
export function createOperatorIssuer(secret: string): Issuer {
  return {
    secret,
    issue(grant, now) {
      const role = grant.role === 'user' ? {} : { role: grant.role };
      return begin(role, { alg: 'HS256', typ: 'JWT', kid: OPERATOR_KEY_ID }, grant, now)
        .setAudience(OPERATOR_AUDIENCE)
        .sign(new TextEncoder().encode(secret));
    },
  };
}

/** Creates an issuer of product tokens: HS256, with the configured audience, issuer and role claim. */
export function createProductIssuer(secret: string, claims: ProductClaims): Issuer {
  return {
    secret,
    issue(grant, now) {
      const role = productRole(grant.role, claims) ?? 'authenticated';
      // verification looks up the exact claim name before it tries a path
      const token = begin({ [claims.roleClaim]: role }, { alg: 'HS256', typ: 'JWT' }, grant, now);
      if (claims.audiences?.[0] !== undefined) token.setAudience(claims.audiences[0]);
      if (claims.issuer !== undefined) token.setIssuer(claims.issuer);
      return token.sign(new TextEncoder().encode(secret));
    },
  };
}

/** Returns the value of the role claim that grants a role; undefined if none is configured. */
export function productRole(
  role: Role,
  { adminRoles, viewerRoles }: Pick<ProductClaims, 'adminRoles' | 'viewerRoles'>,
): string | undefined {
  return { admin: adminRoles[0], viewer: viewerRoles[0], user: 'authenticated' }[role];
}

function begin(
  role: Record<string, string>,
  header: { alg: string; typ: string; kid?: string },
  { sub, expires }: Grant,
  now: number,
): SignJWT {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT(role)
    .setProtectedHeader(header)
    .setSubject(sub)
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + expires);
}
