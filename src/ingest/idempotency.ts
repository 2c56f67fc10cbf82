import { ApiError, ERRORS } from '../errors.ts';
import type { CachedResponse, Writer } from '../storage/writer.ts';
import { toApiError } from './to-api-error.ts';

/** Minimum lifetime of a cached response. */
const RESPONSE_TTL_MS = 24 * 3600_000;
/** Maximum number of responses expired per transaction: few enough to block the event loop for only milliseconds. */
const EXPIRE_BATCH = 1_000;

/** An idempotency key and its scope. Keys of different users or routes are independent. */
export interface IdempotencyScope {
  readonly userId: string;
  readonly route: string;
  readonly key: string;
}

/** A response, new or cached. */
export interface IdempotentResponse {
  readonly response: string;
  /** Whether the response is that of an earlier request with the same key. */
  readonly replayed: boolean;
}

/** Processes each idempotency key once, even if requests with it are repeated or concurrent. */
export interface Idempotency {
  /**
   * Returns the cached response for a key, or waits for a concurrent request with the key, or does the work. Failed work
   * is not cached; concurrent requests with the key fail with it.
   *
   * @param fingerprint identifies the payload of the request
   * @param work stores the records of the request together with the response, and resolves with the response
   * @throws {ApiError} `idempotency_mismatch` if the key was used with a different payload
   */
  once(
    scope: IdempotencyScope,
    fingerprint: string,
    work: (cache: (response: string, seq: number) => CachedResponse) => Promise<string>,
  ): Promise<IdempotentResponse>;
}

/**
 * Creates an {@link Idempotency} that uses a writer, which stores responses in the same transaction as the records.
 *
 * @param now returns the time in milliseconds since 1970
 */
export function createIdempotency(writer: Pick<Writer, 'responseOf'>, now: () => number): Idempotency {
  const inProgress = new Map<string, { fingerprint: string; response: Promise<string> }>();

  function readCached(scope: IdempotencyScope): CachedResponse | undefined {
    try {
      return writer.responseOf(scope);
    } catch (error) {
      throw toApiError(error);
    }
  }

  return {
    async once(scope, fingerprint, work) {
      const id = JSON.stringify([scope.userId, scope.route, scope.key]);
      // synchronous from this check to inProgress.set, so two requests cannot both find nothing
      const earlier = inProgress.get(id) ?? readCached(scope);
      if (earlier) {
        if (earlier.fingerprint !== fingerprint) throw mismatchError();
        return { response: await earlier.response, replayed: true };
      }
      const response = work((text, seq) => ({ ...scope, fingerprint, response: text, seq, createdAt: now() }));
      inProgress.set(id, { fingerprint, response });
      try {
        return { response: await response, replayed: false };
      } finally {
        inProgress.delete(id);
      }
    },
  };
}

/** Returns the error for a key that was used with a different payload. */
function mismatchError(): ApiError {
  const issue = {
    loc: ['header', 'idempotency-key'],
    msg: ERRORS.idempotency_mismatch.message,
    type: 'value_error',
  };
  return new ApiError('idempotency_mismatch', { issues: [issue] });
}

/**
 * Blanks all expired cached responses in small transactions, between which requests can run.
 *
 * @param now returns the time in milliseconds since 1970
 * @param mayContinue called before each transaction
 * @throws {StorageError} earlier transactions stay committed
 */
export async function expireResponses(
  writer: Pick<Writer, 'expireResponses'>,
  now: () => number,
  mayContinue: () => boolean,
): Promise<void> {
  while (mayContinue() && writer.expireResponses(now() - RESPONSE_TTL_MS, EXPIRE_BATCH) === EXPIRE_BATCH) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
