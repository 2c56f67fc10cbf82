import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll, type Principal } from '../../auth/verifier.ts';
import { ApiError } from '../../errors.ts';
import type { FinishedQuery } from '../../query/caller.ts';
import type { QueryClient } from '../../query/client.ts';
import type { Queries } from '../../query/engine.ts';
import type { Kind } from '../../records.ts';
import { authenticate } from '../auth.ts';
import { type BusyRequest, whileBusy } from '../idle-timeout.ts';
import { reportLag } from '../lag-headers.ts';
import type { Metrics } from '../metrics.ts';
import { documentQuery, documentZone } from '../openapi.ts';
import { documentParameters, readQuery } from '../parameters.ts';
import {
  COUNTS,
  countsArgument,
  DEFAULT_TOP,
  FUNNEL,
  funnelArgument,
  intervalOf,
  RETENTION,
  retentionArgument,
  SERIES,
  seriesArgument,
} from '../query-arguments.ts';
import {
  BUCKETS,
  CURSOR,
  cohortConflicts,
  cursorOf,
  LIMIT,
  RANGE,
  RECORD_FILTERS,
  recordFilter,
  TOP_NAMES,
  UNIQUE_USERS,
  USER_ID,
} from '../query-parameters.ts';
import type { SlowQueryLog } from '../slow-query-log.ts';
import type { Tracing } from '../tracing.ts';
import { zoneOffsets } from '../zone-offsets.ts';

/** Dependencies of the query routes. */
export interface QueryParts {
  readonly verify: CachedVerifier;
  /** The engine of the queries: the embedded one, or the one behind QUERY_URL. */
  readonly engine: Pick<QueryClient, 'run' | 'export'>;
  readonly idleTimeoutSeconds: number;
  readonly metrics: Pick<Metrics, 'query'>;
  readonly slowQueries: SlowQueryLog;
  /** Undefined if traces are not exported. */
  readonly tracing: Pick<Tracing, 'query'> | undefined;
}

const DEFAULT_LIMIT = 100;

const ACTIVITY = { ...RANGE, ...BUCKETS, top: TOP_NAMES, unique_users: UNIQUE_USERS, user_id: USER_ID };
const ZONE = { tz: BUCKETS.tz };
const NAMES = { user_id: USER_ID };
const PAGE = {
  metric: { ...RECORD_FILTERS.metric, ...RANGE, limit: LIMIT, cursor: CURSOR },
  analytics: { ...RECORD_FILTERS.analytics, ...RANGE, limit: LIMIT, cursor: CURSOR },
};

/** The properties of Elysia's context that a handler needs. */
interface QueryContext extends BusyRequest {
  readonly set: { readonly headers: Record<string, string | number> };
  readonly route: string;
  readonly requestId: string;
}

