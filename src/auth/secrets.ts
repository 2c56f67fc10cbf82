import { createHmac } from 'node:crypto';
import type { Config } from '../config.ts';
import { type GeneratedSecret, loadGeneratedSecret } from './generated-secret.ts';

/** The secrets in use. */
export interface Secrets {
  /** The HS256 secrets that verify product tokens; none if no secret is configured. */
  readonly product: readonly string[];
  /** rawlog's own secrets, which verify operator tokens; none if they are not accepted. The first signs. */
  readonly operator: readonly string[];
  /** The secret in the data folder, if it is needed. */
  readonly generated: GeneratedSecret | undefined;
}

/** What the secrets of operator tokens are derived for, so that no other use yields the same ones. */
const DERIVATION_LABEL = 'rawlog operator tokens';

/**
 * Returns the secrets of a configuration. If none is configured, one is generated in the data folder.
 *
 * The secrets of operator tokens are derived from those of the product with HMAC-SHA-256, so that `rawlog token` needs
 * only the settings of the server, and both rotate together. The product's own secrets verify no operator tokens.
 *
 * @throws {Error} if the generated secret cannot be read or created
 */
export function loadSecrets({ jwt, dataDir, operatorTokens }: Config): Secrets {
  if (jwt.secret === 'generated') {
    const generated = loadGeneratedSecret(dataDir, 'jwt-secret');
    return { product: [generated.secret], operator: operatorTokens ? [generated.secret] : [], generated };
  }
  const product = jwt.secret === undefined ? [] : [jwt.secret, ...jwt.formerSecrets];
  if (!operatorTokens) return { product, operator: [], generated: undefined };
  if (product.length > 0) return { product, operator: product.map(derive), generated: undefined };
  const generated = loadGeneratedSecret(dataDir, 'operator-secret');
  return { product, operator: [generated.secret], generated };
}

function derive(secret: string): string {
  return createHmac('sha256', secret).update(DERIVATION_LABEL).digest('base64url');
}
