import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { isPublished } from '../formats/sample-secrets.ts';
import { MIN_SECRET_BYTES } from '../jwt-keys.ts';
import { readOrCreateSecretFile } from '../secret-file.ts';

/** The server's own secret, and whether this call made it. */
export interface GeneratedSecret {
  readonly secret: string;
  readonly path: string;
  readonly made: boolean;
}

/**
 * Reads the secret that the server keeps for itself where none is configured; makes one, of 256
 * random bits and readable to the owner alone, on first use. Two processes that start at once get
 * the same one.
 *
 * @throws when the file cannot be read or made, or holds too little to be a secret
 */
export function generatedSecret(dataDir: string): GeneratedSecret {
  try {
    return readOrMake(dataDir);
  } catch (error) {
    throw new Error(
      `The own secret in ${dataDir} cannot be used: ${(error as Error).message}\nCheck DATA_DIR, or set JWT_SECRET.`,
      { cause: error },
    );
  }
}

function readOrMake(dataDir: string): GeneratedSecret {
  const path = join(dataDir, 'jwt-secret');
  const { content: secret, isNew } = readOrCreateSecretFile(path, () => randomBytes(32).toString('base64url'));
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new Error(`${path} holds less than ${MIN_SECRET_BYTES} bytes; without it, a new secret is made`);
  }
  if (isPublished(secret)) throw new Error(`${path} holds a published sample; without it, a new secret is made`);
  return { secret, path, made: isNew };
}