/** Creates the query routes. They apply the caller's scope before a query runs. */
export function queryRoutes({ verify, engine, idleTimeoutSeconds, metrics, slowQueries, tracing }: QueryParts) {
  const identify = async (request: Request): Promise<Principal> => authenticate(request.headers, verify);

  /** Runs a query for a caller and reports the ingest lag in response headers. */
  const run = async <Name extends keyof Queries>(
    name: Name,
    argument: Parameters<Queries[Name]>[0],
    principal: Principal,
    { request, server, set, route, requestId }: QueryContext,
  ): Promise<ReturnType<Queries[Name]>> => {
    const caller = {
      userId: principal.userId,
      canReadAll: canReadAll(principal),
      signal: request.signal,
      onFinished(finished: FinishedQuery) {
        metrics.query(name, finished);
        tracing?.query(request, name, finished);
        slowQueries.report({ name, argument, client: { principal, request, route, requestId } }, finished);
      },
    };
    const running = engine.run(name, argument, caller);
    const { value, lag } = await whileBusy({ request, server }, idleTimeoutSeconds, running);
    reportLag(set.headers, lag);
    return value;
  };

  const listNames = async (kind: Kind, context: QueryContext): Promise<string> => {
    const principal = await identify(context.request);
    const query = readQuery(context.request, NAMES);
    return run('names', { kind, user: scopeOf(principal, query.user_id) }, principal, context);
  };

  const page = async (kind: Kind, context: QueryContext): Promise<string> => {
    const principal = await identify(context.request);
    const query = readQuery(context.request, PAGE[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const argument = { kind, filter, before: query.cursor, limit: query.limit ?? DEFAULT_LIMIT };
    const result = await run('page', argument, principal, context);
    const next = result.next === undefined ? null : cursorOf(result.next);
    return `{"records":[${result.records.join(',')}],"next_cursor":${JSON.stringify(next)}}`;
  };

  return new Elysia({ name: 'queries' })
    .decorate('requestId', '') // set by request-start.ts
    .onAfterHandle({ as: 'local' }, ({ set }) => {
      set.headers['content-type'] = 'application/json';
    })
    .get(
      '/api/metrics',
      async ({ request, server, set, route, requestId }) =>
        `{"metrics":${await listNames('metric', { request, server, set, route, requestId })}}`,
      {
        detail: documentQuery(
          'listMetrics',
          'List metrics',
          'Returns all metric names with their count and the times of their first and last value.',
          documentParameters(NAMES),
          'MetricNames',
        ),
      },
    )
    .get(
      '/api/analytics',
      async ({ request, server, set, route, requestId }) =>
        `{"types":${await listNames('analytics', { request, server, set, route, requestId })}}`,
      {
        detail: documentQuery(
          'listEventTypes',
          'List event types',
          'Returns all event types with their count and the times of their first and last event.',
          documentParameters(NAMES),
          'EventTypes',
        ),
      },
    )
    .get(
      '/api/activity',
      async ({ request, server, set, route, requestId }) => {
        const principal = await identify(request);
        const query = readQuery(request, ACTIVITY);
        const { tz: zone = 'UTC', top = DEFAULT_TOP, from, to, unique_users: uniqueUsers = false } = query;
        const user = scopeOf(principal, query.user_id);
        const argument = { from, to, interval: intervalOf(query), zone, top, uniqueUsers, user };
        return run('activity', argument, principal, { request, server, set, route, requestId });
      },
      {
        detail: documentQuery(
          'getActivity',
          'Count rows over time',
          'Returns the number of metrics and events per bucket, in total and by name. Each `counts` list contains one number per entry in `starts`. Names are sorted by frequency, most frequent first, then by UTF-16 code units. Names without rows in the range are omitted.',
          documentParameters(ACTIVITY),
          'Activity',
        ),
      },
    )
    .get(
      '/api/metrics/series',
      async ({ request, server, set, route, requestId }) => {
        const principal = await identify(request);
        const query = readQuery(request, SERIES);
        const argument = seriesArgument(query, scopeOf(principal, query.user_id));
        return run('series', argument, principal, { request, server, set, route, requestId });
      },
      {
        detail: documentQuery(
          'getMetricSeries',
          'Aggregate a metric over time',
          'Returns count, sum, average, minimum, maximum and the 50th, 95th and 99th percentile per bucket, all exact. Empty buckets are included. The totals at the top level, per group and of `other` cover exactly the requested range, regardless of bucket boundaries.',
          documentParameters(SERIES),
          'Series',
        ),
      },
    )
    .get(
      '/api/analytics/counts',
      async ({ request, server, set, route, requestId }) => {
        const principal = await identify(request);
        const query = readQuery(request, COUNTS);
        const argument = countsArgument(query, scopeOf(principal, query.user_id));
        return run('counts', argument, principal, { request, server, set, route, requestId });
      },
      {
        detail: documentQuery(
          'countEvents',
          'Count events over time',
          'Returns the exact number of events and unique users per bucket, optionally grouped by `data_index` or by a property of `data`, and optionally with the sum of a property.',
          documentParameters(COUNTS),
          'Counts',
        ),
      },
    )
    .get(
      '/api/analytics/funnel',
      async ({ request, server, set, route, requestId }) => {
        const principal = await identify(request);
        const query = readQuery(request, FUNNEL);
        const argument = funnelArgument(query, scopeOf(principal, query.user_id));
        return run('funnel', argument, principal, { request, server, set, route, requestId });
      },
      {
        detail: documentQuery(
          'getFunnel',
          'Compute a funnel',
          'Returns how many users reach each step, in order. Steps can be events of different types. An attempt begins with an event of the first step. Each further step is the earliest later event of that step, at most `within` after the attempt began. If a user makes several attempts, only the one that gets furthest counts.',
          documentParameters(FUNNEL),
          'Funnel',
        ),
      },
    )
    .get(
      '/api/analytics/retention',
      async ({ request, server, set, route, requestId }) => {
        const principal = await identify(request);
        const query = readQuery(request, RETENTION, cohortConflicts);
        const argument = retentionArgument(query, scopeOf(principal, query.user_id));
        return run('retention', argument, principal, { request, server, set, route, requestId });
      },
      {
        detail: documentQuery(
          'getRetention',
          'Compute cohort retention',
          'Groups users into cohorts by the local day, week or month of their first event of `step` in the range, and returns how many users of each cohort returned 1, 2, … `periods` periods later. A user returns in a period with an event of `return_step` in it; by default, with any event of the `type`, or of any type if `type` is not given. There is one cohort per period in the range, even if it is empty. `returned` contains null for periods that begin at or after the end of the range.',
          documentParameters(RETENTION),
          'Retention',
        ),
      },
    )
    .get(
      '/api/zone',
      async ({ request }) => {
        await identify(request);
        const { tz = 'UTC' } = readQuery(request, ZONE);
        return JSON.stringify(zoneOffsets(tz));
      },
      {
        detail: documentZone(
          'getTimeZone',
          'Get the UTC offsets of a time zone',
          'Returns the UTC offsets that buckets follow, from the year 1700 to 2200. Use them to compute local days, because the time zone database of a client may be older.',
          documentParameters(ZONE),
        ),
      },
    )
    .get(
      '/api/records/metrics',
      ({ request, server, set, route, requestId }) => page('metric', { request, server, set, route, requestId }),
      {
        detail: documentQuery(
          'listMetricRecords',
          'List metric records',
          RECORD_PAGES,
          documentParameters(PAGE.metric),
          'MetricPage',
        ),
      },
    )
    .get(
      '/api/records/analytics',
      ({ request, server, set, route, requestId }) => page('analytics', { request, server, set, route, requestId }),
      {
        detail: documentQuery(
          'listEventRecords',
          'List event records',
          RECORD_PAGES,
          documentParameters(PAGE.analytics),
          'EventPage',
        ),
      },
    );
}

const RECORD_PAGES =
  'Returns records as they were stored, sorted by time of receipt, newest first. A page may contain fewer records than `limit`, or none; there are more pages until `next_cursor` is null.';

/**
 * Returns the user whose rows a query reads; undefined means all users. Admins and viewers can name any user or none,
 * other callers only themselves.
 *
 * @throws {ApiError} `forbidden` if the caller may not read the requested user
 */
export function scopeOf(principal: Principal, requestedUser: string | undefined): string | undefined {
  const { userId } = principal;
  if (canReadAll(principal)) return requestedUser;
  if (requestedUser !== undefined && requestedUser !== userId) throw new ApiError('forbidden');
  return userId;
}
