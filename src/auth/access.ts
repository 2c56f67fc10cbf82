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
  /** Returns how many tokens each shared secret has verified, in their order, since it was read. */
  readonly acceptedBySecret: () => readonly number[];
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
  let accepted = countersOf(config, secret);
  const verify = cacheVerified(async (token) => {
    const counters = accepted; // a reload replaces them
    const verified = await verifyNow(token);
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
      verifyNow = await verifierOf(next, nextSecret);
      accepted = countersOf(next, nextSecret);
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

function countersOf({ jwt }: Config, secret: string | undefined): number[] {
  return (secret === undefined ? [] : [secret, ...jwt.formerSecrets]).map(() => 0);
}
