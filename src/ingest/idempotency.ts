import { ApiError, ERRORS } from '../errors.ts';
import type { CachedResponse, Writer } from '../storage/writer.ts';
import { toApiError } from './to-api-error.ts';

/** How long an answer is remembered at least, in milliseconds. */
const CACHED_FOR = 24 * 3600_000;
/** Answers forgotten in one transaction: few enough that it stops the event loop for milliseconds. */
const EXPIRE_BATCH = 1_000;

/** What a client's key belongs to: the same key of another user, or on another route, is another key. */
export interface IdempotencyScope {
  readonly userId: string;
  readonly route: string;
  readonly key: string;
}

/** An answer, and whether it was given before. */
export interface IdempotentResponse {
  readonly response: string;
  readonly replayed: boolean;
}

/** Does the work of a request once, however often and how fast it is repeated. */
export interface Idempotency {
  /**
   * Gives the answer that was given before under this key, waits for one that is being made, or does
   * the work. Nothing is remembered of work that fails: whoever waited for it fails with it.
   *
   * @param fingerprint tells whether two requests have the same payload
   * @param work stores the request's records, and the answer with them, and resolves with the answer
   * @throws {ApiError} `idempotency_mismatch` when the key was used with another payload
   */
  once(
    scope: IdempotencyScope,
    fingerprint: string,
    work: (cache: (response: string, seq: number) => CachedResponse) => Promise<string>,
  ): Promise<IdempotentResponse>;
}

/**
 * Makes the guard before a writer, where answers are kept beside the records, in the same transaction.
 *
 * @param now the clock, in milliseconds since 1970
 */
export function createIdempotency(writer: Pick<Writer, 'responseOf'>, now: () => number): Idempotency {
  const underWay = new Map<string, { fingerprint: string; response: Promise<string> }>();

  function cached(scope: IdempotencyScope): CachedResponse | undefined {
    try {
      return writer.responseOf(scope);
    } catch (error) {
      throw toApiError(error);
    }
  }

  return {
    async once(scope, fingerprint, work) {
      const name = JSON.stringify([scope.userId, scope.route, scope.key]);
      // between these looks and the mark nothing else runs: two requests cannot both find nothing
      const before = underWay.get(name) ?? cached(scope);
      if (before) {
        if (before.fingerprint !== fingerprint) throw mismatch();
        return { response: await before.response, replayed: true };
      }
      const response = work((text, seq) => ({ ...scope, fingerprint, response: text, seq, createdAt: now() }));
      underWay.set(name, { fingerprint, response });
      try {
        return { response: await response, replayed: false };
      } finally {
        underWay.delete(name);
      }
    },
  };
}

/** The refusal of a key that was used with another payload. */
function mismatch(): ApiError {
  const storageError = {
    loc: ['header', 'idempotency-key'],
    msg: ERRORS.idempotency_mismatch.message,
    type: 'value_error',
  };
  return new ApiError('idempotency_mismatch', { issues: [storageError] });
}

/**
 * Forgets every answer that is past its time, a transaction at a time, with room for requests in between.
 *
 * @param now the clock, in milliseconds since 1970
 * @param mayGoOn asked before each transaction
 * @throws {StorageError} what was forgotten before stays forgotten
 */
export async function expireResponses(
  writer: Pick<Writer, 'expireResponses'>,
  now: () => number,
  mayGoOn: () => boolean,
): Promise<void> {
  while (mayGoOn() && writer.expireResponses(now() - CACHED_FOR, EXPIRE_BATCH) === EXPIRE_BATCH) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}
