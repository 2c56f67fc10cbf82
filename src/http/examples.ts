import type { Static } from '@sinclair/typebox';
import type { RESPONSES, ResponseName } from '../responses.ts';

/*
 * Example responses for the OpenAPI document, by schema name.
 */

const BOARD_ID = 'Zb0cVnq3T4mJ7pXkQyR2sA';
const LINK = {
  id: 'mW5tXyZ81LkQv0cN3rJ7dg',
  board_id: BOARD_ID,
  user_id: 'me',
  rows: 'all',
  created_at: '2026-03-01T10:00:00Z',
  expires_at: '2026-03-31T10:00:00Z',
} as const;
const LINK_VALUE = 'q3hV8e0nQ2kq1m8bq7b0rWm4m3l1c9xJ5s6t2u8v0wY';
const BOARD = {
  id: BOARD_ID,
  name: 'Growth',
  scope: 'account',
  can_edit: true,
  created_at: '2026-03-01T10:00:00Z',
  updated_at: '2026-03-01T10:00:00Z',
} as const;
const CHART_HEAD = {
  title: 'Signups',
  view: 'view=event&name=signup&range=30d',
  query: 'counts',
  tz: 'Europe/Berlin',
} as const;
const ANNOTATION = {
  timestamp: '2026-03-01T10:00:00Z',
  text: 'deploy 2.4.0',
  url: 'https://example.com/releases/2.4.0',
} as const;

/** The record ID used in examples. */
export const EXAMPLE_ID = '019aab3c-5f00-7001-9c3e-5a1d7f0b2c44';

const LIMITS = {
  max_body_bytes: 1048576,
  max_batch_items: 1000,
  max_result_bytes: 33554432,
  max_names_per_user: 1000,
  rate_limit: { rows: 1000, seconds: 1 },
  rate_limit_bytes: { bytes: 1_048_576, seconds: 1 },
};

