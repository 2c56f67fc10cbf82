/** The caller of a query. Limits are per user, and a query is canceled when its client disconnects. */
export interface QueryCaller {
  readonly userId: string;
  /** Whether it may read the rows of all users. Places are reserved for such callers, so that others cannot lock them out. */
  readonly canReadAll: boolean;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
  /** Called when a query has ended, or a part of an export, before the caller gets its result. Must not throw. */
  readonly onFinished?: (finished: FinishedQuery) => void;
}

/** How a query spent its time, and what became of it. */
export interface FinishedQuery {
  /** How long it waited for its turn, in milliseconds. */
  readonly waitedMs: number;
  /** How long the worker took, in milliseconds; undefined if the query never got its turn. */
  readonly ranMs: number | undefined;
  /** Its result, if it succeeded. */
  readonly value?: unknown;
  /** The error, if it failed. */
  readonly error?: unknown;
}

/** The user of queries that the server runs by itself. Others run first. No token has an empty user ID. */
export const BACKGROUND = '';

/** Used in place of a query ID to cancel all queries at shutdown. */
export const CANCEL_ALL = -1;

/** The error of a query whose client has disconnected. */
export class ClientDisconnectedError extends Error {
  override readonly name = 'ClientDisconnectedError';

  constructor() {
    super('the client has disconnected');
  }
}

/**
 * Runs a query, and reports how it spent its time.
 *
 * @param work calls its argument when the query gets its turn
 */
export async function timed<Result extends { readonly value: unknown }>(
  onFinished: QueryCaller['onFinished'],
  work: (onStart: () => void) => Promise<Result>,
): Promise<Result> {
  const queuedAt = performance.now();
  let startedAt: number | undefined;
  const finish = (outcome: Pick<FinishedQuery, 'value' | 'error'>) => {
    const now = performance.now();
    const ranMs = startedAt === undefined ? undefined : now - startedAt;
    onFinished?.({ waitedMs: (startedAt ?? now) - queuedAt, ranMs, ...outcome });
  };
  try {
    const result = await work(() => {
      startedAt = performance.now();
    });
    finish({ value: result.value });
    return result;
  } catch (error) {
    finish({ error });
    throw error;
  }
}
