import { jwt } from '@elysiajs/jwt';
import { errors, importSPKI, type JWTHeaderParameters, type JWTPayload, type JWTVerifyOptions, jwtVerify } from 'jose';
import type { Config } from '../config.ts';
import { Failure } from '../errors.ts';
import { isUserId, type Role } from '../records.ts';
import type { RemoteKeys } from './jwks.ts';
import { CODE_USE } from './sign-in-code.ts';

/** Returns whether a caller may read the rows of every user. */
export function readsAll({ role }: Pick<Principal, 'role'>): boolean {
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
}

/** Verifies a token; throws a {@link Failure} `unauthorized`, or `keys_unavailable`. */
export type Verify = (token: string) => Promise<VerifiedToken>;

/** Tokens of real issuers have 0.3 to 3 KB. */
const MAX_TOKEN_LENGTH = 8192;
/** 9999-12-31T23:59:59Z, the last second that RFC 3339 can write: a later `exp` is no date. */
const LAST_SECOND = 253_402_300_799;
/** A compact JWS with a signature: three parts of base64url (RFC 7515, section 7.1). */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** What the verifier needs of the configuration, with the secret that is really in use. */
export interface VerifierOptions
  extends Pick<Config['jwt'], 'algorithms' | 'audience' | 'issuer' | 'publicKey' | 'adminRoles' | 'viewerRoles'> {
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
  const { algorithms, audience, issuer, now } = options;
  const findKey = await createKeyFinder(options);
  // The plugin hands its secret to jose as it is, and jose takes a function there: a key for each
  // token, chosen by its algorithm. Only the plugin's types do not say so.
  const plugin = jwt({ name: 'jwt', secret: findKey as unknown as CryptoKey }).decorator.jwt;

  return async (token) => {
    if (token.length > MAX_TOKEN_LENGTH) throw invalid(`longer than ${MAX_TOKEN_LENGTH} characters`);
    if (!COMPACT_JWS.test(token) || !isCanonical(token)) throw invalid('not a signed JWT in compact form');
    const pinned: JWTVerifyOptions = {
      algorithms: [...algorithms],
      requiredClaims: ['exp'],
      clockTolerance: 0,
      currentDate: new Date(now()),
      ...(audience !== undefined && { audience }),
      ...(issuer !== undefined && { issuer }),
    };
    const claims = (await plugin.verify(token, pinned)) || (await explain(token, pinned));
    return {
      principal: principalOf(claims, options),
      notBefore: typeof claims.nbf === 'number' ? claims.nbf * 1000 : 0,
    };
  };

  /** The plugin says no without a reason: asks jose, which it is built on, for the reason. */
  async function explain(token: string, pinned: JWTVerifyOptions): Promise<JWTPayload> {
    try {
      return (await jwtVerify(token, findKey, pinned)).payload;
    } catch (error) {
      throw error instanceof Failure ? error : reasonOf(error);
    }
  }
}

/**
 * Chooses the key by the algorithm that a token claims, so that a key never serves for an algorithm
 * that it was not made for: a public key is no HMAC secret.
 */
async function createKeyFinder({ secret, publicKey, remoteKeys, algorithms }: VerifierOptions) {
  const keys = new Map<string, CryptoKey>();
  if (secret !== undefined) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const bytes = new TextEncoder().encode(secret);
    keys.set('HS256', await crypto.subtle.importKey('raw', bytes, algorithm, false, ['verify']));
  }
  if (publicKey) {
    const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
    for (const algorithm of algorithms) {
      if (algorithm !== 'HS256') keys.set(algorithm, await importSPKI(pem, algorithm));
    }
  }
  return async (header: JWTHeaderParameters): Promise<CryptoKey> => {
    const key = keys.get(header.alg);
    if (key) return key;
    if (remoteKeys && header.alg !== 'HS256') return remoteKeys.find(header);
    throw new errors.JOSEAlgNotAllowed();
  };
}

/** Every byte of a token counts: a base64url text that decodes to the same bytes as another is refused. */
function isCanonical(token: string): boolean {
  return token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

function principalOf(
  claims: { sub?: unknown; exp?: unknown; nbf?: unknown; role?: unknown; use?: unknown },
  roles: Pick<VerifierOptions, 'adminRoles' | 'viewerRoles'>,
): Principal {
  if (claims.use === CODE_USE) throw invalid('it is the code of a sign-in link');
  if (typeof claims.exp !== 'number' || !(claims.exp <= LAST_SECOND)) throw invalid('"exp" is not a date');
  if (typeof claims.sub !== 'string' || claims.sub === '') {
    throw new Failure('unauthorized', { message: 'User ID not found in token' });
  }
  if (!isUserId(claims.sub)) throw invalid('"sub" is longer than 255 characters or has control characters');
  return { userId: claims.sub, role: roleOf(claims.role, roles), expiresAt: claims.exp * 1000 };
}

function roleOf(
  claim: unknown,
  { adminRoles, viewerRoles }: Pick<VerifierOptions, 'adminRoles' | 'viewerRoles'>,
): Role {
  if (typeof claim !== 'string') return 'user';
  if (adminRoles.includes(claim)) return 'admin';
  return viewerRoles.includes(claim) ? 'viewer' : 'user';
}

function invalid(reason: string, cause?: unknown): Failure {
  return new Failure('unauthorized', { message: `Invalid token: ${reason}`, cause });
}

/** Puts jose's refusal into the words of the contract. Nothing of the token is repeated. */
function reasonOf(error: unknown): Failure {
  if (error instanceof errors.JWTExpired) return new Failure('unauthorized', { message: 'Token has expired' });
  if (error instanceof errors.JWTClaimValidationFailed) {
    const missing = error.reason === 'missing';
    const claim = ['aud', 'iss', 'exp', 'nbf', 'iat'].find((name) => name === error.claim) ?? 'a claim';
    return invalid(missing ? `"${claim}" is missing` : `"${claim}" does not fit`, error);
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return invalid('its algorithm is not accepted here', error);
  if (error instanceof errors.JWSSignatureVerificationFailed) return invalid('signature verification failed', error);
  if (error instanceof errors.JWKSNoMatchingKey) return invalid('it is signed with a key that is not known', error);
  if (error instanceof errors.JWKSMultipleMatchingKeys) return invalid('it does not say which key signed it', error);
  if (error instanceof errors.JOSEError) return invalid('it is malformed', error);
  // WebCrypto's own errors: a key of the key set that cannot be used
  return invalid('it does not fit the key', error);
}
