import { createPublicKey, type KeyObject } from 'node:crypto';
import { isGuessable } from './formats/sample-secrets.ts';
import { checkSettingText } from './formats/setting-text.ts';

/*
 * The settings of the keys that verify tokens.
 */

/** The accepted signing algorithms, each with the kind of key that it requires. */
export const ALGORITHMS = { HS256: 'secret', RS256: 'RSA', ES256: 'EC P-256', EdDSA: 'Ed25519' } as const;
export type Algorithm = keyof typeof ALGORITHMS;

/** The audience of operator tokens, which are signed with rawlog's own secret. JWT_AUDIENCE must not contain it. */
export const OPERATOR_AUDIENCE = 'rawlog';
/** The key ID of operator tokens. */
export const OPERATOR_KEY_ID = 'rawlog-operator';

/** Minimum length of an HS256 secret: the size of the hash output, 256 bits (RFC 7518, section 3.2). */
export const MIN_SECRET_BYTES = 32;

/** Returns the conflicts between the algorithms and the configured keys, one message per conflict. */
export function keyIssues(
  algorithms: readonly Algorithm[],
  configured: { secret: boolean; publicKey: boolean; jwks: boolean },
  publicKey: KeyObject | undefined,
): string[] {
  const issues: string[] = [];
  const asymmetric = algorithms.filter((algorithm) => algorithm !== 'HS256');
  const hasPublicKey = configured.publicKey || configured.jwks;
  if (configured.publicKey && configured.jwks) {
    issues.push('JWT_PUBLIC_KEY and JWT_JWKS_URL are mutually exclusive: set only one');
  }
  if (hasPublicKey && asymmetric.length === 0) {
    issues.push(
      `${configured.publicKey ? 'JWT_PUBLIC_KEY' : 'JWT_JWKS_URL'} requires RS256, ES256 or EdDSA in JWT_ALGORITHMS`,
    );
  }
  if (!hasPublicKey && asymmetric.length > 0) {
    issues.push(`JWT_ALGORITHMS contains ${asymmetric.join(', ')}, which requires JWT_PUBLIC_KEY or JWT_JWKS_URL`);
  }
  if (hasPublicKey && !configured.secret && algorithms.includes('HS256')) {
    issues.push('JWT_ALGORITHMS contains HS256, which requires JWT_SECRET');
  }
  if (publicKey) {
    for (const algorithm of asymmetric) {
      if (algorithm !== algorithmOf(publicKey)) {
        issues.push(
          `JWT_ALGORITHMS contains ${algorithm}, which requires an ${ALGORITHMS[algorithm]} key in JWT_PUBLIC_KEY`,
        );
      }
    }
  }
  return issues;
}

/** Returns the algorithm that a public key may verify, or undefined for an unsupported kind of key. */
function algorithmOf(key: KeyObject): Algorithm | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') return 'RS256';
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256';
  return type === 'ed25519' ? 'EdDSA' : undefined;
}

/**
 * Parses the shared secrets for HS256. The first signs, all verify. They are separated by commas, or in a file by
 * newlines, which allows secrets that contain a comma.
 *
 * @param acceptGuessable whether published samples and repeated patterns are accepted
 * @throws {Error} with a message that completes a sentence starting with the setting's name: "should have …"
 */
export function parseSecrets(text: string, isFile: boolean, acceptGuessable: boolean): string[] {
  if (text.includes('-----BEGIN')) throw new Error('contains a PEM-encoded key; set a public key in JWT_PUBLIC_KEY');
  const secrets = text.split(isFile ? '\n' : ',');
  for (const secret of secrets) {
    checkSettingText(secret);
    if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
      const where = secrets.length === 1 ? '' : isFile ? ' on each line' : ' on each side of a comma';
      const why = where === '' ? '' : isFile ? ': each line is a secret' : ': a comma separates secrets';
      throw new Error(
        `should have at least ${MIN_SECRET_BYTES} bytes${where}${why}; generate one with "openssl rand -base64 48"`,
      );
    }
    if (!acceptGuessable && isGuessable(secret)) {
      throw new Error(
        'is a published sample or repeats a short text, so anyone could guess it; generate a secret with "openssl rand -base64 48", or set INSECURE_DEV=on for development',
      );
    }
  }
  return secrets;
}

/**
 * Parses a PEM, or reads it from a path. Newlines may be escaped as `\n`, as in many environment files.
 *
 * @throws {Error} as {@link parseSecrets} does
 */
export function parsePublicKey(text: string, readFile: (path: string) => string): KeyObject {
  let pem = text;
  if (!pem.includes('-----BEGIN')) {
    try {
      pem = readFile(text);
    } catch {
      throw new Error('is neither a PEM-encoded key nor the path of a readable file');
    }
  }
  pem = pem.replaceAll('\\n', '\n');
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new Error('is a private key; set the public key instead');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error('is not a PEM-encoded public key');
  }
  if (algorithmOf(key) === undefined) throw new Error('should be an RSA, EC P-256 or Ed25519 key');
  // RFC 7518, section 3.3
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new Error('should be an RSA key of 2048 bits or more');
  }
  return key;
}

/**
 * Parses a comma-separated list of algorithms.
 *
 * @throws {Error} as {@link parseSecrets} does
 */
export function parseAlgorithms(text: string): Algorithm[] {
  // RFC 9864: Ed25519 is EdDSA with the curve that is supported here
  const names = text.split(',').map((name) => (name.trim() === 'Ed25519' ? 'EdDSA' : name.trim()));
  const unknown = names.filter((name) => !Object.hasOwn(ALGORITHMS, name));
  if (unknown.length > 0) throw new Error(`should be a list of ${Object.keys(ALGORITHMS).join(', ')}`);
  return [...new Set(names as Algorithm[])];
}

/**
 * Parses the URL of a key set.
 *
 * @throws {Error} as {@link parseSecrets} does
 */
export function parseJwksUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text)) throw new Error('should be an http or https URL');
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new Error('should be an https URL: over http, an attacker on the network could insert a key');
  }
  return url;
}

function isLoopback(hostname: string): boolean {
  return /^(?:.+\.)?localhost$|^127\.\d+\.\d+\.\d+$|^\[::1\]$/.test(hostname);
}
