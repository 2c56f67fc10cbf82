/** The caller of a query. Limits are per user, and a query is canceled when its client disconnects. */
export interface QueryCaller {
  readonly userId: string;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** Used in place of a query ID to cancel all queries at shutdown. */
export const CANCEL_ALL = -1;

/** The error of a query whose client has disconnected. */
export class ClientDisconnectedError extends Error {
  override readonly name = 'ClientDisconnectedError';

  constructor() {
    super('the client has disconnected');
  }
}
