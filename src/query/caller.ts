/** Who runs a query: limits are per user, and a query is canceled when its client disconnects. */
export interface QueryCaller {
  readonly userId: string;
  /** Aborted when the client disconnects. */
  readonly signal: AbortSignal;
}

/** In place of the ID of one query: cancels all of them, because the server is stopping. */
export const CANCEL_ALL = -1;

/** The client of a query is gone: nobody reads the response. */
export class ClientDisconnectedError extends Error {
  override readonly name = 'ClientDisconnectedError';

  constructor() {
    super('the client has disconnected');
  }
}
