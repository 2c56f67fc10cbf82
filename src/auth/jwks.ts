import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import type { Logger } from 'pino';
import { ApiError } from '../errors.ts';

/** Age after which keys are refreshed in the background. The refresh drops keys that the issuer has withdrawn. */
const REFRESH_AFTER_MS = 5 * 60_000;
/** Age after which keys are no longer trusted. This is the longest issuer outage that rawlog tolerates. */
const MAX_AGE_MS = 24 * 3600_000;
/** Tokens with unknown key IDs cause at most one successful fetch per this interval. */
const UNKNOWN_KEY_COOLDOWN_MS = 30_000;
/** Delay of the next fetch after a failed one. */
const FAILURE_COOLDOWN_MS = 1_000;
const FETCH_TIMEOUT_MS = 5_000;
/** Maximum size of a key set. */
const MAX_RESPONSE_BYTES = 1024 ** 2;
/** Maximum number of matching keys that a token is verified with. */
const MAX_CANDIDATES = 4;

/** Finds the keys that match a token's header; throws jose's errors if there is none. */
type KeySet = (header: JWTHeaderParameters) => Promise<readonly CryptoKey[]>;

/** The public keys published at a JWKS URL. */
export interface RemoteKeys {
  /**
   * Finds the keys that may have signed a token: those with its algorithm and key ID, at most {@link MAX_CANDIDATES}.
   *
   * @throws jose's errors if no key matches
   * @throws {ApiError} `keys_unavailable` if no keys have been fetched yet, if the keys are too old to be trusted, or if
   *   the key ID is unknown and the keys cannot be refreshed
   */
  find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]>;
  /** Fetches the keys before the first token needs them. Never throws. */
  warmUp(): Promise<void>;
}

/**
 * Creates the keys of a JWKS URL. They are fetched on first use, refreshed in the background, and used for up to
 * {@link MAX_AGE_MS} while the URL is down. An unknown key ID, which may mean a key rotation, causes a fetch at most
 * once per {@link UNKNOWN_KEY_COOLDOWN_MS}.
 *
 * This replaces jose's remote key set, which rejects every token once its keys have expired and a reload fails.
 *
 * @param now returns the time of a monotonic clock in milliseconds
 * @param onChange called when the published keys have changed
 */
export function createRemoteKeys(url: URL, now: () => number, log: Logger, onChange = () => {}): RemoteKeys {
  let keys: KeySet | undefined;
  let published: string | undefined;
  let fetchedAt = Number.NEGATIVE_INFINITY;
  let failedAt = Number.NEGATIVE_INFINITY;
  /** The time of the last successful fetch for an unknown key ID. */
  let unknownKeyFetchAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<boolean> | undefined;

  /** Fetches the keys. Returns whether it succeeded. */
  async function load(): Promise<boolean> {
    try {
      const text = await fetchText(url);
      keys = createKeySet(JSON.parse(text)); // throws if it is not a key set
      fetchedAt = now();
      if (text !== published) onChange();
      published = text;
      return true;
    } catch (error) {
      failedAt = now();
      // not the error itself: it contains the URL, which may contain a secret
      log.warn({ host: url.host, reason: reasonOf(error) }, 'the JWKS URL could not be fetched');
      return false;
    }
  }

  /** Fetches the keys, or joins the fetch in progress. */
  function refresh(): Promise<boolean> {
    fetching ??= load().finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  async function find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]> {
    const age = now() - fetchedAt;
    const mayRetry = now() - failedAt >= FAILURE_COOLDOWN_MS;
    if (age >= MAX_AGE_MS) {
      if (mayRetry || fetching) await refresh();
      if (now() - fetchedAt >= MAX_AGE_MS) keys = undefined;
    } else if (age >= REFRESH_AFTER_MS && mayRetry) {
      void refresh();
    }
    if (!keys) throw new ApiError('keys_unavailable');
    try {
      return await keys(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (!fetching && now() - unknownKeyFetchAt < UNKNOWN_KEY_COOLDOWN_MS) throw error;
    }
    // the key may be new, so a rejection requires the issuer's current keys
    if (!fetching && now() - failedAt < FAILURE_COOLDOWN_MS) throw new ApiError('keys_unavailable');
    if (!(await refresh())) throw new ApiError('keys_unavailable');
    unknownKeyFetchAt = now();
    return keys(header);
  }

  return {
    find,
    async warmUp() {
      await refresh();
    },
  };
}

/**
 * Fetches the keys of a JWKS URL once.
 *
 * @returns why that failed, without the URL; undefined if it succeeded
 */
export async function jwksProblem(url: URL): Promise<string | undefined> {
  try {
    createKeySet(JSON.parse(await fetchText(url)));
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

/** Creates a key set from its JSON. Throws if the JSON is not a key set. */
function createKeySet(json: unknown): KeySet {
  const all = createLocalJWKSet(withoutEdDSA(json));
  const { keys } = all.jwks();
  const unnamed = createLocalJWKSet({ keys: keys.filter(({ kid }) => kid === undefined) });
  return async (header) => {
    try {
      return await candidates(all, header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || header.kid === undefined) throw error;
      // a key without an ID may have signed the token
      const { kid, ...headerWithoutKid } = header;
      return candidates(unnamed, headerWithoutKid);
    }
  };
}

/** Removes `alg` from Ed25519 keys, so that they match tokens with either name, EdDSA or Ed25519 (RFC 9864). */
function withoutEdDSA(json: unknown): JSONWebKeySet {
  const { keys } = (json ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) return json as JSONWebKeySet; // jose rejects it
  return {
    keys: keys.map((key: unknown) => {
      if (typeof key !== 'object' || key === null) return key;
      const { alg, ...keyWithoutAlg } = key as Record<string, unknown>;
      return alg === 'EdDSA' || alg === 'Ed25519' ? keyWithoutAlg : key;
    }) as JSONWebKeySet['keys'],
  };
}

/** Returns the keys that match a token's header, at most {@link MAX_CANDIDATES}. Throws jose's errors if there is none. */
async function candidates(
  set: ReturnType<typeof createLocalJWKSet>,
  header: JWTHeaderParameters,
): Promise<readonly CryptoKey[]> {
  try {
    return [await set(header)];
  } catch (error) {
    if (!(error instanceof errors.JWKSMultipleMatchingKeys)) throw error;
    const found: CryptoKey[] = [];
    for await (const key of error) if (found.push(key) === MAX_CANDIDATES) break;
    return found;
  }
}

/** Fetches a text. Redirects are not followed, because the operator did not configure their target. */
async function fetchText(url: URL): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new InvalidResponseError(`status ${response.status}`);
  }
  return readAtMost(response, MAX_RESPONSE_BYTES);
}

/** Thrown for a response with an error status or too many bytes. The message contains no text from the response. */
class InvalidResponseError extends Error {}

/** Returns the reason of a failed fetch, without the URL. */
function reasonOf(error: unknown): string {
  if (error instanceof InvalidResponseError) return error.message;
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : String(name);
}

/**
 * Reads the text of a response up to a limit. Content-Length cannot enforce the limit: it may be missing, or count
 * compressed bytes. Drops a byte order mark.
 */
async function readAtMost(response: Response, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > limit) throw new InvalidResponseError(`more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
