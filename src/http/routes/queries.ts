import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll, type Principal } from '../../auth/verifier.ts';
import { ApiError } from '../../errors.ts';
import { UTC } from '../../formats/time-zone.ts';
import { formatTimestamp } from '../../formats/timestamp.ts';
import type { QueryClient } from '../../query/client.ts';
import type { Queries } from '../../query/engine.ts';
import type { BucketQuery } from '../../query/selection.ts';
import { zoneNamed } from '../../query/zone-database.ts';
import type { Kind } from '../../records.ts';
import type { ZoneOffsets } from '../../responses.ts';
import { authenticate } from '../auth.ts';
import { bunTimeout } from '../idle-timeout.ts';
import { queryRoute, zoneRoute } from '../openapi.ts';
import {
  BUCKETS,
  CURSOR,
  cursorOf,
  DAYS,
  documented,
  groupBy,
  LABEL,
  LIMIT,
  NAME,
  RANGE,
  RECORD_FILTERS,
  RETURN_STEP,
  readQuery,
  recordFilter,
  STEP,
  STEPS,
  TOP_NAMES,
  TYPE,
  USER_ID,
  WITHIN,
} from '../parameters.ts';

/** What the query routes work with. */
export interface QueryParts {
  readonly verify: CachedVerifier;
  readonly queries: QueryClient;
  readonly idleTimeoutSeconds: number;
}

const DEFAULT_TOP = 10;
const DEFAULT_LIMIT = 100;
const DEFAULT_WITHIN = 7 * 86_400;
const DEFAULT_DAYS = 14;

const SERIES = {
  name: NAME,
  ...RANGE,
  ...BUCKETS,
  group_by: groupBy('data_string'),
  data_string: LABEL.data_string,
  user_id: USER_ID,
};
const COUNTS = {
  type: TYPE,
  ...RANGE,
  ...BUCKETS,
  group_by: groupBy('data_index'),
  data_index: LABEL.data_index,
  user_id: USER_ID,
};
const ACTIVITY = { ...RANGE, ...BUCKETS, top: TOP_NAMES, user_id: USER_ID };
const FUNNEL = { type: TYPE, step: STEPS, ...RANGE, within: WITHIN, user_id: USER_ID };
const RETENTION = {
  type: TYPE,
  step: STEP,
  return_step: RETURN_STEP,
  ...RANGE,
  tz: BUCKETS.tz,
  days: DAYS,
  user_id: USER_ID,
};
const ZONE = { tz: BUCKETS.tz };
const NAMES = { user_id: USER_ID };
const PAGE = {
  metric: { ...RECORD_FILTERS.metric, ...RANGE, limit: LIMIT, cursor: CURSOR },
  analytics: { ...RECORD_FILTERS.analytics, ...RANGE, limit: LIMIT, cursor: CURSOR },
};

/** What a handler needs of Elysia's context. */
interface Asked {
  readonly request: Request;
  readonly server: { timeout(request: Request, seconds: number): void } | null;
  readonly set: { readonly headers: Record<string, string | number> };
}

