/** The limits of one query. */
export interface QueryLimits {
  /** How long the query may run, in milliseconds. */
  readonly timeoutMs: number;
  /** How long the result may be as UTF-8 JSON text, in bytes. */
  readonly maxResultBytes: number;
  /** Whether the client is gone. Called often, so it must be cheap. */
  readonly isCanceled: () => boolean;
}

/** What is left of the limits of a running query. Each method throws once its limit is exceeded. */
export interface Budget {
  /**
   * Checks the deadline and cancellation. Called before each chunk is read, and every few thousand steps of
   * any other loop, so that no phase runs past the deadline.
   *
   * @throws {QueryTooLargeError} after the deadline
   * @throws {Canceled} if the client is gone
   */
  check(): void;
  /**
   * Claims working memory before it is allocated. Negative: returns memory.
   *
   * @throws {QueryTooLargeError} beyond {@link MAX_WORKING_BYTES}
   */
  reserve(bytes: number): void;
  /**
   * Checks the length of the result, or a lower bound of it that is known before anything is allocated.
   *
   * @throws {QueryTooLargeError} beyond `maxResultBytes`
   */
  checkResult(bytes: number): void;
}

/**
 * How much memory a query may claim for what it keeps per row, per user or per label: 256 MB. Exact
 * percentiles keep 12 bytes per row, so that a series query may cover about 22 million rows; beyond it the
 * caller has to narrow the range. A query worker runs one query at a time, so this is also the bound for all.
 */
export const MAX_WORKING_BYTES = 256 * 1024 * 1024;

/** The query exceeds a limit. The message states what is allowed, for the client. */
export class QueryTooLargeError extends Error {
  override readonly name = 'QueryTooLargeError';
  /** The parameter to change, where one alone decides. */
  readonly parameter: string | undefined;

  constructor(message: string, parameter?: string) {
    super(message);
    this.parameter = parameter;
  }
}

/** The client of the query is gone. */
export class Canceled extends Error {
  override readonly name = 'Canceled';
}

/** Starts the budget of a query: the time runs from now. */
export function createBudget({ timeoutMs, maxResultBytes, isCanceled }: QueryLimits): Budget {
  const deadline = performance.now() + timeoutMs;
  let reserved = 0;
  return {
    check() {
      if (isCanceled()) throw new Canceled('the client is gone');
      if (performance.now() > deadline) throw new QueryTooLargeError(`the query takes longer than ${timeoutMs} ms`);
    },
    reserve(bytes) {
      reserved += bytes;
      if (reserved > MAX_WORKING_BYTES)
        throw new QueryTooLargeError(`the query needs more than ${MAX_WORKING_BYTES} bytes of memory`);
    },
    checkResult(bytes) {
      if (bytes > maxResultBytes) throw new QueryTooLargeError(`the result has more than ${maxResultBytes} bytes`);
    },
  };
}
