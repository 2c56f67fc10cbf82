import { jwt } from '@elysiajs/jwt';
import {
  decodeProtectedHeader,
  errors,
  type FlattenedJWSInput,
  flattenedVerify,
  importSPKI,
  type JWTHeaderParameters,
  type JWTPayload,
  type JWTVerifyOptions,
  jwtVerify,
} from 'jose';
import type { Config } from '../config.ts';
import { ApiError } from '../errors.ts';
import { isUserId, type Role } from '../records.ts';
import type { RemoteKeys } from './jwks.ts';
import { CODE_USE } from './sign-in-code.ts';

/** Returns whether a caller may read the rows of every user. */
export function canReadAll({ role }: Pick<Principal, 'role'>): boolean {
  return role !== 'user';
}

/** The authenticated caller. */
export interface Principal {
  readonly userId: string;
  readonly role: Role;
  /** Until when the token says so, in milliseconds since 1970: before this time, not at it. */
  readonly expiresAt: number;
}

/** A token that has verified: whose it is, and from when on, in milliseconds since 1970. */
export interface VerifiedToken {
  readonly principal: Principal;
  readonly notBefore: number;
  /** The place of the shared secret that signed it, from 0; undefined for a public key. */
  readonly secretIndex: number | undefined;
}

/** Verifies a token; throws a {@link ApiError} `unauthorized`, or `keys_unavailable`. */
export type Verify = (token: string) => Promise<VerifiedToken>;

/** More than Bun accepts for all header fields of a request. */
const MAX_TOKEN_LENGTH = 16_384;
/** 9999-12-31T23:59:59Z, the last second that RFC 3339 can write: a later `exp` is no date. */
const LAST_SECOND = 253_402_300_799;
/** A compact JWS with a signature: three parts of base64url (RFC 7515, section 7.1). */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** What the verifier needs of the configuration, with the secret that is really in use. */
export interface VerifierOptions
  extends Pick<
    Config['jwt'],
    | 'formerSecrets'
    | 'algorithms'
    | 'audiences'
    | 'leeway'
    | 'maxAge'
    | 'issuer'
    | 'publicKey'
    | 'roleClaim'
    | 'adminRoles'
    | 'viewerRoles'
  > {
  readonly secret: string | undefined;
  readonly remoteKeys: RemoteKeys | undefined;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

/**
 * Makes the one function that decides whom a token belongs to.
 *
 * The JWT plugin checks signature and claims. Left to its defaults it takes tokens without an
 * expiry, of any HMAC algorithm and for any audience, so every option is given on every call.
 */
export async function createVerifier(options: VerifierOptions): Promise<Verify> {
  const { algorithms, audiences, leeway, issuer, now } = options;
  /** Which of several keys has signed a token under verification; -1 for none. No key is tried twice. */
  const signers = new Map<string, number>();
  const findKey = await createKeyFinder(options, signers);
  // The plugin hands its secret to jose as it is, and jose takes a function there: a key for each
  // token, chosen by its algorithm. Only the plugin's types do not say so.
  const plugin = jwt({ name: 'jwt', secret: findKey as unknown as CryptoKey }).decorator.jwt;

  return async (token) => {
    if (token.length > MAX_TOKEN_LENGTH) throw invalid(`longer than ${MAX_TOKEN_LENGTH} characters`);
    if (!COMPACT_JWS.test(token) || !isCanonical(token)) throw invalid('not a signed JWT in compact form');
    const time = now();
    const pinned: JWTVerifyOptions = {
      algorithms: algorithms.flatMap((algorithm) => (algorithm === 'EdDSA' ? ['EdDSA', 'Ed25519'] : algorithm)),
      requiredClaims: ['exp'],
      clockTolerance: leeway, // for "exp" too, which principalOf checks again without it
      currentDate: new Date(time),
      ...(audiences !== undefined && { audience: [...audiences] }),
      ...(issuer !== undefined && { issuer }),
    };
    try {
      const claims = (await plugin.verify(token, pinned)) || (await explain(token, pinned));
      return {
        principal: principalOf(claims, time, options),
        notBefore: typeof claims.nbf === 'number' ? (claims.nbf - leeway) * 1000 : 0,
        secretIndex: decodeProtectedHeader(token).alg === 'HS256' ? (signers.get(token) ?? 0) : undefined,
      };
    } finally {
      signers.delete(token);
    }
  };

  /** The plugin says no without a reason: asks jose, which it is built on, for the reason. */
  async function explain(token: string, pinned: JWTVerifyOptions): Promise<JWTPayload> {
    try {
      return (await jwtVerify(token, findKey, pinned)).payload;
    } catch (error) {
      throw error instanceof ApiError ? error : reasonOf(error);
    }
  }
}

/**
 * Chooses the key by the algorithm that a token claims, so that a key never serves for an algorithm
 * that it was not made for: a public key is no HMAC secret. Of several keys that fit, it is the one that verifies.
 */
async function createKeyFinder(
  { secret, formerSecrets, publicKey, remoteKeys, algorithms }: VerifierOptions,
  signers: Map<string, number>,
) {
  const keys = new Map<string, CryptoKey[]>();
  if (secret !== undefined) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const importSecret = (text: string) =>
      crypto.subtle.importKey('raw', new TextEncoder().encode(text), algorithm, false, ['verify']);
    keys.set('HS256', await Promise.all([secret, ...formerSecrets].map(importSecret)));
  }
  if (publicKey) {
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    for (const algorithm of algorithms) {
      if (algorithm !== 'HS256') keys.set(algorithm, [await importSPKI(pem, algorithm)]);
    }
  }

  async function candidatesFor(header: JWTHeaderParameters): Promise<readonly CryptoKey[]> {
    const algorithm = header.alg === 'Ed25519' ? 'EdDSA' : header.alg; // RFC 9864
    const known = keys.get(algorithm);
    if (known) return known;
    if (remoteKeys && algorithm !== 'HS256') return remoteKeys.find({ ...header, alg: algorithm });
    throw new errors.JOSEAlgNotAllowed();
  }

  return async (header: JWTHeaderParameters, jws: FlattenedJWSInput): Promise<CryptoKey> => {
    const candidates = await candidatesFor(header);
    const token = `${jws.protected}.${jws.payload}.${jws.signature}`;
    const index = candidates.length === 1 ? 0 : (signers.get(token) ?? (await indexOfSigner(candidates, jws)));
    if (candidates.length > 1) signers.set(token, index);
    const key = candidates[index];
    if (!key) throw new errors.JWSSignatureVerificationFailed();
    return key;
  };
}

