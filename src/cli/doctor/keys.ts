import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { jwksProblem } from '../../auth/jwks.ts';
import type { Config } from '../../config.ts';
import { isGuessable, isPublished } from '../../formats/sample-secrets.ts';
import { MIN_SECRET_BYTES } from '../../jwt-keys.ts';
import { type ConfigSources, settingText } from '../../settings.ts';
import { durationText } from '../units.ts';
import { type Finding, problemsOf } from './finding.ts';

/** Remaining lifetime of a certificate below which it is worth a reminder, in milliseconds. */
const EXPIRES_SOON_MS = 30 * 86_400_000;
const GENERATE = 'Generate one with "openssl rand -base64 48", and restart the server.';

/**
 * Checks the keys that verify tokens. Settings that no server would accept have been rejected before: this finds keys that
 * are weak although accepted, and keys that the settings only refer to.
 */
export async function checkKeys({ jwt, insecureDev, dataDir }: Config, sources: ConfigSources): Promise<Finding[]> {
  const problem = problemsOf('keys');
  const findings: Finding[] = [];
  if (insecureDev) {
    const secrets = jwt.secret === 'generated' ? [] : [jwt.secret ?? [], jwt.formerSecrets].flat();
    findings.push(
      secrets.some(isGuessable)
        ? problem('JWT_SECRET is a published sample: anyone can sign tokens for this server.', GENERATE)
        : problem('INSECURE_DEV is on, so published sample secrets are accepted.', 'Turn it off in production.'),
    );
  }
  if (jwt.secret === 'generated') findings.push(...checkGeneratedSecret(join(dataDir, 'jwt-secret')));
  findings.push(...checkCertificate(sources));
  if (jwt.jwksUrl) {
    const reason = await jwksProblem(jwt.jwksUrl);
    if (reason !== undefined) {
      findings.push(
        problemsOf('jwks')(
          `The JWKS URL does not return a key set (${reason}). Without keys, tokens are rejected with 503.`,
          'Check JWT_JWKS_URL, and that this machine can reach it. Redirects are not followed.',
          jwt.jwksUrl.host,
        ),
      );
    }
  }
  return findings;
}

/** Checks the generated secret, if the server has generated one already. */
function checkGeneratedSecret(path: string): Finding[] {
  let secret: string;
  try {
    secret = readFileSync(path, 'utf8').trim();
  } catch {
    return []; // it does not exist, or the check of permissions reports it
  }
  const isShort = Buffer.byteLength(secret) < MIN_SECRET_BYTES;
  if (!isShort && !isPublished(secret)) return [];
  return [
    problemsOf('keys')(
      isShort
        ? 'The generated secret is too short, so the server does not start.'
        : 'The secret is a published sample.',
      'Delete the file: the next start generates a new secret, and all tokens become invalid.',
      path,
    ),
  ];
}

/** Checks the dates of a public key that is a certificate. Tokens are verified with its key whatever they say. */
function checkCertificate(sources: ConfigSources): Finding[] {
  const { text, givenAs } = settingText('JWT_PUBLIC_KEY', sources);
  if (text === undefined) return [];
  const pem = (text.includes('-----BEGIN') ? text : sources.readFile(text)).replaceAll('\\n', '\n');
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) return [];
  const expiresAt = Date.parse(new X509Certificate(pem).validTo);
  const remainingMs = expiresAt - Date.now();
  if (!(remainingMs < EXPIRES_SOON_MS)) return [];
  const remedy = 'Set JWT_PUBLIC_KEY to the current certificate of the issuer.';
  const detail = `${givenAs}: ${new Date(expiresAt).toISOString()}`;
  return remainingMs <= 0
    ? [problemsOf('keys')('The certificate in JWT_PUBLIC_KEY has expired.', remedy, detail)]
    : [
        {
          ...{ check: 'keys', level: 'reminder', remedy, detail },
          summary: `The certificate in JWT_PUBLIC_KEY expires in ${durationText(remainingMs / 1_000)}.`,
        },
      ];
}
