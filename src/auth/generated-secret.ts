import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isPublished } from '../formats/sample-secrets.ts';
import { MIN_SECRET_BYTES } from '../jwt-keys.ts';
import { readOrCreateSecretFile } from '../secret-file.ts';

/** The secret that signs tokens if no key is configured. */
export interface GeneratedSecret {
  readonly secret: string;
  readonly path: string;
  /** Whether this call generated it. */
  readonly isNew: boolean;
}

/**
 * Returns the generated secret in the data folder. The first call generates it: 256 random bits in a file that only its
 * owner can read. Processes that start at the same time get the same secret.
 *
 * @throws {Error} if the file cannot be read or created, or its content is too short or a published sample
 */
export function loadGeneratedSecret(dataDir: string): GeneratedSecret {
  try {
    return readOrGenerate(dataDir);
  } catch (error) {
    throw new Error(
      `The generated secret in ${dataDir} cannot be used: ${(error as Error).message}\nCheck DATA_DIR, or set JWT_SECRET.`,
      { cause: error },
    );
  }
}

function readOrGenerate(dataDir: string): GeneratedSecret {
  const path = join(dataDir, 'jwt-secret');
  const { content: secret, isNew } = readOrCreateSecretFile(path, () => randomBytes(32).toString('base64url'));
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new Error(`${path} contains fewer than ${MIN_SECRET_BYTES} bytes; delete it to generate a new secret.`);
  }
  if (isPublished(secret)) {
    throw new Error(`${path} contains a published sample; delete it to generate a new secret.`);
  }
  return { secret, path, isNew };
}
