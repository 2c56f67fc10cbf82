/** The limits of one query. */
export interface QueryLimits {
  /** Longest run time of the query, in milliseconds. */
  readonly timeoutMs: number;
  /** Largest result, in bytes of UTF-8 JSON. */
  readonly maxResultBytes: number;
  /** Returns whether the query is canceled. Called often, so it must be cheap. */
  readonly isCanceled: () => boolean;
}

/** The remaining limits of a running query. Each method throws if its limit is exceeded. */
export interface Budget {
  /**
   * Checks the deadline and cancellation. Called before each chunk is read, and every few thousand iterations of
   * other loops, so that no phase runs past the deadline.
   *
   * @throws {QueryTooLargeError} after the deadline
   * @throws {QueryCanceledError} if the query is canceled
   */
  check(): void;
  /**
   * Reserves working memory before it is allocated. A negative number releases memory.
   *
   * @throws {QueryTooLargeError} beyond {@link MAX_WORKING_BYTES}
   */
  reserve(bytes: number): void;
  /**
   * Checks the size of the result, or a lower bound that is known before anything is allocated.
   *
   * @throws {QueryTooLargeError} beyond `maxResultBytes`
   */
  checkResult(bytes: number): void;
}

/**
 * Working memory of a query for data per row, per user or per label: 256 MB. Exact percentiles use 12 bytes per row, so a
 * series query may cover about 22 million rows; beyond that, the caller has to narrow the range. The query worker runs one
 * query at a time, so this is also the total for all queries.
 */
export const MAX_WORKING_BYTES = 256 * 1024 * 1024;

/** The error of a query that exceeds a limit. The message states the limit and is sent to the client. */
export class QueryTooLargeError extends Error {
  override readonly name = 'QueryTooLargeError';
  /** The query parameter that caused it, if there is only one. */
  readonly parameter: string | undefined;

  constructor(message: string, parameter?: string) {
    super(message);
    this.parameter = parameter;
  }
}

/** The error of a canceled query. */
export class QueryCanceledError extends Error {
  override readonly name = 'QueryCanceledError';
}

/** Creates the budget of a query. The deadline counts from now. */
export function createBudget({ timeoutMs, maxResultBytes, isCanceled }: QueryLimits): Budget {
  const deadline = performance.now() + timeoutMs;
  let reserved = 0;
  return {
    check() {
      if (isCanceled()) throw new QueryCanceledError('the query was canceled');
      if (performance.now() > deadline) throw new QueryTooLargeError(`the query took longer than ${timeoutMs} ms`);
    },
    reserve(bytes) {
      reserved += bytes;
      if (reserved > MAX_WORKING_BYTES)
        throw new QueryTooLargeError(`the query needs more than ${MAX_WORKING_BYTES} bytes of memory`);
    },
    checkResult(bytes) {
      if (bytes > maxResultBytes) throw new QueryTooLargeError(`the result is larger than ${maxResultBytes} bytes`);
    },
  };
}