/** Returns the place of the key that signed a token; -1 for none. */
async function indexOfSigner(keys: readonly CryptoKey[], jws: FlattenedJWSInput): Promise<number> {
  for (const [i, key] of keys.entries()) if (await isSignedBy(key, jws)) return i;
  return -1;
}

async function isSignedBy(key: CryptoKey, jws: FlattenedJWSInput): Promise<boolean> {
  try {
    await flattenedVerify(jws, key);
    return true;
  } catch {
    return false;
  }
}

/** Every byte of a token counts: a base64url text that decodes to the same bytes as another is refused. */
function isCanonical(token: string): boolean {
  return token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

/**
 * Checks the claims that jose does not, of a token whose signature verifies.
 *
 * @param time milliseconds since 1970
 */
function principalOf(
  claims: JWTPayload,
  time: number,
  { maxAge, ...roles }: Pick<VerifierOptions, 'maxAge' | 'roleClaim' | 'adminRoles' | 'viewerRoles'>,
): Principal {
  const { exp, sub } = claims;
  if (claims['use'] === CODE_USE) throw signed('Invalid token: it is the code of a sign-in link');
  if (typeof exp !== 'number' || !(exp <= LAST_SECOND)) throw signed('Invalid token: "exp" is not a date');
  if (exp * 1000 <= time) throw signed('Token has expired');
  if (maxAge !== undefined && exp > Math.ceil(time / 1000) + maxAge) {
    throw signed('Invalid token: "exp" is further ahead than this server accepts');
  }
  if (typeof sub !== 'string' || sub === '') throw signed('User ID not found in token');
  if (!isUserId(sub)) throw signed('Invalid token: "sub" is longer than 255 characters or has control characters');
  return { userId: sub, role: roleOf(claims, roles), expiresAt: exp * 1000 };
}

function roleOf(
  claims: JWTPayload,
  { roleClaim, adminRoles, viewerRoles }: Pick<VerifierOptions, 'roleClaim' | 'adminRoles' | 'viewerRoles'>,
): Role {
  const role = claimAt(claims, roleClaim);
  if (typeof role !== 'string') return 'user';
  if (adminRoles.includes(role)) return 'admin';
  return viewerRoles.includes(role) ? 'viewer' : 'user';
}

/** Returns the claim of that name, which may contain dots, or else the one at that path of own properties. */
function claimAt(claims: JWTPayload, name: string): unknown {
  if (Object.hasOwn(claims, name)) return claims[name];
  let value: unknown = claims;
  for (const key of name.split('.')) {
    if (typeof value !== 'object' || value === null || Array.isArray(value) || !Object.hasOwn(value, key)) {
      return undefined;
    }
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** The rejection of a token whose signature verifies. */
function signed(message: string, cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message, isSigned: true, cause });
}

function invalid(reason: string, cause?: unknown): ApiError {
  return new ApiError('unauthorized', { message: `Invalid token: ${reason}`, cause });
}

/** Puts jose's refusal into the words of the contract. Nothing of the token is repeated. */
function reasonOf(error: unknown): ApiError {
  if (error instanceof errors.JWTExpired) return signed('Token has expired');
  if (error instanceof errors.JWTClaimValidationFailed) {
    const missing = error.reason === 'missing';
    const claim = ['aud', 'iss', 'exp', 'nbf', 'iat'].find((name) => name === error.claim) ?? 'a claim';
    return signed(`Invalid token: "${claim}" ${missing ? 'is missing' : 'does not fit'}`, error);
  }
  // jose reads the claims once the signature verifies
  if (error instanceof errors.JWTInvalid) return signed('Invalid token: its claims are malformed', error);
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid('its algorithm is not accepted here', error);
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('signature verification failed', error);
  if (error instanceof errors.JWKSNoMatchingKey) return invalid('it is signed with a key that is not known', error);
  if (error instanceof errors.JOSEError) return invalid('it is malformed', error);
  // WebCrypto's own errors: a key of the key set that cannot be used
  return invalid('it does not fit the key', error);
}
