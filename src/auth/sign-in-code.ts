import { randomUUID } from 'node:crypto';
import { errors, jwtVerify, SignJWT } from 'jose';
import { ApiError } from '../errors.ts';
import { isUserId } from '../records.ts';

/*
 * Codes of sign-in links. Browsers keep addresses in their history: a link carries no token, but a code that is
 * exchanged for one, once and soon.
 */

/** The claim that tells a code from a token, in both directions. */
export const CODE_USE = 'link';

/** No token has this audience, so that a code is none even where another service knows the secret. */
const AUDIENCE = 'rawlog-link';

/** How long a code is valid, in seconds. */
export const CODE_LIFETIME = 600;

/** What a code is exchanged for: a token of this user, with this role, for so many seconds. */
export interface SignInGrant {
  readonly sub: string;
  readonly role: string;
  readonly expires: number;
}

/** A code that has verified. */
export interface VerifiedCode extends SignInGrant {
  readonly jti: string;
  /** Milliseconds since 1970. */
  readonly codeExpiresAt: number;
}

/**
 * Creates a sign-in code.
 *
 * @param now milliseconds since 1970
 */
export function createSignInCode(secret: string, { sub, role, expires }: SignInGrant, now: number): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT({ use: CODE_USE, role, session_seconds: expires })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setSubject(sub)
    .setAudience(AUDIENCE)
    .setJti(randomUUID())
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + CODE_LIFETIME)
    .sign(new TextEncoder().encode(secret));
}

/**
 * Verifies a sign-in code. Whether it was used is not its concern.
 *
 * @param now milliseconds since 1970
 * @throws {ApiError} `unauthorized`
 */
export async function verifySignInCode(secret: string, code: string, now: number): Promise<VerifiedCode> {
  const { payload } = await jwtVerify(code, new TextEncoder().encode(secret), {
    algorithms: ['HS256'],
    audience: AUDIENCE,
    requiredClaims: ['sub', 'jti', 'iat', 'exp'],
    clockTolerance: 0,
    currentDate: new Date(now),
  }).catch((error: unknown) => {
    throw error instanceof errors.JWTExpired ? expired() : invalid(error);
  });
  const { use, sub, jti, iat = 0, exp = 0, role, session_seconds: expires } = payload;
  if (use !== CODE_USE || typeof sub !== 'string' || !isUserId(sub) || typeof role !== 'string') throw invalid();
  if (typeof jti !== 'string' || !/^[\w-]{16,64}$/.test(jti) || !(exp - iat <= CODE_LIFETIME)) throw invalid();
  if (typeof expires !== 'number' || !Number.isSafeInteger(expires) || expires < 1) throw invalid();
  return { sub, role, expires, jti, codeExpiresAt: exp * 1000 };
}

/** The error of a code that verifies, but was used before. */
export function used(): ApiError {
  return new ApiError('unauthorized', { message: 'This sign-in link was already used' });
}

function expired(): ApiError {
  return new ApiError('unauthorized', { message: 'This sign-in link has expired' });
}

function invalid(cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message: 'This sign-in link is not valid', cause });
}
