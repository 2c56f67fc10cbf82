import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isPublished } from '../formats/sample-secrets.ts';
import { MIN_SECRET_BYTES } from '../jwt-keys.ts';
import { readOrCreateSecretFile } from '../secret-file.ts';

/**
 * The names of generated secrets in the data folder. `jwt-secret` signs and verifies all tokens if no key is configured;
 * `operator-secret` signs and verifies operator tokens if only public keys are.
 */
export type SecretName = 'jwt-secret' | 'operator-secret';

/** A generated secret. */
export interface GeneratedSecret {
  readonly secret: string;
  readonly path: string;
  /** Whether this call generated it. */
  readonly isNew: boolean;
}

/**
 * Returns a generated secret in the data folder. The first call generates it: 256 random bits in a file that only its
 * owner can read. Processes that start at the same time get the same secret.
 *
 * @throws {Error} if the file cannot be read or created, or its content is too short or a published sample
 */
export function loadGeneratedSecret(dataDir: string, name: SecretName): GeneratedSecret {
  try {
    return readOrGenerate(join(dataDir, name));
  } catch (error) {
    const advice =
      name === 'jwt-secret' ? 'Check DATA_DIR, or set JWT_SECRET.' : 'Check DATA_DIR, or set OPERATOR_TOKENS=off.';
    throw new Error(`The generated secret in ${dataDir} cannot be used: ${(error as Error).message}\n${advice}`, {
      cause: error,
    });
  }
}

function readOrGenerate(path: string): GeneratedSecret {
  const { content: secret, isNew } = readOrCreateSecretFile(path, () => randomBytes(32).toString('base64url'));
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new Error(`${path} contains fewer than ${MIN_SECRET_BYTES} bytes; delete it to generate a new secret.`);
  }
  if (isPublished(secret)) {
    throw new Error(`${path} contains a published sample; delete it to generate a new secret.`);
  }
  return { secret, path, isNew };
}
