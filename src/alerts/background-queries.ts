import type { Logger } from 'pino';
import { BACKGROUND, type FinishedQuery } from '../query/caller.ts';
import type { QueryClient } from '../query/client.ts';
import type { Queries } from '../query/engine.ts';

/** Ingest lag beyond which results are not used, in seconds: rows that are missing would look like silence. */
const MAX_LAG_SECONDS = 60;

/**
 * Runs a query of the server. Queries of users go first, for some time.
 *
 * @param onFinished called when it has ended, also if it failed
 * @returns the result as JSON; undefined if too many rows are missing in it
 * @throws as {@link QueryClient.run}
 */
export type RunInBackground = <Name extends keyof Queries>(
  name: Name,
  argument: Parameters<Queries[Name]>[0],
  onFinished?: (finished: FinishedQuery) => void,
) => Promise<ReturnType<Queries[Name]> | undefined>;

/** What checks that run queries use. */
export interface QueryCheckParts {
  readonly run: RunInBackground;
  readonly isStopping: () => boolean;
  readonly uptimeSeconds: () => number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  /** A clock that is never set, in milliseconds. */
  readonly monotonic: () => number;
  readonly log: Logger;
}

/** Called when a query has ended. Must not throw. */
export type OnQuery = (
  query: { readonly name: keyof Queries; readonly argument: Parameters<Queries[keyof Queries]>[0] },
  finished: FinishedQuery,
) => void;

/** Creates the function that runs queries in the background, one at a time. */
export function runInBackground(
  queries: Pick<QueryClient, 'run'>,
  signal: AbortSignal,
  onQuery: OnQuery,
): RunInBackground {
  return async (name, argument, onFinished) => {
    const caller = {
      userId: BACKGROUND,
      canReadAll: true,
      signal,
      onFinished(finished: FinishedQuery) {
        onQuery({ name, argument }, finished);
        onFinished?.(finished);
      },
    };
    const { value, lag } = await queries.run(name, argument, caller);
    return lag.seconds > MAX_LAG_SECONDS ? undefined : value;
  };
}
