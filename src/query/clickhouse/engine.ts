import type { ExportQuery } from '../../export/export.ts';
import type { Kind } from '../../records.ts';
import type { ActivityQuery } from '../activity.ts';
import { createBudget, type QueryLimits } from '../budget.ts';
import type { PageQuery } from '../engine.ts';
import type { FunnelQuery } from '../funnel.ts';
import type { RetentionQuery } from '../retention.ts';
import type { BucketQuery } from '../selection.ts';
import { serialize } from '../serialize.ts';
import { activity } from './activity.ts';
import type { ClickHouse, Connection, QueryContext } from './connection.ts';
import { counts } from './counts.ts';
import { funnel } from './funnel.ts';
import { names } from './names.ts';
import { countsOfProperties, funnelOfProperties, readsProperties, retentionOfProperties } from './properties.ts';
import { exportRecords, page } from './records.ts';
import { retention } from './retention.ts';
import { series } from './series.ts';

/** How a query is stopped early, and which rows it must not see. */
export interface QueryState extends Pick<QueryContext, 'erased'> {
  /** Returns whether the query is canceled. Cheap. */
  readonly isCanceled: () => boolean;
  /** Aborted once it is canceled. */
  readonly signal: AbortSignal;
}

/**
 * Creates the query engine that reads from ClickHouse. Its queries and exports return what those of the embedded engine do;
 * they are asynchronous.
 */
export function createClickHouseEngine(clickhouse: ClickHouse, limits: Omit<QueryLimits, 'isCanceled'>) {
  const exports = new Map<number, { parts: AsyncGenerator<Uint8Array>; context: QueryContext }>();

  /** Runs work within the limits of a query. */
  async function within<Result>(
    { isCanceled, signal, erased }: QueryState,
    work: (context: QueryContext) => Promise<Result>,
  ): Promise<Result> {
    const budget = createBudget({ ...limits, isCanceled });
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), limits.timeoutMs + 1);
    try {
      return await work({ budget, signal: AbortSignal.any([signal, deadline.signal]), erased });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Runs a query whose result is serialized. */
  const run = (state: QueryState, query: (connection: Connection) => Promise<unknown>): Promise<string> =>
    within(state, async (context) => serialize(await query(clickhouse.connect(context)), context.budget));

  return {
    queries: {
      names: ({ kind, user }: { kind: Kind; user: string | undefined }, state: QueryState) =>
        run(state, (connection) => names(connection, kind, user)),
      series: (query: BucketQuery, state: QueryState) => run(state, (connection) => series(connection, query)),
      counts: (query: BucketQuery, state: QueryState) =>
        run(state, (connection) => (readsProperties(query) ? countsOfProperties : counts)(connection, query)),
      funnel: (query: FunnelQuery, state: QueryState) =>
        run(state, (connection) => (readsProperties(query) ? funnelOfProperties : funnel)(connection, query)),
      retention: (query: RetentionQuery, state: QueryState) =>
        run(state, (connection) => (readsProperties(query) ? retentionOfProperties : retention)(connection, query)),
      activity: (query: ActivityQuery, state: QueryState) => run(state, (connection) => activity(connection, query)),
      page: (query: PageQuery, state: QueryState) =>
        within(state, (context) => page(clickhouse.connect(context), query, limits.maxResultBytes)),
    },

    exports: {
      /** Opens an export under an ID chosen by the caller. */
      async open(id: number, query: ExportQuery, state: QueryState): Promise<void> {
        await within(state, async (context) => {
          // each part has the limits of a query
          const parts = exportRecords(() => clickhouse.connect(opened.context), query);
          const opened = { parts, context };
          exports.set(id, opened);
        });
      },
      /**
       * Returns the next part, which may be empty; undefined once the export is complete. Each part has its own buffer.
       *
       * @throws {Error} if there is no such export, because it has failed or the worker has restarted
       */
      async next(id: number, state: QueryState): Promise<Uint8Array | undefined> {
        const opened = exports.get(id);
        if (!opened) throw new Error(`no export with ID ${id}`);
        exports.delete(id); // if it fails, a retry must not look like the end of the export
        return within(state, async (context) => {
          opened.context = context;
          const { value, done } = await opened.parts.next();
          if (done) return undefined;
          exports.set(id, opened);
          return value;
        });
      },
      close(id: number): void {
        exports.delete(id);
      },
    },
  };
}

export type ClickHouseQueries = ReturnType<typeof createClickHouseEngine>['queries'];
