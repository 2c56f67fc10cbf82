import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { createOperatorIssuer, createProductIssuer, type Issuer } from './issuer.ts';
import { createRemoteKeys, type RemoteKeys } from './jwks.ts';
import type { Secrets } from './secrets.ts';
import { type CachedVerifier, cacheVerified } from './token-cache.ts';
import { createVerifier, type Verify } from './verifier.ts';

/** The keys and secrets in use. They can be replaced while the server is running. */
export interface Access {
  readonly verify: CachedVerifier;
  /** Returns the token that `/metrics` accepts in place of a user's token; undefined for none. */
  readonly metricsToken: () => string | undefined;
  /** Returns the issuers of tokens and sign-in codes that this server accepts; none if all tokens are issued elsewhere. */
  readonly issuers: () => readonly Issuer[];
  /** Returns the number of tokens that each shared secret has verified since it was loaded, in configuration order. */
  readonly acceptedBySecret: () => readonly number[];
  /** Replaces all keys and secrets with those of a configuration. If it fails, the previous ones remain in use. */
  reload(config: Config, secrets: Secrets): Promise<void>;
}

/** Creates {@link Access} with the keys of a configuration. */
export async function createAccess(config: Config, secrets: Secrets, log: Logger): Promise<Access> {
  let remote: { url: URL; keys: RemoteKeys } | undefined;
  let verifyUncached = await verifierOf(config, secrets);
  let { metricsToken } = config;
  let issuers = issuersOf(config, secrets);
  let accepted = secrets.product.map(() => 0);
  const verify = cacheVerified(async (token) => {
    const counters = accepted; // a reload during the verification replaces `accepted`
    const verified = await verifyUncached(token);
    const { secretIndex } = verified;
    if (secretIndex !== undefined) counters[secretIndex] = (counters[secretIndex] ?? 0) + 1;
    return verified;
  }, Date.now);
  void remote?.keys.warmUp();

  return {
    verify,
    metricsToken: () => metricsToken,
    issuers: () => issuers,
    acceptedBySecret: () => accepted,
    async reload(next, nextSecrets) {
      verifyUncached = await verifierOf(next, nextSecrets);
      accepted = nextSecrets.product.map(() => 0);
      ({ metricsToken } = next);
      issuers = issuersOf(next, nextSecrets);
      verify.clear();
    },
  };

  async function verifierOf({ jwt }: Config, { product, operator }: Secrets): Promise<Verify> {
    const { jwksUrl } = jwt;
    // if the URL is unchanged, keep its keys, even while it is down
    if (jwksUrl?.href !== remote?.url.href) remote = jwksUrl && { url: jwksUrl, keys: remoteKeysOf(jwksUrl) };
    return createVerifier({
      ...jwt,
      secrets: product,
      operatorSecrets: operator,
      remoteKeys: remote?.keys,
      now: Date.now,
    });
  }

  function remoteKeysOf(url: URL): RemoteKeys {
    const monotonic = () => performance.now();
    return createRemoteKeys(url, monotonic, log, () => verify.clear());
  }
}

/** Returns the issuers of tokens that a server accepts. The first one signs. */
export function issuersOf({ jwt }: Pick<Config, 'jwt'>, { product, operator }: Secrets): Issuer[] {
  const issuers = operator.map(createOperatorIssuer);
  if (jwt.algorithms.includes('HS256')) {
    issuers.push(...product.slice(0, 1).map((secret) => createProductIssuer(secret, jwt)));
  }
  return issuers;
}
