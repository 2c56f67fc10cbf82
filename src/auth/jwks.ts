import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTHeaderParameters } from 'jose';
import type { Logger } from 'pino';
import { ApiError } from '../errors.ts';

/** Keys older than this are fetched anew, in the background; a key that its issuer withdraws is refused after it. */
const REFRESH_AFTER = 5 * 60_000;
/** Keys older than this are no longer trusted: so long an outage of the issuer is survived. */
const TRUSTED_FOR = 24 * 3600_000;
/** Tokens with a key ID that is not known cause at most one successful fetch in this time. */
const UNKNOWN_KEY_COOLDOWN = 30_000;
/** After a fetch that failed, the next one waits this long. */
const FAILURE_COOLDOWN = 1_000;
const FETCH_TIMEOUT = 5_000;
/** No key set is larger. */
const MAX_RESPONSE_BYTES = 1024 ** 2;
/** How many keys a token is tried with, where several fit. */
const MAX_CANDIDATES = 4;

/** Finds the keys that fit a token; throws jose's errors if there is none. */
type KeySet = (header: JWTHeaderParameters) => Promise<readonly CryptoKey[]>;

/** The public keys behind a JWKS address. */
export interface RemoteKeys {
  /**
   * Finds the keys that a token may be signed with: those of its algorithm and key ID, at most
   * {@link MAX_CANDIDATES}.
   *
   * @throws jose's errors when there is no such key
   * @throws {ApiError} `keys_unavailable` when there are no keys yet, or none that are still trusted, or when a key
   *   that is not known cannot be looked up
   */
  find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]>;
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
  /** When the last fetch for a key ID that was not known succeeded. */
  let unknownKeyFetchAt = Number.NEGATIVE_INFINITY;
  let fetching: Promise<boolean> | undefined;

  /** Fetches the keys; returns whether it succeeded. */
  async function load(): Promise<boolean> {
    try {
      const text = await fetchText(url);
      keys = createKeySet(JSON.parse(text)); // throws on anything else
      fetchedAt = now();
      if (text !== published) onChange();
      published = text;
      return true;
    } catch (error) {
      failedAt = now();
      // the address may contain a secret, and errors name it
      log.warn({ host: url.host, reason: reasonOf(error) }, 'the JWKS address could not be read');
      return false;
    }
  }

  /** One fetch at a time; those who need it share it. */
  function refresh(): Promise<boolean> {
    fetching ??= load().finally(() => {
      fetching = undefined;
    });
    return fetching;
  }

  async function find(header: JWTHeaderParameters): Promise<readonly CryptoKey[]> {
    const age = now() - fetchedAt;
    const mayRetry = now() - failedAt >= FAILURE_COOLDOWN;
    if (age >= TRUSTED_FOR) {
      if (mayRetry || fetching) await refresh();
      if (now() - fetchedAt >= TRUSTED_FOR) keys = undefined;
    } else if (age >= REFRESH_AFTER && mayRetry) {
      void refresh();
    }
    if (!keys) throw new ApiError('keys_unavailable');
    try {
      return await keys(header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      if (!fetching && now() - unknownKeyFetchAt < UNKNOWN_KEY_COOLDOWN) throw error;
    }
    // the key may be new: whether it is wrong cannot be determined without the issuer's current keys
    if (!fetching && now() - failedAt < FAILURE_COOLDOWN) throw new ApiError('keys_unavailable');
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

/** Prepares a key set for lookups; throws if it is not one. */
function createKeySet(set: unknown): KeySet {
  const all = createLocalJWKSet(withoutEdDSA(set));
  const { keys } = all.jwks();
  const unnamed = createLocalJWKSet({ keys: keys.filter(({ kid }) => kid === undefined) });
  return async (header) => {
    try {
      return await candidates(all, header);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || header.kid === undefined) throw error;
      // a key without an ID may be the one that is meant
      const { kid, ...rest } = header;
      return candidates(unnamed, rest);
    }
  };
}

/** Drops `alg` from Ed25519 keys, so that they fit tokens under both names, EdDSA and Ed25519 (RFC 9864). */
function withoutEdDSA(set: unknown): JSONWebKeySet {
  const { keys } = (set ?? {}) as { keys?: unknown };
  if (!Array.isArray(keys)) return set as JSONWebKeySet; // jose rejects it
  return {
    keys: keys.map((key: unknown) => {
      if (typeof key !== 'object' || key === null) return key;
      const { alg, ...rest } = key as Record<string, unknown>;
      return alg === 'EdDSA' || alg === 'Ed25519' ? rest : key;
    }) as JSONWebKeySet['keys'],
  };
}

/** Returns the keys that fit a token, at most {@link MAX_CANDIDATES}; throws jose's errors if there is none. */
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

/** Fetches a text. Redirects are not followed: their target was not configured. */
async function fetchText(url: URL): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: 'application/jwk-set+json, application/json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(FETCH_TIMEOUT),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new UnusableResponse(`status ${response.status}`);
  }
  return readAtMost(response, MAX_RESPONSE_BYTES);
}

/** A response that is not a key set; the message contains nothing of it. */
class UnusableResponse extends Error {}

/** Returns why a fetch failed, without the address. */
function reasonOf(error: unknown): string {
  if (error instanceof UnusableResponse) return error.message;
  const { code, name } = error as { code?: unknown; name?: unknown };
  return typeof code === 'string' ? code : String(name);
}

/** Reads a response's text up to a limit, which its own Content-Length may not tell. A byte order mark is dropped. */
async function readAtMost(response: Response, limit: number): Promise<string> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > limit) throw new UnusableResponse(`more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}
