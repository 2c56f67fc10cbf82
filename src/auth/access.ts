import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { createRemoteKeys, type RemoteKeys } from './jwks.ts';
import { type CachedVerifier, cacheVerified } from './token-cache.ts';
import { createVerifier, type Verify } from './verifier.ts';

/** The keys and secrets in use, which can be replaced while requests are served. */
export interface Access {
  readonly verify: CachedVerifier;
  /** Returns what may be presented at `/metrics` in place of a token; undefined: nothing. */
  readonly metricsToken: () => string | undefined;
  /** Returns the secret that sign-in codes are signed with; undefined where HS256 is not accepted. */
  readonly signingSecret: () => string | undefined;
  /** Replaces all keys and secrets by those of a configuration. If it fails, the former ones stay in use. */
  reload(config: Config, secret: string | undefined): Promise<void>;
}

/**
 * Creates access by the keys of a configuration.
 *
 * @param secret the HS256 secret in use, if any
 */
export async function createAccess(config: Config, secret: string | undefined, log: Logger): Promise<Access> {
  let remote: { url: URL; keys: RemoteKeys } | undefined;
  let verifyNow = await verifierOf(config, secret);
  let { metricsToken } = config;
  let signingSecret = signingSecretOf(config, secret);
  const verify = cacheVerified((token) => verifyNow(token), Date.now);
  void remote?.keys.warmUp();

  return {
    verify,
    metricsToken: () => metricsToken,
    signingSecret: () => signingSecret,
    async reload(next, nextSecret) {
      verifyNow = await verifierOf(next, nextSecret);
      ({ metricsToken } = next);
      signingSecret = signingSecretOf(next, nextSecret);
      verify.clear();
    },
  };

  async function verifierOf({ jwt }: Config, hmacSecret: string | undefined): Promise<Verify> {
    const { jwksUrl } = jwt;
    // keys of the same address stay, also while it is down
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