/** The query routes. What a token may see is decided here, before the query runs. */
export function querying({ verify, queries, idleTimeoutSeconds }: QueryParts) {
  const identify = async (request: Request): Promise<Principal> => authenticate(request.headers, verify);

  /** Runs a query for a caller, and says what its result lacks. */
  const run = async <Name extends keyof Queries>(
    name: Name,
    argument: Parameters<Queries[Name]>[0],
    { userId }: Principal,
    { request, server, set }: Asked,
  ): Promise<ReturnType<Queries[Name]>> => {
    // while a query waits for its turn no byte moves, but the connection is not idle
    server?.timeout(request, 0);
    const { value, lag } = await queries
      .run(name, argument, { userId, signal: request.signal })
      .finally(() => server?.timeout(request, bunTimeout(idleTimeoutSeconds)));
    if (lag.rows > 0) {
      set.headers['x-ingest-lag-rows'] = String(lag.rows);
      set.headers['x-ingest-lag-seconds'] = lag.seconds.toFixed(3);
    }
    return value;
  };

  const listNames = async (kind: Kind, asked: Asked): Promise<string> => {
    const principal = await identify(asked.request);
    const query = readQuery(asked.request, NAMES);
    return run('names', { kind, user: scopeOf(principal, query.user_id) }, principal, asked);
  };

  const page = async (kind: Kind, asked: Asked): Promise<string> => {
    const principal = await identify(asked.request);
    const query = readQuery(asked.request, PAGE[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const wanted = { kind, filter, before: query.cursor, limit: query.limit ?? DEFAULT_LIMIT };
    const found = await run('page', wanted, principal, asked);
    const next = found.next === undefined ? null : cursorOf(found.next);
    return `{"records":[${found.records.join(',')}],"next_cursor":${JSON.stringify(next)}}`;
  };

  return new Elysia({ name: 'queries' })
    .onAfterHandle({ as: 'local' }, ({ set }) => {
      set.headers['content-type'] = 'application/json';
    })
    .get(
      '/api/metrics',
      async ({ request, server, set }) => `{"metrics":${await listNames('metric', { request, server, set })}}`,
      {
        detail: queryRoute(
          'List metrics',
          'Metric names with their count, and when the first and the last of their values happened.',
          documented(NAMES),
          'MetricNames',
        ),
      },
    )
    .get(
      '/api/analytics',
      async ({ request, server, set }) => `{"types":${await listNames('analytics', { request, server, set })}}`,
      {
        detail: queryRoute(
          'List event types',
          'Event types with their count, and when the first and the last of their events happened.',
          documented(NAMES),
          'EventTypes',
        ),
      },
    )
    .get(
      '/api/activity',
      async ({ request, server, set }) => {
        const principal = await identify(request);
        const { tz = 'UTC', top = DEFAULT_TOP, user_id, ...query } = readQuery(request, ACTIVITY);
        const wanted = { ...query, zone: tz, top, user: scopeOf(principal, user_id) };
        return run('activity', wanted, principal, { request, server, set });
      },
      {
        detail: queryRoute(
          'Rows over time',
          'Metrics and events per bucket, in total and by name. Each list of `counts` has one number for each of `starts`. The most frequent names come first, equally frequent ones in the order of their UTF-16 code units; names without a row in the range are left out.',
          documented(ACTIVITY),
          'Activity',
        ),
      },
    )
    .get(
      '/api/metrics/series',
      async ({ request, server, set }) => {
        const principal = await identify(request);
        const { data_string: label, ...query } = readQuery(request, SERIES);
        return run('series', bucketQuery(principal, { ...query, label }), principal, { request, server, set });
      },
      {
        detail: queryRoute(
          'A metric over time',
          'Per bucket: count, sum, average, smallest and largest value, and the 50th, 95th and 99th percentile, all exact. Empty buckets are included. The same figures at the top level, of each group and of `other` cover the range exactly, whatever the bucket.',
          documented(SERIES),
          'Series',
        ),
      },
    )
    .get(
      '/api/analytics/counts',
      async ({ request, server, set }) => {
        const principal = await identify(request);
        const { type: name, data_index: label, ...query } = readQuery(request, COUNTS);
        return run('counts', bucketQuery(principal, { ...query, name, label }), principal, { request, server, set });
      },
      {
        detail: queryRoute(
          'Events over time',
          'Per bucket, and by `data_index` on request: how many events, and how many users, both exact.',
          documented(COUNTS),
          'Counts',
        ),
      },
    )
    .get(
      '/api/analytics/funnel',
      async ({ request, server, set }) => {
        const principal = await identify(request);
        const { type: name, step: steps, within = DEFAULT_WITHIN, user_id, ...range } = readQuery(request, FUNNEL);
        const wanted = { ...range, name, steps, within, user: scopeOf(principal, user_id) };
        return run('funnel', wanted, principal, { request, server, set });
      },
      {
        detail: queryRoute(
          'A funnel',
          "How many users get through steps in order. A user's way begins with an event of the first step; each further step is the earliest later event of that step, at most `within` after the beginning. Of a user's ways, the one that gets furthest counts.",
          documented(FUNNEL),
          'Funnel',
        ),
      },
    )
    .get(
      '/api/analytics/retention',
      async ({ request, server, set }) => {
        const principal = await identify(request);
        const query = readQuery(request, RETENTION);
        const { type: name, return_step: returnStep, tz: zone = 'UTC', days = DEFAULT_DAYS, user_id, ...rest } = query;
        const wanted = { ...rest, name, returnStep, zone, days, user: scopeOf(principal, user_id) };
        return run('retention', wanted, principal, { request, server, set });
      },
      {
        detail: queryRoute(
          'Cohort retention',
          'Cohorts of users by the local day of their first event with `data_index` = `step` in the range, and how many of each came back 1, 2, … `days` local days later, with an event of the type on that day. Every day of the range is included. `returned` is null for days that begin at or after the end of the range.',
          documented(RETENTION),
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
        detail: zoneRoute(
          'Offsets of a time zone',
          'The offsets from UTC that buckets follow, from the year 1700 to 2200. Use them to compute local days: the time zone database of a client may be older.',
          documented(ZONE),
        ),
      },
    )
    .get('/api/records/metrics', ({ request, server, set }) => page('metric', { request, server, set }), {
      detail: queryRoute(
        'Metrics, newest first',
        'Rows as they were recorded, in the order of their receipt. A page may have fewer rows than requested, or none: there are more as long as `next_cursor` is not null.',
        documented(PAGE.metric),
        'MetricPage',
      ),
    })
    .get('/api/records/analytics', ({ request, server, set }) => page('analytics', { request, server, set }), {
      detail: queryRoute('Events, newest first', 'As for metrics.', documented(PAGE.analytics), 'EventPage'),
    });
}

function zoneOffsets(tz: string): ZoneOffsets {
  const { starts, offsets } = zoneNamed(tz) ?? UTC; // the parameter has been checked
  const list = starts.map((start, i) => ({
    from: Number.isFinite(start) ? formatTimestamp(start) : null,
    offset_seconds: (offsets[i] as number) / 1e6,
  }));
  return { tz, offsets: list };
}

/** Returns a query over buckets, within the scope of its caller. */
function bucketQuery(
  principal: Principal,
  query: {
    readonly name: string;
    readonly from: number | undefined;
    readonly to: number | undefined;
    readonly interval: BucketQuery['interval'];
    readonly tz: string | undefined;
    readonly top: number | undefined;
    readonly group_by: string | undefined;
    readonly label: string | undefined;
    readonly user_id: string | undefined;
  },
): BucketQuery {
  const { name, from, to, interval, label, tz: zone = 'UTC', top = DEFAULT_TOP } = query;
  const user = scopeOf(principal, query.user_id);
  return { name, from, to, interval, label, zone, top: query.group_by === undefined ? undefined : top, user };
}

/**
 * Whose rows a token may see: an admin's all, or those of the user that it names; everyone else's their own.
 *
 * @throws {ApiError} `forbidden` when somebody else is named
 */
export function scopeOf(principal: Principal, named: string | undefined): string | undefined {
  const { userId } = principal;
  if (canReadAll(principal)) return named;
  if (named !== undefined && named !== userId) throw new ApiError('forbidden');
  return userId;
}
