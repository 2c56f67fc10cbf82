import type { Logger } from 'pino';
import type { Principal } from '../auth/verifier.ts';
import { DATA_PREFIX } from '../properties.ts';
import type { FinishedQuery } from '../query/caller.ts';
import type { Queries } from '../query/engine.ts';
import { outcomeOf } from './query-metrics.ts';
import { targetOf } from './request-target.ts';

/** A query, for the log. */
export interface LoggedQuery {
  readonly name: keyof Queries;
  readonly argument: Parameters<Queries[keyof Queries]>[0];
  /** Undefined for a query of the server. */
  readonly client: QueryRequest | undefined;
}

/** The request of a query. */
export interface QueryRequest {
  readonly principal: Principal;
  readonly request: Request;
  /** The route's pattern. */
  readonly route: string;
  readonly requestId: string;
}

/** Logs slow queries. */
export interface SlowQueryLog {
  /** Logs a query that has ended, if it ran and took longer than the threshold. */
  report(query: LoggedQuery, finished: FinishedQuery): void;
}

/**
 * Creates the log of slow queries. A line has the names of the query's parameters, but no values of filters and no user
 * IDs, because log lines survive an erasure.
 *
 * @param thresholdMs the time from the arrival of a query to its end, in milliseconds; undefined: nothing is logged
 * @param hashUser returns a keyed hash of a user ID
 */
export function createSlowQueryLog(
  log: Logger,
  thresholdMs: number | undefined,
  hashUser: (userId: string) => string,
): SlowQueryLog {
  return {
    report(query, finished) {
      const { waitedMs, ranMs } = finished;
      // a client can queue and abort any number of queries, so those that never ran are not logged
      if (thresholdMs === undefined || ranMs === undefined || waitedMs + ranMs < thresholdMs) return;
      const { name, argument, client } = query;
      log.warn(
        {
          ...(client && { request_id: client.requestId, route: client.route }),
          query: name,
          outcome: outcomeOf(finished),
          duration_ms: Math.round(waitedMs + ranMs),
          waited_ms: Math.round(waitedMs),
          ...sizeOf(finished.value),
          ...(client && { role: client.principal.role, user_hash: hashUser(client.principal.userId) }),
          ...shapeOf(argument),
          ...(client && { parameters: parametersOf(client.request) }),
        },
        'slow query',
      );
    },
  };
}

/** Returns the size of a result: JSON text, or a page of records. */
function sizeOf(value: unknown): { readonly bytes?: number; readonly rows?: number } {
  if (typeof value === 'string') return { bytes: Buffer.byteLength(value) };
  if (typeof value !== 'object' || value === null) return {};
  const { records } = value as ReturnType<Queries['page']>; // no other query returns an object
  return { rows: records.length, bytes: records.reduce((sum, record) => sum + Buffer.byteLength(record), 0) };
}

/** Returns the length of a query's range, if it has both ends, and of its buckets. */
function shapeOf(argument: LoggedQuery['argument']): { readonly range_seconds?: number; readonly interval?: string } {
  const { from, to } = 'filter' in argument ? argument.filter : { from: undefined, to: undefined, ...argument };
  const interval = 'interval' in argument ? argument.interval : undefined;
  return {
    ...(from !== undefined && to !== undefined && { range_seconds: (to - from) / 1e6 }),
    ...(interval && { interval: `${interval.count} ${interval.unit}` }),
  };
}

/** Returns the names of a query's parameters. Paths of properties, which a client makes up, are all `data.PATH`. */
function parametersOf(request: Request): string[] {
  const names = [...new URLSearchParams(targetOf(request).query).keys()];
  return [...new Set(names.map((name) => (name.startsWith(DATA_PREFIX) ? 'data.PATH' : name)))].sort();
}
