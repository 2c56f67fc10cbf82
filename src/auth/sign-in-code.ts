import { randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { ApiError } from '../errors.ts';
import { isUserId, type Role } from '../records.ts';
import type { Grant, Issuer } from './issuer.ts';

/*
 * Codes of sign-in links. Browsers keep URLs in their history, so a link does not contain a token but a short-lived code
 * that is exchanged for a token once.
 */

/** The value of the `use` claim that distinguishes codes from tokens. */
export const CODE_USE = 'link';

/** An audience that tokens never have, so that other services with the same secret do not accept a code as a token. */
const AUDIENCE = 'rawlog-link';

/** Lifetime of a code. */
export const CODE_LIFETIME_SECONDS = 600;

/** Roles that a code can grant. */
const ROLES: readonly Role[] = ['admin', 'viewer', 'user'];

/** A verified code. */
export interface VerifiedCode extends Grant {
  readonly jti: string;
  /** Milliseconds since 1970. */
  readonly codeExpiresAt: number;
}

/**
 * Creates a sign-in code.
 *
 * @param now milliseconds since 1970
 */
export function createSignInCode(secret: string, { sub, role, expires }: Grant, now: number): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT({ use: CODE_USE, role, session_seconds: expires })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setAudience(AUDIENCE)
    .setJti(randomUUID())
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + CODE_LIFETIME_SECONDS)
    .sign(new TextEncoder().encode(secret));
}

/**
 * Verifies a sign-in code. Does not check whether it has been used.
 *
 * @param issuers those whose codes are accepted
 * @param now milliseconds since 1970
 * @returns the code, and the issuer that signed it
 * @throws {ApiError} `unauthorized`
 */
export async function verifySignInCode(
  issuers: readonly Issuer[],
  code: string,
  now: number,
): Promise<VerifiedCode & { readonly issuer: Issuer }> {
  let failure: unknown;
  for (const issuer of issuers) {
    try {
      return { ...(await verifyWith(issuer.secret, code, now)), issuer };
    } catch (error) {
      failure = error;
      if (!(error instanceof errors.JWSSignatureVerificationFailed)) break; // the other issuers' secrets do not match
    }
  }
  if (failure instanceof errors.JWTExpired) throw signedError('This sign-in link has expired');
  // jose checks the claims only after it has verified the signature
  const isSigned = failure instanceof errors.JWTClaimValidationFailed || failure instanceof errors.JWTInvalid;
  throw failure instanceof ApiError ? failure : invalidError(isSigned, failure);
}

async function verifyWith(secret: string, code: string, now: number): Promise<VerifiedCode> {
  const { payload } = await jwtVerify(code, new TextEncoder().encode(secret), {
    algorithms: ['HS256'],
    audience: AUDIENCE,
    requiredClaims: ['sub', 'jti', 'iat', 'exp'],
    clockTolerance: 0,
    currentDate: new Date(now),
  });
  const { use, sub, jti, iat = 0, exp = 0, role, session_seconds: expires } = payload;
  if (use !== CODE_USE || typeof sub !== 'string' || !isUserId(sub) || typeof role !== 'string')
    throw invalidError(true);
  if (typeof jti !== 'string' || !/^[\w-]{16,64}$/.test(jti)) throw invalidError(true);
  if (!(exp - iat <= CODE_LIFETIME_SECONDS)) throw invalidError(true);
  if (typeof expires !== 'number' || !Number.isSafeInteger(expires) || expires < 1) throw invalidError(true);
  return { sub, role: ROLES.find((name) => name === role) ?? 'user', expires, jti, codeExpiresAt: exp * 1000 };
}

/** Returns the error for a valid code that has already been used. */
export function usedCodeError(): ApiError {
  return signedError('This sign-in link was already used');
}

/** Returns the error for an unacceptable code with a valid signature. */
function signedError(message: string, cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message, isSigned: true, tokenRejection: 'sign_in_link', cause });
}

function invalidError(isSigned: boolean, cause?: unknown): ApiError {
  const message = 'This sign-in link is not valid';
  if (isSigned) return signedError(message, cause);
  return new ApiError('unauthorized', { message, tokenRejection: 'sign_in_link', cause });
}
