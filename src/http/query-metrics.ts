import { Counter, Histogram, type Registry } from 'prom-client';
import { ApiError } from '../errors.ts';
import { ClientDisconnectedError, type FinishedQuery } from '../query/caller.ts';
import type { Queries } from '../query/engine.ts';

/** The queries that are measured: those of the engine, and each part of an export. */
export type QueryKind = keyof Queries | 'export';

const KINDS = Object.keys({
  names: true,
  series: true,
  counts: true,
  funnel: true,
  retention: true,
  activity: true,
  page: true,
  export: true,
  arrivals: true,
  quiet: true,
} satisfies Record<QueryKind, true>) as QueryKind[];

/** From 1 ms, the time of a small query, to 10 s, the default QUERY_TIMEOUT. */
const SECONDS_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

const FAILURES = ['canceled', 'too_large', 'overloaded', 'failed'] as const;

/** What became of a query. `canceled` is by its client or a shutdown; `too_large` includes QUERY_TIMEOUT. */
export type QueryOutcome = 'completed' | (typeof FAILURES)[number];

/** Returns what became of a query. */
export function outcomeOf({ error }: FinishedQuery): QueryOutcome {
  if (error === undefined) return 'completed';
  if (error instanceof ClientDisconnectedError) return 'canceled';
  switch (error instanceof ApiError ? error.code : undefined) {
    case 'shutting_down':
      return 'canceled';
    case 'query_too_large':
      return 'too_large';
    case 'queries_overloaded':
      return 'overloaded';
    default:
      return 'failed';
  }
}

/** Registers the metrics of queries, and returns the function that adds a query to them. */
export function queryMetrics(registry: Registry): (kind: QueryKind, finished: FinishedQuery) => void {
  const common = { labelNames: ['query'], buckets: SECONDS_BUCKETS, registers: [registry] };
  const duration = new Histogram({
    name: 'rawlog_query_duration_seconds',
    help: 'Time that the query worker took for a query, without its wait',
    ...common,
  });
  const wait = new Histogram({
    name: 'rawlog_query_wait_seconds',
    help: 'Time that a query waited for its turn',
    ...common,
  });
  const failures = new Counter({
    name: 'rawlog_queries_failed_total',
    help: 'Queries without a result, by reason',
    labelNames: ['query', 'reason'],
    registers: [registry],
  });
  // a series that appears with its first failure has no rate
  for (const query of KINDS) {
    duration.zero({ query });
    wait.zero({ query });
    for (const reason of FAILURES) failures.inc({ query, reason }, 0);
  }
  return (query, finished) => {
    const { waitedMs, ranMs } = finished;
    const outcome = outcomeOf(finished);
    if (outcome !== 'overloaded') wait.observe({ query }, waitedMs / 1000);
    if (ranMs !== undefined) duration.observe({ query }, ranMs / 1000);
    if (outcome !== 'completed') failures.inc({ query, reason: outcome });
  };
}
