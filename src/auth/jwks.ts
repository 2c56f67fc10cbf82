import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import type { Logger } from 'pino';
import { Failure } from '../errors.ts';

/** Keys older than this are fetched anew, in the background; a key that its issuer withdraws is refused after it. */
const REFRESH_AFTER = 5 * 60_000;
/** Keys older than this are no longer trusted: so long an outage of the issuer is survived. */
const TRUSTED_FOR = 24 * 3600_000;
/** Tokens with a key id that is not known cause at most one fetch in this time. */
const UNKNOWN_KEY_COOLDOWN = 30_000;
/** After a fetch that failed, the next one waits this long. */
const FAILURE_COOLDOWN = 1_000;
const FETCH_TIMEOUT = 5_000;
/** No key set is larger. */
const MAX_RESPONSE_BYTES = 1024 ** 2;

type KeySet = ReturnType<typeof createLocalJWKSet>;

/** The public keys behind a JWKS address. */
export interface RemoteKeys {
  /**
   * Finds the key that a token names.
   *
   * @throws jose's errors when there is no such key
   * @throws {Failure} `keys_unavailable` when there are no keys yet, or none that are still trusted
   */
  find(header: JWTHeaderParameters): Promise<CryptoKey>;
  /** Fetches the keys ahead of the first token. Never throws. */
  warmUp(): Promise<void>;
}

/**
 * Keeps the keys of a JWKS address: fetched on first use, refreshed in the background, served stale
 * while the address is down (within {@link TRUSTED_FOR}), and fetched at once for a key id that is
 * not known, which is how a rotation shows (within {@link UNKNOWN_KEY_COOLDOWN}).
 *
 * jose's own remote set refuses every token once its keys are over their age and a reload fails.
 *
 * @param now a clock that never steps back, in milliseconds
 * @param onChange called when the address has published other keys than before
 */
export function createRemoteKeys(url: URL, now: () => number, log: Logger, onChange = () => {}): RemoteKeys {
  let keys: KeySet | undefined;
  let published: string | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;
  let unknownKeyFetchAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<void> | undefined;

  async function load(): Promise<void> {
    try {
      const response = await fetch(url, {
        headers: { accept: 'application/jwk-set+json, application/json' },
        signal: AbortSignal.timeout(FETCH_TIMEOUT),
      });
      if (!response.ok) throw new Error(`answered ${response.status}`);
      const text = await readAtMost(response, MAX_RESPONSE_BYTES);
      keys = createLocalJWKSet(JSON.parse(text) as JSONWebKeySet); // throws on anything else
      fetchedAt = now();
      if (text !== published) onChange();
      published = text;
    } catch (error) {
      failedAt = now();
      log.warn({ err: error }, 'the JWKS address could not be read');
    }
  }

  /** One fetch at a time; those who need it share it. */
  function refresh(): Promise<void> {
    fetching ??= load().finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  async function find(header: JWTHeaderParameters): Promise<CryptoKey> {
    const age = now() - fetchedAt;
    const mayRetry = now() - failedAt >= FAILURE_COOLDOWN;
    if (age >= TRUSTED_FOR) {
      if (mayRetry || fetching) await refresh();
      if (now() - fetchedAt >= TRUSTED_FOR) keys = undefined;
    } else if (age >= REFRESH_AFTER && mayRetry) {
      void refresh();
    }
    if (!keys) throw new Failure('keys_unavailable');
    try {
      return await keys(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (!fetching && now() - unknownKeyFetchAt < UNKNOWN_KEY_COOLDOWN) throw error;
      if (!fetching) unknownKeyFetchAt = now();
      await refresh();
      return keys(header);
    }
  }

  return { find, warmUp: refresh };
}

/** Reads a response's text up to a limit, which its own Content-Length may not tell. */
async function readAtMost(response: Response, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > limit) throw new Error(`answered more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
