import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { type Principal, readsAll } from '../../auth/verifier.ts';
import { Failure } from '../../errors.ts';
import type { QueryClient } from '../../query/client.ts';
import type { Queries } from '../../query/engine.ts';
import type { BucketQuery } from '../../query/selection.ts';
import type { Kind } from '../../records.ts';
import { authenticate } from '../auth.ts';
import { queryRoute } from '../openapi.ts';
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

/** What the reading routes work with. */
export interface QueryParts {
  readonly verify: CachedVerifier;
  readonly queries: QueryClient;
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
const PAGE = {
  metric: { ...RECORD_FILTERS.metric, ...RANGE, limit: LIMIT, cursor: CURSOR },
  analytics: { ...RECORD_FILTERS.analytics, ...RANGE, limit: LIMIT, cursor: CURSOR },
};

/** The routes that answer questions. What a token may see is decided here, before a question is asked. */
export function querying({ verify, queries }: QueryParts) {
  const identify = async (request: Request): Promise<Principal> => authenticate(request.headers, verify);

  const run = async <Name extends keyof Queries>(
    name: Name,
    argument: Parameters<Queries[Name]>[0],
    { userId }: Principal,
    { signal }: Request,
  ): Promise<ReturnType<Queries[Name]>> => (await queries.ask(name, argument, { userId, signal })).value;

  const listNames = async (request: Request, kind: Kind): Promise<string> => {
    const principal = await identify(request);
    const query = readQuery(request, { user_id: USER_ID });
    return run('names', { kind, user: scopeOf(principal, query.user_id) }, principal, request);
  };

  const page = async (request: Request, kind: Kind): Promise<string> => {
    const principal = await identify(request);
    const query = readQuery(request, PAGE[kind]);
    const filter = recordFilter(kind, query, scopeOf(principal, query.user_id));
    const page = { kind, filter, before: query.cursor, limit: query.limit ?? DEFAULT_LIMIT };
    const found = await run('page', page, principal, request);
    const next = found.next === undefined ? null : cursorOf(found.next);
    return `{"records":[${found.records.join(',')}],"next_cursor":${JSON.stringify(next)}}`;
  };

  return new Elysia({ name: 'reading' })
    .onAfterHandle({ as: 'local' }, ({ set }) => {
      set.headers['content-type'] = 'application/json';
    })
    .get('/api/metrics', ({ request }) => listNames(request, 'metric').then((list) => `{"metrics":${list}}`), {
      detail: queryRoute(
        'List the metrics',
        'Names of metrics with their count, and when the first and the last of them happened.',
        documented({ user_id: USER_ID }),
        {
          metrics: [
            {
              name: 'page_load_time',
              count: 3,
              first_seen: '2026-03-01T10:00:00Z',
              last_seen: '2026-03-02T08:30:00.5Z',
            },
          ],
        },
      ),
    })
    .get('/api/analytics', ({ request }) => listNames(request, 'analytics').then((list) => `{"types":${list}}`), {
      detail: queryRoute(
        'List the event types',
        'Types of events with their count, and when the first and the last of them happened.',
        documented({ user_id: USER_ID }),
        {
          types: [
            {
              type: 'tutorial_step',
              count: 3,
              first_seen: '2026-03-01T10:00:00Z',
              last_seen: '2026-03-02T08:30:00.5Z',
            },
          ],
        },
      ),
    })
    .get(
      '/api/activity',
      async ({ request }) => {
        const principal = await identify(request);
        const { from, to, interval, tz, top, user_id } = readQuery(request, ACTIVITY);
        return run(
          'activity',
          {
            from,
            to,
            interval,
            zone: tz ?? 'UTC',
            top: top ?? DEFAULT_TOP,
            user: scopeOf(principal, user_id),
          },
          principal,
          request,
        );
      },
      {
        detail: queryRoute(
          'How much is recorded',
          'How many metrics and events happened, per bucket, in total and by name. Each list of `counts` has one number for each of `starts`. Names come by their count, the most frequent first, and of equally frequent ones in the order of their UTF-16 code units; those without a row in the range are left out.',
          documented(ACTIVITY),
          {
            from: '2026-03-01T00:00:00Z',
            to: '2026-03-03T00:00:00Z',
            tz: 'UTC',
            starts: ['2026-03-01T00:00:00Z', '2026-03-02T00:00:00Z'],
            metrics: {
              count: 5,
              counts: [4, 1],
              names: [
                { name: 'page_load_time', count: 3, counts: [2, 1] },
                { name: 'memory_used', count: 2, counts: [2, 0] },
              ],
              other: { names: 0, count: 0, counts: [0, 0] },
            },
            analytics: {
              count: 4,
              counts: [1, 3],
              types: [{ type: 'tutorial_step', count: 4, counts: [1, 3] }],
              other: { types: 0, count: 0, counts: [0, 0] },
            },
          },
        ),
      },
    )
    .get(
      '/api/metrics/series',
      async ({ request }) => {
        const principal = await identify(request);
        const { name, data_string, group_by, ...query } = readQuery(request, SERIES);
        return run(
          'series',
          bucketQuestion(principal, { ...query, name, label: data_string, group: group_by }),
          principal,
          request,
        );
      },
      {
        detail: queryRoute(
          'A metric over time',
          'Per bucket: count, sum, average, least and greatest value, and the percentiles 50, 95 and 99, which are exact. Empty buckets are there, with a count of 0 and null.',
          documented(SERIES),
          {
            name: 'page_load_time',
            from: '2026-03-01T00:00:00+01:00',
            to: '2026-03-02T00:00:00+01:00',
            tz: 'Europe/Berlin',
            percentiles: { method: 'percentile_cont', error: 0 },
            buckets: [
              {
                start: '2026-03-01T00:00:00+01:00',
                count: 2,
                sum: 5,
                avg: 2.5,
                min: 2,
                max: 3,
                p50: 2.5,
                p95: 2.95,
                p99: 2.99,
              },
            ],
          },
        ),
      },
    )
    .get(
      '/api/analytics/counts',
      async ({ request }) => {
        const principal = await identify(request);
        const { type, data_index, group_by, ...query } = readQuery(request, COUNTS);
        return run(
          'counts',
          bucketQuestion(principal, { ...query, name: type, label: data_index, group: group_by }),
          principal,
          request,
        );
      },
      {
        detail: queryRoute(
          'Events over time',
          'Per bucket, and by `data_index` where asked: how many events, and how many users, both exact.',
          documented(COUNTS),
          {
            type: 'tutorial_step',
            from: '2026-03-01T00:00:00Z',
            to: '2026-03-02T00:00:00Z',
            tz: 'UTC',
            count: 5,
            unique_users: 3,
            buckets: [{ start: '2026-03-01T00:00:00Z', count: 5, unique_users: 3 }],
            groups: [
              {
                data_index: 'step_3',
                count: 4,
                unique_users: 3,
                buckets: [{ start: '2026-03-01T00:00:00Z', count: 4, unique_users: 3 }],
              },
            ],
            other: {
              labels: 1,
              count: 1,
              unique_users: 1,
              buckets: [{ start: '2026-03-01T00:00:00Z', count: 1, unique_users: 1 }],
            },
          },
        ),
      },
    )
    .get(
      '/api/analytics/funnel',
      async ({ request }) => {
        const principal = await identify(request);
        const { type, step, from, to, within, user_id } = readQuery(request, FUNNEL);
        return run(
          'funnel',
          {
            name: type,
            steps: step,
            from,
            to,
            within: within ?? DEFAULT_WITHIN,
            user: scopeOf(principal, user_id),
          },
          principal,
          request,
        );
      },
      {
        detail: queryRoute(
          'A funnel',
          "How many users get through steps in their order. A user's way begins at an event of the first step; each further step is the earliest later event of that step, not later than `within` after the beginning. The way that gets furthest counts.",
          documented(FUNNEL),
          {
            type: 'tutorial_step',
            from: '2026-03-01T00:00:00Z',
            to: '2026-03-02T00:00:00Z',
            tz: 'UTC',
            within_seconds: 604800,
            steps: [
              { step: 'step_1', users: 4, conversion: 1, conversion_from_previous: 1, median_seconds: null },
              { step: 'step_2', users: 2, conversion: 0.5, conversion_from_previous: 0.5, median_seconds: 31.5 },
            ],
          },
        ),
      },
    )
    .get(
      '/api/analytics/retention',
      async ({ request }) => {
        const principal = await identify(request);
        const { type, step, return_step, from, to, tz, days, user_id } = readQuery(request, RETENTION);
        return run(
          'retention',
          {
            name: type,
            step,
            returnStep: return_step,
            from,
            to,
            zone: tz ?? 'UTC',
            days: days ?? DEFAULT_DAYS,
            user: scopeOf(principal, user_id),
          },
          principal,
          request,
        );
      },
      {
        detail: queryRoute(
          'Who comes back',
          'Cohorts of users by the local day of their first event with `data_index` = `step` in the range, and how many of each came back 1, 2, … `days` local days later, with an event of the type on that day. Every day of the range is there. `returned` has null for days that begin at or after the end of the range.',
          documented(RETENTION),
          {
            type: 'tutorial_step',
            step: 'step_1',
            return_step: null,
            from: '2026-03-27T00:00:00+01:00',
            to: '2026-03-30T00:00:00+02:00',
            tz: 'Europe/Berlin',
            days: 3,
            cohorts: [
              { start: '2026-03-27T00:00:00+01:00', users: 10, returned: [8, 5, null] },
              { start: '2026-03-28T00:00:00+01:00', users: 4, returned: [0, null, null] },
              { start: '2026-03-29T00:00:00+01:00', users: 0, returned: [null, null, null] },
            ],
          },
        ),
      },
    )
    .get('/api/records/metrics', ({ request }) => page(request, 'metric'), {
      detail: queryRoute(
        'Metrics, newest first',
        'Rows as they were recorded, in the order of their receipt. A page may have fewer than asked for, also none: there is more as long as `next_cursor` is not null.',
        documented(PAGE.metric),
        {
          records: [
            {
              id: '019aab3c-5f00-7001-9c3e-5a1d7f0b2c44',
              user_id: 'user-42',
              timestamp: '2026-03-01T10:00:00Z',
              received_at: '2026-03-01T10:00:00.25Z',
              metric_name: 'page_load_time',
              metric_value: 2.5,
              data_string: '/dashboard',
            },
          ],
          next_cursor: null,
        },
      ),
    })
    .get('/api/records/analytics', ({ request }) => page(request, 'analytics'), {
      detail: queryRoute('Events, newest first', 'As for metrics.', documented(PAGE.analytics), {
        records: [
          {
            id: '019aab3c-5f00-7001-9c3e-5a1d7f0b2c44',
            user_id: 'user-42',
            timestamp: '2026-03-01T10:00:00Z',
            received_at: '2026-03-01T10:00:00.25Z',
            type: 'tutorial_step',
            data_index: 'step_3',
            data: { step: 3, outcome: 'completed' },
          },
        ],
        next_cursor: null,
      }),
    });
}

/** Puts a question with the scope of its asker. */
function bucketQuestion(
  principal: Principal,
  query: {
    name: string;
    from: number | undefined;
    to: number | undefined;
    interval: BucketQuery['interval'];
    tz: string | undefined;
    top: number | undefined;
    group: string | undefined;
    label: string | undefined;
    user_id: string | undefined;
  },
): BucketQuery {
  const { name, from, to, interval, label } = query;
  return {
    name,
    from,
    to,
    interval,
    label,
    zone: query.tz ?? 'UTC',
    top: query.group === undefined ? undefined : (query.top ?? DEFAULT_TOP),
    user: scopeOf(principal, query.user_id),
  };
}

/**
 * Whose rows a token may see: an admin's all, or those of the user that it names; everyone else's their own.
 *
 * @throws {Failure} `forbidden` when somebody else is named
 */
export function scopeOf(principal: Principal, named: string | undefined): string | undefined {
  const { userId } = principal;
  if (readsAll(principal)) return named;
  if (named !== undefined && named !== userId) throw new Failure('forbidden');
  return userId;
}