export const EXAMPLES: { readonly [Name in Exclude<ResponseName, 'ErrorResponse'>]: Static<(typeof RESPONSES)[Name]> } =
  {
    MetricNames: {
      metrics: [
        {
          name: 'page_load_time',
          count: 3,
          first_seen: '2026-03-01T10:00:00Z',
          last_seen: '2026-03-02T08:30:00.5Z',
        },
      ],
    },
    EventTypes: {
      types: [
        {
          type: 'tutorial_step',
          count: 3,
          first_seen: '2026-03-01T10:00:00Z',
          last_seen: '2026-03-02T08:30:00.5Z',
        },
      ],
    },
    Series: {
      name: 'page_load_time',
      from: '2026-03-01T00:00:00+01:00',
      to: '2026-03-02T00:00:00+01:00',
      tz: 'Europe/Berlin',
      percentiles: { method: 'percentile_cont', error: 0 },
      count: 2,
      sum: 5,
      avg: 2.5,
      min: 2,
      max: 3,
      p50: 2.5,
      p95: 2.95,
      p99: 2.99,
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
    Counts: {
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
    Funnel: {
      type: null,
      from: '2026-03-01T00:00:00Z',
      to: '2026-03-02T00:00:00Z',
      tz: 'UTC',
      within_seconds: 604800,
      steps: [
        {
          step: 'signup',
          type: 'signup',
          data_index: null,
          users: 4,
          conversion: 1,
          conversion_from_previous: 1,
          median_seconds: null,
        },
        {
          step: 'purchase:pro',
          type: 'purchase',
          data_index: 'pro',
          users: 2,
          conversion: 0.5,
          conversion_from_previous: 0.5,
          median_seconds: 31.5,
        },
      ],
    },
    Retention: {
      type: 'tutorial_step',
      step: 'step_1',
      return_step: null,
      from: '2026-03-27T00:00:00+01:00',
      to: '2026-03-30T00:00:00+02:00',
      tz: 'Europe/Berlin',
      period: 'day',
      periods: 3,
      days: 3,
      cohorts: [
        { start: '2026-03-27T00:00:00+01:00', users: 10, returned: [8, 5, null] },
        { start: '2026-03-28T00:00:00+01:00', users: 4, returned: [0, null, null] },
        { start: '2026-03-29T00:00:00+01:00', users: 0, returned: [null, null, null] },
      ],
    },
    Activity: {
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
    ZoneOffsets: {
      tz: 'Asia/Tashkent',
      offsets: [
        { from: null, offset_seconds: 16631 },
        { from: '1924-05-01T19:22:49Z', offset_seconds: 18000 },
      ],
    },
    MetricPage: {
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
    EventPage: {
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
    },
    Rejections: {
      rejections: [
        {
          at: '2026-03-01T10:00:00.25Z',
          code: 'validation_failed',
          route: '/log_raw_metric',
          items: 1,
          user_id: 'user-42',
          request_id: '3f9c0a5e7b21-1c',
          message: 'The request failed validation.',
          issues: [{ loc: ['body', 'data_string'], msg: 'Field required', type: 'missing' }],
        },
      ],
    },
    UserStatus: {
      version: '0.1.0',
      durability: { journal: 'wal', acknowledged: 'after fsync' },
      limits: LIMITS,
    },
    OperatorStatus: {
      version: '0.1.0',
      durability: { journal: 'wal', acknowledged: 'after fsync' },
      limits: LIMITS,
      uptime_seconds: 86400,
      ledger: { received: 12, stored: 10, duplicates: 1, deleted: 0, rejected: { validation_failed: 1 } },
      storage: {
        database_bytes: 16384,
        wal_bytes: 4152,
        free_bytes: 50000000000,
        min_free_bytes: 268435456,
        full_in_seconds: 31536000,
        forecast: {
          days: 7,
          rows_per_day: 20000,
          bytes_per_day: 3600000,
          final_bytes: null,
          full_in_seconds: 1193557000,
        },
        use: { rows_bytes: 40960, columns_bytes: 8192, free_pages_bytes: 4096 },
        fsync: { mode: 'inline', median_ms: 0.2 },
      },
      queue: { rows: 0, bytes: 0, max_rows: 12000, max_bytes: 67108864 },
      columns: { lag_rows: 0, lag_seconds: 0 },
      tz: { version: '2026f', source: 'bundled' },
      query_worker: { state: 'running', restarts: 0 },
      erasures: { pending: 0 },
      backup: {
        last_at: '2026-03-01T03:00:00.000Z',
        age_seconds: 25200,
        every_seconds: 86400,
        next_at: '2026-03-02T03:00:00.000Z',
        failures: 0,
      },
      sinks: [
        {
          ...{ name: 'nats://nats.internal:4222/rawlog', state: 'delivering', reason: null },
          ...{ lag_rows: 0, lag_seconds: 0, dead_letters: 0, postponed: 0, pending_erasures: 0, skipped: 0 },
        },
      ],
      jwt_secrets: [{ accepted: 7 }],
    },
    AuditLog: {
      entries: [
        {
          at: '2026-03-01T10:00:00Z',
          action: 'erase',
          phase: 'finished',
          via: 'api',
          actor: '3q2-7wGsmzZFcMnC4NyqeEJXQlyHLcZ0R1v6jbMdYKA',
          request_id: '3f9c0a5e7b21-1c',
          user: 'kx1aPzvN0nWvqVb5n3JYyYh2m2sQy0c8oH6rVnXgXWU',
          deleted: { metrics: 12, analytics: 3 },
        },
      ],
      next_cursor: null,
    },
    Erasure: { user_id: 'user-42', deleted: { metrics: 12, analytics: 3 } },
    Deletion: { dry_run: false, deleted: { metrics: 12 } },
    DemoSession: {
      token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJkZW1vIn0.c2lnbmF0dXJl',
      expires_at: '2026-03-01T14:00:00.000Z',
      rows: 108_000,
    },
    DemoEnd: { deleted: true },
    Session: {
      token: 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl',
      user_id: 'me',
      expires_at: '2026-03-01T11:00:00Z',
    },
    Board: {
      ...BOARD,
      charts: [
        {
          title: 'Signups',
          view: 'view=event&name=signup&range=30d',
          query: {
            name: 'counts',
            parameters: { type: 'signup', interval: '1d', tz: 'Europe/Berlin' },
            range: { last: '30d' },
          },
        },
      ],
    },
    Boards: { boards: [{ ...BOARD, charts: 1 }] },
    SharedLink: LINK,
    SharedLinks: { links: [LINK] },
    CreatedLink: { ...LINK, value: LINK_VALUE, path: `/share#${LINK_VALUE}` },
    SharedBoard: {
      name: 'Growth',
      expires_at: '2026-03-31T10:00:00Z',
      charts: [CHART_HEAD],
      zones: [{ tz: 'Europe/Berlin', offsets: [{ from: null, offset_seconds: 3208 }] }],
    },
    DrawnChart: {
      ...CHART_HEAD,
      from: '2026-01-30T10:00:00Z',
      to: '2026-03-01T10:00:00Z',
      result: { type: 'signup', count: 3, unique_users: 3 },
      compared: null,
      unit: null,
      annotations: [ANNOTATION],
    },
    Annotation: { id: 'uP4sK9aQ1xN7eV2bT6yC0w', ...ANNOTATION, author: 'me' },
    Annotations: { annotations: [{ id: 'uP4sK9aQ1xN7eV2bT6yC0w', ...ANNOTATION, author: 'me' }] },
    Unit: { name: 'page_load_time', unit: 's', better: 'lower' },
    Units: { units: [{ name: 'page_load_time', unit: 's', better: 'lower' }] },
    Deleted: { id: BOARD_ID },
    RecordId: EXAMPLE_ID,
    BatchIds: { metrics: [EXAMPLE_ID], analytics: [EXAMPLE_ID.replace('001', '002')] },
    OtlpMetricsResponse: {
      partialSuccess: {
        rejectedDataPoints: '1',
        errorMessage:
          '1 not stored: histograms are not supported, because a metric is a single value (first: resourceMetrics[0].scopeMetrics[0].metrics[2].histogram.dataPoints[0]).',
      },
    },
    Probe: { status: 'ok' },
  };
