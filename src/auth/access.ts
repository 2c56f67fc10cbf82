import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { createRemoteKeys, type RemoteKeys } from './jwks.ts';
import { type CachedVerifier, cacheVerified } from './token-cache.ts';
import { createVerifier, type Verify } from './verifier.ts';

/** The keys and secrets in use. They can be replaced while the server is running. */
export interface Access {
  readonly verify: CachedVerifier;
  /** Returns the token that `/metrics` accepts in place of a user's token; undefined for none. */
  readonly metricsToken: () => string | undefined;
  /** Returns the secret that signs sign-in codes; undefined if HS256 is not accepted. */
  readonly signingSecret: () => string | undefined;
  /** Returns the number of tokens that each shared secret has verified since it was loaded, in configuration order. */
  readonly acceptedBySecret: () => readonly number[];
  /** Replaces all keys and secrets with those of a configuration. If it fails, the previous ones remain in use. */
  reload(config: Config, secret: string | undefined): Promise<void>;
}

/**
 * Creates {@link Access} with the keys of a configuration.
 *
 * @param secret the HS256 secret in use, if any
 */
export async function createAccess(config: Config, secret: string | undefined, log: Logger): Promise<Access> {
  let remote: { url: URL; keys: RemoteKeys } | undefined;
  let verifyUncached = await verifierOf(config, secret);
  let { metricsToken } = config;
  let signingSecret = signingSecretOf(config, secret);
  let accepted = countersOf(config, secret);
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
    signingSecret: () => signingSecret,
    acceptedBySecret: () => accepted,
    async reload(next, nextSecret) {
      verifyUncached = await verifierOf(next, nextSecret);
      accepted = countersOf(next, nextSecret);
      ({ metricsToken } = next);
      signingSecret = signingSecretOf(next, nextSecret);
      verify.clear();
    },
  };

  async function verifierOf({ jwt }: Config, hmacSecret: string | undefined): Promise<Verify> {
    const { jwksUrl } = jwt;
    // if the URL is unchanged, keep its keys, even while it is down
    if (jwksUrl?.href !== remote?.url.href) remote = jwksUrl && { url: jwksUrl, keys: remoteKeysOf(jwksUrl) };
    return createVerifier({ ...jwt, secret: hmacSecret, remoteKeys: remote?.keys, now: Date.now });
  }

  function remoteKeysOf(url: URL): RemoteKeys {
    const monotonic = () => performance.now();
    return createRemoteKeys(url, monotonic, log, () => verify.clear());
  }
}

function signingSecretOf({ jwt }: Config, secret: string | undefined): string | undefined {
  return jwt.algorithms.includes('HS256') ? secret : undefined;
}

function countersOf({ jwt }: Config, secret: string | undefined): number[] {
  return (secret === undefined ? [] : [secret, ...jwt.formerSecrets]).map(() => 0);
}
