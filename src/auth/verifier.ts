import { jwt } from '@elysiajs/jwt';
import {
  decodeJwt,
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
import { OPERATOR_AUDIENCE, OPERATOR_KEY_ID } from '../jwt-keys.ts';
import { isUserId, type Role } from '../records.ts';
import type { RemoteKeys } from './jwks.ts';
import { CODE_USE } from './sign-in-code.ts';
import { claimError, invalidTokenError, toTokenError } from './token-error.ts';

/** Returns whether a caller may read the rows of every user. */
export function canReadAll({ role }: Pick<Principal, 'role'>): boolean {
  return role !== 'user';
}

/** The authenticated caller. */
export interface Principal {
  readonly userId: string;
  readonly role: Role;
  /** Expiry of the token in milliseconds since 1970, exclusive. */
  readonly expiresAt: number;
}

/** The result of verifying a token. */
export interface VerifiedToken {
  readonly principal: Principal;
  /** The time from which the token is valid, in milliseconds since 1970. */
  readonly notBefore: number;
  /** The index of the shared secret that signed the token; undefined for a public key. */
  readonly secretIndex: number | undefined;
}

/** Verifies a token. Throws an {@link ApiError} `unauthorized` or `keys_unavailable`. */
export type Verify = (token: string) => Promise<VerifiedToken>;

/** Maximum length of a token. Bun's limit for all header fields of a request is lower. */
const MAX_TOKEN_LENGTH = 16_384;
/** 9999-12-31T23:59:59Z, the last second that RFC 3339 can express. A later `exp` is not a date. */
const LAST_SECOND = 253_402_300_799;
/** A compact JWS with a signature: three parts of base64url (RFC 7515, section 7.1). */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** The configuration of the verifier, with the secret in use. */
export interface VerifierOptions
  extends Pick<
    Config['jwt'],
    | 'algorithms'
    | 'audiences'
    | 'leewaySeconds'
    | 'maxAgeSeconds'
    | 'issuer'
    | 'publicKey'
    | 'roleClaim'
    | 'adminRoles'
    | 'viewerRoles'
  > {
  /** The shared secrets of product tokens. */
  readonly secrets: readonly string[];
  /** The secrets of operator tokens; none if they are not accepted. */
  readonly operatorSecrets: readonly string[];
  readonly remoteKeys: RemoteKeys | undefined;
  /** Returns the time in milliseconds since 1970. */
  readonly now: () => number;
}

/** The keys of one kind of tokens. */
type Keys = Pick<VerifierOptions, 'secrets' | 'publicKey' | 'remoteKeys' | 'algorithms'>;

/** What the claims of one kind of tokens must be, and what they grant. */
type ClaimRules = Pick<
  VerifierOptions,
  'audiences' | 'issuer' | 'leewaySeconds' | 'maxAgeSeconds' | 'roleClaim' | 'adminRoles' | 'viewerRoles'
>;

/** Creates the function that authenticates tokens: those of the product, and operator tokens. */
export async function createVerifier(options: VerifierOptions): Promise<Verify> {
  const { operatorSecrets, leewaySeconds, maxAgeSeconds, now } = options;
  const verifyProduct = await createKindVerifier(options, options);
  const operatorKeys = {
    secrets: operatorSecrets,
    publicKey: undefined,
    remoteKeys: undefined,
    algorithms: ['HS256'],
  } as const;
  const verifyOperator = await createKindVerifier(operatorKeys, {
    ...{ audiences: [OPERATOR_AUDIENCE], issuer: undefined, leewaySeconds, maxAgeSeconds },
    ...{ roleClaim: 'role', adminRoles: ['admin'], viewerRoles: ['viewer'] },
  });
  return async (token) => {
    if (token.length > MAX_TOKEN_LENGTH)
      throw invalidTokenError('malformed', `longer than ${MAX_TOKEN_LENGTH} characters`);
    if (!COMPACT_JWS.test(token) || !isCanonical(token))
      throw invalidTokenError('malformed', 'not a signed JWT in compact form');
    if (operatorSecrets.length === 0 || !isOperatorToken(token)) return verifyProduct(token, now());
    return { ...(await verifyOperator(token, now())), secretIndex: undefined };
  };
}

/**
 * Creates the function that authenticates tokens of one kind, at a time in milliseconds since 1970.
 *
 * The JWT plugin checks signatures and claims. By default it accepts tokens without an expiry, with any HMAC algorithm
 * and for any audience, so every call passes all options.
 */
async function createKindVerifier(
  keys: Keys,
  rules: ClaimRules,
): Promise<(token: string, time: number) => Promise<VerifiedToken>> {
  const { audiences, leewaySeconds, issuer } = rules;
  /** The index of the key that signed each token being verified, so that no key is tried twice; -1 for none. */
  const signers = new Map<string, number>();
  const findKey = await createKeyFinder(keys, signers);
  // The plugin passes its secret to jose unchanged, and jose also accepts a function that chooses the key for each
  // token. The plugin's types do not allow that.
  const plugin = jwt({ name: 'jwt', secret: findKey as unknown as CryptoKey }).decorator.jwt;

  return async (token, time) => {
    const verifyOptions: JWTVerifyOptions = {
      algorithms: keys.algorithms.flatMap((algorithm) => (algorithm === 'EdDSA' ? ['EdDSA', 'Ed25519'] : algorithm)),
      requiredClaims: ['exp'],
      clockTolerance: leewaySeconds, // jose applies it to "exp" too, so principalOf checks "exp" again without it
      currentDate: new Date(time),
      ...(audiences !== undefined && { audience: [...audiences] }),
      ...(issuer !== undefined && { issuer }),
    };
    try {
      const claims = (await plugin.verify(token, verifyOptions)) || (await verifyWithReason(token, verifyOptions));
      return {
        principal: principalOf(claims, time, rules),
        notBefore: typeof claims.nbf === 'number' ? (claims.nbf - leewaySeconds) * 1000 : 0,
        secretIndex: decodeProtectedHeader(token).alg === 'HS256' ? (signers.get(token) ?? 0) : undefined,
      };
    } finally {
      signers.delete(token);
    }
  };

  /** Verifies a token with jose, because the plugin rejects it without a reason. */
  async function verifyWithReason(token: string, verifyOptions: JWTVerifyOptions): Promise<JWTPayload> {
    try {
      return (await jwtVerify(token, findKey, verifyOptions)).payload;
    } catch (error) {
      throw error instanceof ApiError ? error : toTokenError(error);
    }
  }
}

/**
 * Returns whether a token claims to be an operator token. Only rawlog's own secrets verify such a token, and they verify
 * no others.
 */
function isOperatorToken(token: string): boolean {
  try {
    const { alg, kid } = decodeProtectedHeader(token);
    return alg === 'HS256' && kid === OPERATOR_KEY_ID && decodeJwt(token).aud === OPERATOR_AUDIENCE;
  } catch {
    return false;
  }
}

/**
 * Creates the function that returns the key for a token. It chooses keys by the algorithm in the token's header, so that
 * a key is never used with another algorithm: a public key must not work as an HMAC secret. If several keys match, it
 * returns the one that verifies the signature.
 */
async function createKeyFinder({ secrets, publicKey, remoteKeys, algorithms }: Keys, signers: Map<string, number>) {
  const keys = new Map<string, CryptoKey[]>();
  if (secrets.length > 0) {
    const algorithm = { name: 'HMAC', hash: 'SHA-256' };
    const importSecret = (text: string) =>
      crypto.subtle.importKey('raw', new TextEncoder().encode(text), algorithm, false, ['verify']);
    keys.set('HS256', await Promise.all(secrets.map(importSecret)));
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

/** Returns the index of the key that signed a token; -1 for none. */
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

/** Returns whether a token is canonical base64url, so that no two different texts are the same token. */
function isCanonical(token: string): boolean {
  return token.split('.').every((part) => Buffer.from(part, 'base64url').toString('base64url') === part);
}

/**
 * Returns the principal of a token with a valid signature, after checking the claims that jose does not check.
 *
 * @param time milliseconds since 1970
 */
function principalOf(
  claims: JWTPayload,
  time: number,
  { maxAgeSeconds, ...roles }: Pick<VerifierOptions, 'maxAgeSeconds' | 'roleClaim' | 'adminRoles' | 'viewerRoles'>,
): Principal {
  const { exp, sub } = claims;
  if (claims['use'] === CODE_USE) throw claimError('claims', 'Invalid token: it is the code of a sign-in link');
  if (typeof exp !== 'number' || !(exp <= LAST_SECOND))
    throw claimError('claims', 'Invalid token: "exp" is not a date');
  if (exp * 1000 <= time) throw claimError('expired', 'Token has expired');
  if (maxAgeSeconds !== undefined && exp > Math.ceil(time / 1000) + maxAgeSeconds) {
    throw claimError('claims', 'Invalid token: "exp" is too far in the future');
  }
  if (typeof sub !== 'string' || sub === '') throw claimError('claims', 'User ID not found in token');
  if (!isUserId(sub)) {
    throw claimError('claims', 'Invalid token: "sub" is longer than 255 characters or has control characters');
  }
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

/** Returns the claim with that exact name, which may contain dots; otherwise the value at that path of claims. */
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
