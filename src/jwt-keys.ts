import { createPublicKey, type KeyObject } from 'node:crypto';
import { isGuessable } from './formats/sample-secrets.ts';
import { checkSettingText } from './formats/setting-text.ts';

/*
 * The keys that verify tokens, as settings give them.
 */

/** The algorithms that tokens may be signed with, each with the kind of key that it needs. */
export const ALGORITHMS = { HS256: 'secret', RS256: 'RSA', ES256: 'EC P-256', EdDSA: 'Ed25519' } as const;
export type Algorithm = keyof typeof ALGORITHMS;

/** RFC 7518, section 3.2: a key of at least the size of the hash output, 256 bits. */
export const MIN_SECRET_BYTES = 32;

/** Returns what does not fit together between the algorithms and the keys that are given for them, a line each. */
export function keyIssues(
  algorithms: readonly Algorithm[],
  given: { secret: boolean; publicKey: boolean; jwks: boolean },
  publicKey: KeyObject | undefined,
): string[] {
  const issues: string[] = [];
  const asymmetric = algorithms.filter((algorithm) => algorithm !== 'HS256');
  const anyPublic = given.publicKey || given.jwks;
  if (given.publicKey && given.jwks) issues.push('JWT_PUBLIC_KEY and JWT_JWKS_URL exclude each other: give one');
  if (anyPublic && asymmetric.length === 0) {
    issues.push(
      `${given.publicKey ? 'JWT_PUBLIC_KEY' : 'JWT_JWKS_URL'} needs RS256, ES256 or EdDSA among JWT_ALGORITHMS`,
    );
  }
  if (!anyPublic && asymmetric.length > 0) {
    issues.push(`JWT_ALGORITHMS names ${asymmetric.join(', ')}, which needs JWT_PUBLIC_KEY or JWT_JWKS_URL`);
  }
  if (anyPublic && !given.secret && algorithms.includes('HS256')) {
    issues.push('JWT_ALGORITHMS names HS256, which needs JWT_SECRET');
  }
  if (publicKey) {
    for (const algorithm of asymmetric) {
      if (algorithm !== algorithmOf(publicKey)) {
        issues.push(`JWT_ALGORITHMS names ${algorithm}, which needs an ${ALGORITHMS[algorithm]} key in JWT_PUBLIC_KEY`);
      }
    }
  }
  return issues;
}

/** The one algorithm that a public key may verify here, or undefined for a key of another kind. */
function algorithmOf(key: KeyObject): Algorithm | undefined {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'rsa') return 'RS256';
  if (type === 'ec' && details?.namedCurve === 'prime256v1') return 'ES256';
  return type === 'ed25519' ? 'EdDSA' : undefined;
}

/**
 * Parses the secrets of HS256: the first signs, all verify. Commas separate them; in a file, line ends, so that a file
 * may hold a secret that contains a comma.
 *
 * @param acceptGuessable whether published samples and repetitions are accepted
 * @throws {Error} with a message that continues the name of the setting: "should have …"
 */
export function parseSecrets(text: string, isFile: boolean, acceptGuessable: boolean): string[] {
  if (text.includes('-----BEGIN')) throw new Error('is a PEM; a public key belongs in JWT_PUBLIC_KEY');
  const secrets = text.split(isFile ? '\n' : ',');
  for (const secret of secrets) {
    checkSettingText(secret);
    if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
      const where = secrets.length === 1 ? '' : isFile ? ' in every line' : ' on each side of a comma';
      const why = where === '' ? '' : isFile ? ': each line is a secret' : ': a comma separates secrets';
      throw new Error(
        `should have ${MIN_SECRET_BYTES} bytes or more${where}${why}; "openssl rand -base64 48" makes one`,
      );
    }
    if (!acceptGuessable && isGuessable(secret)) {
      throw new Error(
        'is a published sample or a repetition, so anybody can sign tokens; "openssl rand -base64 48" makes a secret, and INSECURE_DEV=on accepts this one',
      );
    }
  }
  return secrets;
}

/**
 * Parses a PEM, also with `\n` written out as in many environment files, or reads one at a path.
 *
 * @throws {Error} as {@link parseSecrets}
 */
export function parsePublicKey(text: string, readFile: (path: string) => string): KeyObject {
  let pem = text;
  if (!pem.includes('-----BEGIN')) {
    try {
      pem = readFile(text);
    } catch {
      throw new Error('is neither a PEM nor a file that can be read');
    }
  }
  pem = pem.replaceAll('\\n', '\n');
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(pem)) throw new Error('is a private key; give the public one');
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch {
    throw new Error('is not a public key in PEM');
  }
  if (algorithmOf(key) === undefined) throw new Error('should be an RSA, an EC P-256 or an Ed25519 key');
  // RFC 7518, section 3.3
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < 2048) {
    throw new Error('should be an RSA key of 2048 bits or more');
  }
  return key;
}

/** Parses a comma-separated list of algorithms. @throws {Error} as {@link parseSecrets} */
export function parseAlgorithms(text: string): Algorithm[] {
  // RFC 9864: EdDSA with the curve that is meant here
  const names = text.split(',').map((name) => (name.trim() === 'Ed25519' ? 'EdDSA' : name.trim()));
  const unknown = names.filter((name) => !Object.hasOwn(ALGORITHMS, name));
  if (unknown.length > 0) throw new Error(`should be a list of ${Object.keys(ALGORITHMS).join(', ')}`);
  return [...new Set(names as Algorithm[])];
}

/** Parses the address of a key set. @throws {Error} as {@link parseSecrets} */
export function parseJwksUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text)) throw new Error('should be an http or https URL');
  if (url.protocol === 'http:' && !isLoopback(url.hostname)) {
    throw new Error('should be an https URL: over http, anybody on the way could put in a key');
  }
  return url;
}

function isLoopback(hostname: string): boolean {
  return /^(?:.+\.)?localhost$|^127\.\d+\.\d+\.\d+$|^\[::1\]$/.test(hostname);
}
