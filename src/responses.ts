import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { BOARD_RESPONSES } from './board-responses.ts';
import { ERRORS, type ErrorCode } from './errors.ts';
import { literals, orNull, record, time, zoneOffsets } from './response-schema.ts';

/*
 * Schemas of the JSON responses. They document the routes and provide the types that the dashboard shares with the
 * server. Responses are not validated at run time, because that would slow down every request; a test validates the
 * responses of every route instead.
 */

const count = Type.Integer({ minimum: 0 });
const uuid = Type.String({ format: 'uuid', description: 'UUIDv7' });
/** The bounds of a range; null if the request sets none and there are no rows to derive it from. */
const range = { from: orNull(time), to: orNull(time), tz: Type.String({ description: 'IANA time zone' }) };
const start = { start: Type.String({ format: 'date-time', description: 'Start of the bucket' }) };

const sum = Type.Number({ description: 'Exact sum, rounded once to a double; limited to ±1.7976931348623157e308' });
const sum_overflow = Type.Optional(
  Type.Literal(true, { description: 'Present if the exact sum exceeds the range of a double' }),
);
const statistics = {
  count,
  sum,
  sum_overflow,
  avg: orNull(Type.Number({ description: 'Average; always between `min` and `max`' })),
  min: orNull(Type.Number()),
  max: orNull(Type.Number()),
  p50: orNull(Type.Number({ description: 'Exact, interpolated like PERCENTILE_CONT in SQL' })),
  p95: orNull(Type.Number()),
  p99: orNull(Type.Number()),
};
const valueBuckets = { buckets: Type.Array(record({ ...start, ...statistics })) };

export const MetricNames = record({
  metrics: Type.Array(record({ name: Type.String(), count, first_seen: time, last_seen: time })),
});
export type MetricNames = Static<typeof MetricNames>;
export const EventTypes = record({
  types: Type.Array(record({ type: Type.String(), count, first_seen: time, last_seen: time })),
});

export type EventTypes = Static<typeof EventTypes>;

export const Series = record({
  name: Type.String(),
  ...range,
  percentiles: record({ method: Type.Literal('percentile_cont'), error: Type.Literal(0) }),
  ...statistics,
  ...valueBuckets,
  groups: Type.Optional(
    Type.Array(record({ data_string: Type.String(), ...statistics, ...valueBuckets }), {
      description: 'Groups by label, most frequent first',
    }),
  ),
  other: Type.Optional(record({ labels: count, ...statistics, ...valueBuckets }, 'All remaining labels combined')),
});
export type Series = Static<typeof Series>;

const users = {
  count,
  unique_users: count,
  sum: Type.Optional({ ...sum, description: `For \`sum\`: ${sum.description}; 0 if there are no numbers` }),
  sum_overflow,
};
const countBuckets = { buckets: Type.Array(record({ ...start, ...users })) };

export const Counts = record({
  type: Type.String(),
  ...range,
  ...users,
  ...countBuckets,
  groups: Type.Optional(
    Type.Array(
      Type.Object(
        { data_index: Type.Optional(Type.String()), ...users, ...countBuckets },
        {
          additionalProperties: Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]),
          description: 'A group has `data_index`, or the property it is grouped by, such as `data.plan`',
        },
      ),
      { description: 'Groups by value, most frequent first' },
    ),
  ),
  other: Type.Optional(record({ labels: count, ...users, ...countBuckets }, 'All remaining values combined')),
});
export type Counts = Static<typeof Counts>;

const typeOfSteps = { type: orNull(Type.String({ description: '`null` if the request sets no `type`' })) };

export const Funnel = record({
  ...typeOfSteps,
  ...range,
  within_seconds: Type.Number(),
  steps: Type.Array(
    record({
      step: Type.String({ description: 'The step as sent' }),
      type: Type.String(),
      data_index: orNull(Type.String({ description: '`null` if the step has events with any `data_index`' })),
      users: count,
      conversion: orNull(Type.Number({ description: 'Fraction of the users of the first step' })),
      conversion_from_previous: orNull(Type.Number()),
      median_seconds: orNull(Type.Number({ description: 'Median time from the previous step' })),
    }),
  ),
});
export type Funnel = Static<typeof Funnel>;

export const Retention = record({
  ...typeOfSteps,
  step: Type.String({ description: 'The step as sent' }),
  return_step: orNull(
    Type.String({ description: '`null` if any event of the type, or without a type any event, counts as a return' }),
  ),
  ...range,
  period: Type.Union([Type.Literal('day'), Type.Literal('week'), Type.Literal('month')]),
  periods: count,
  days: Type.Optional({ ...count, description: 'Equal to `periods` if `period` is `day`; for older clients' }),
  cohorts: Type.Array(
    record({
      ...start,
      users: count,
      returned: Type.Array(orNull(count), {
        description:
          'Users who returned 1, 2, … periods later; null for periods that begin at or after the end of the range',
      }),
    }),
  ),
});
export type Retention = Static<typeof Retention>;

const WITH_USERS = 'Only with `unique_users=true`';
const uniqueUsers = {
  unique_users: Type.Optional(Type.Integer({ minimum: 0, description: `${WITH_USERS}: unique users in the range` })),
  user_counts: Type.Optional(Type.Array(count, { description: `${WITH_USERS}: unique users per entry in \`starts\`` })),
};
const activity = {
  count,
  counts: Type.Array(count, { description: 'One number per entry in `starts`' }),
  ...uniqueUsers,
};

export const Activity = record({
  ...range,
  starts: Type.Array(time),
  ...uniqueUsers,
  metrics: record({
    ...activity,
    names: Type.Array(record({ name: Type.String(), ...activity })),
    other: record({ names: count, ...activity }),
  }),
  analytics: record({
    ...activity,
    types: Type.Array(record({ type: Type.String(), ...activity })),
    other: record({ types: count, ...activity }),
  }),
});
export type Activity = Static<typeof Activity>;

export const ZoneOffsets = zoneOffsets;
export type ZoneOffsets = Static<typeof ZoneOffsets>;

const stamps = {
  id: uuid,
  user_id: Type.String(),
  timestamp: Type.String({ format: 'date-time', description: 'When the record happened' }),
  received_at: Type.String({ format: 'date-time', description: 'When the server received the record' }),
  source_id: Type.Optional(
    Type.String({ description: 'Only on imported records: the ID in the database that it was imported from' }),
  ),
  source_nulls: Type.Optional(
    Type.Array(literals(['data_string', 'data_index', 'data']), {
      description: 'The fields that were NULL there; here they are empty',
    }),
  ),
  source_data: Type.Optional(
    Type.Literal('value', { description: '`data` was a JSON value other than an object, which is in `value` here' }),
  ),
};
const cursor = {
  next_cursor: orNull(Type.String({ description: 'Cursor of the next page; null on the last page' })),
};

export const StoredMetric = record({
  ...stamps,
  metric_name: Type.String(),
  metric_value: Type.Number(),
  data_string: Type.String(),
});
export type StoredMetric = Static<typeof StoredMetric>;
export const StoredEvent = record({
  ...stamps,
  type: Type.String(),
  data_index: Type.String(),
  data: Type.Object({}, { additionalProperties: true }),
});
export type StoredEvent = Static<typeof StoredEvent>;
export const MetricPage = record({ records: Type.Array(StoredMetric), ...cursor });
export const EventPage = record({ records: Type.Array(StoredEvent), ...cursor });

export type MetricPage = Static<typeof MetricPage>;
export type EventPage = Static<typeof EventPage>;

export const Limits = record({
  max_body_bytes: count,
  max_batch_items: count,
  max_result_bytes: count,
  max_names_per_user: count,
  rate_limit: orNull(record({ rows: count, seconds: count })),
  rate_limit_bytes: orNull(record({ bytes: count, seconds: count })),
});
const basics = {
  version: Type.String(),
  durability: record({ journal: Type.Literal('wal'), acknowledged: Type.Literal('after fsync') }),
  limits: Limits,
};

export const UserStatus = record(basics);
export type UserStatus = Static<typeof UserStatus>;
export const OperatorStatus = record({
  ...basics,
  uptime_seconds: count,
  ledger: record({
    received: count,
    stored: count,
    duplicates: count,
    deleted: Type.Integer({ minimum: 0, description: 'Stored rows that have since been erased or deleted' }),
    rejected: Type.Record(Type.String(), count, { description: 'Rejected items by error code' }),
  }),
  storage: record({
    database_bytes: count,
    wal_bytes: count,
    free_bytes: count,
    min_free_bytes: Type.Integer({ minimum: 0, description: 'Free space below which recording is rejected' }),
    full_in_seconds: orNull(
      Type.Integer({
        minimum: 0,
        description:
          'When free space will be below min_free_bytes, at the rate at which it has shrunk in the last hours; null if it does not shrink, or for the first ten minutes after a start',
      }),
    ),
    forecast: orNull(
      record(
        {
          days: Type.Number({ minimum: 1, maximum: 7, description: 'The period that is extrapolated, in days' }),
          rows_per_day: Type.Integer({ minimum: 0, description: 'Rows whose time is in the period, per day' }),
          bytes_per_day: Type.Integer({ minimum: 0, description: 'These rows, times the bytes of the file per row' }),
          final_bytes: orNull(
            Type.Integer({
              minimum: 0,
              description: 'Size at which the file stops growing, if all records expire; null if some are kept forever',
            }),
          ),
          full_in_seconds: orNull(
            Type.Integer({
              minimum: 0,
              description:
                'When free space will be below min_free_bytes; null if it is enough for final_bytes, or for 100 years',
            }),
          ),
        },
        'When the disk will be full if as much is recorded as in the last seven days; null before the first day is over, and while the query worker is busy or rebuilds the column store',
      ),
    ),
    use: record(
      { rows_bytes: orNull(count), columns_bytes: orNull(count), free_pages_bytes: orNull(count) },
      'What uses the space of the database file: rows and their texts, the column store, and free pages, which new rows use; null while the query worker is busy',
    ),
    fsync: record({
      mode: Type.Union([Type.Literal('inline'), Type.Literal('thread')], {
        description: 'Where fsyncs run: on the main thread, on fast disks, or in a thread',
      }),
      median_ms: Type.Number({ minimum: 0, description: 'Median time of the last fsyncs measured on the main thread' }),
    }),
  }),
  queue: record({ rows: count, bytes: count, max_rows: count, max_bytes: count }),
  columns: record(
    { lag_rows: orNull(count), lag_seconds: orNull(Type.Number({ minimum: 0 })) },
    'Ingest lag of the column store; null while the query worker is busy',
  ),
  tz: record(
    { version: Type.String({ pattern: '^\\d{4}[a-z]+$' }), source: literals(['system', 'bundled']) },
    "The time zone database in use: the newer of the system's and the bundled one",
  ),
  query_worker: record({ state: literals(['running', 'restarting', 'stopped']), restarts: count }),
  erasures: record({
    pending: orNull(
      Type.Integer({
        minimum: 0,
        description: 'Erasures and deletions that are unfinished or whose data is not yet overwritten in every file',
      }),
    ),
  }),
  backup: record(
    {
      last_at: orNull(time),
      age_seconds: orNull(Type.Number({ minimum: 0 })),
      every_seconds: orNull(Type.Integer({ minimum: 1, description: 'BACKUP_EVERY; null without BACKUP_DIR' })),
      next_at: orNull(
        Type.String({
          format: 'date-time',
          description: 'When the next backup is due, or a failed one is tried again; null without BACKUP_DIR',
        }),
      ),
      failures: Type.Integer({ minimum: 0, description: 'Failures in a row since the newest backup' }),
    },
    'The newest backup in BACKUP_DIR, which is null if there is none, and the next one',
  ),
  sinks: Type.Array(
    record({
      name: Type.String({ description: 'URL of the engine, without credentials' }),
      state: literals(['delivering', 'failing']),
      reason: orNull(Type.String({ description: 'Why it is failing; null if it is not' })),
      lag_rows: Type.Integer({ minimum: 0, description: 'Rows that were not delivered yet; counted up to 10,000,000' }),
      lag_seconds: Type.Number({ minimum: 0, description: 'Time since the oldest of these rows was received' }),
      dead_letters: Type.Integer({ minimum: 0, description: 'Rows that the engine has rejected' }),
      postponed: Type.Integer({ minimum: 0, description: 'Rows that the engine does not accept yet' }),
      pending_erasures: Type.Integer({ minimum: 0, description: 'Erasures that the engine has not repeated yet' }),
      skipped: Type.Integer({ minimum: 0, description: 'Rows that retention deleted before they were delivered' }),
    }),
    { description: 'The engines in FORWARD_URL, as they were about a second ago' },
  ),
  jwt_secrets: Type.Array(
    record({
      accepted: Type.Integer({
        minimum: 0,
        description: 'Tokens verified with this secret; each token counts at most once per minute',
      }),
    }),
    { description: 'The secrets in JWT_SECRET, in order; counted since startup or the last SIGHUP' },
  ),
});
export type OperatorStatus = Static<typeof OperatorStatus>;

const issue = record({
  loc: Type.Array(Type.Union([Type.String(), Type.Integer()])),
  msg: Type.String(),
  type: Type.String(),
});

export const Rejections = record({
  rejections: Type.Array(
    record({
      at: time,
      code: literals(Object.keys(ERRORS) as ErrorCode[]),
      route: Type.String(),
      items: Type.Integer({ minimum: 1 }),
      user_id: orNull(
        Type.String({ description: 'The user; null if unknown, or if the entry aggregates several requests' }),
      ),
      request_id: Type.String(),
      message: Type.String(),
      issues: Type.Array(issue),
    }),
  ),
});
export type Rejections = Static<typeof Rejections>;

const hash = Type.String({ description: 'HMAC-SHA-256 with the erasure key, in base64url' });
const removal = {
  at: time,
  phase: literals(['begun', 'finished', 'failed']),
  via: literals(['api', 'command']),
  actor: orNull(Type.String({ description: "The hash of the admin's ID; null for a command" })),
  request_id: Type.String(),
  deleted: Type.Optional(
    record({ metrics: Type.Optional(count), analytics: Type.Optional(count) }, 'Numbers of rows, once finished'),
  ),
};
export const AuditLog = record({
  entries: Type.Array(
    Type.Union([
      record({ ...removal, action: Type.Literal('erase'), user: hash }),
      record({
        ...removal,
        action: Type.Literal('delete'),
        kind: literals(['metrics', 'analytics']),
        name: hash,
        from: orNull(time),
        to: orNull(time),
        user: Type.Optional(hash),
        has_conditions: Type.Boolean({ description: 'Whether the filter had conditions on labels or properties' }),
      }),
      record({ at: time, action: Type.Literal('act-as'), actor: hash, users: Type.Array(hash) }),
      record({
        at: time,
        action: literals(['share', 'unshare']),
        actor: hash,
        request_id: Type.String(),
        link: Type.String({ description: 'The random ID of the shared link' }),
        rows: Type.Optional(literals(['all', 'user'])),
        expires_at: Type.Optional(time),
      }),
    ]),
  ),
  next_cursor: orNull(Type.String({ description: 'The `cursor` of the next page; null after the oldest entry' })),
});
export type AuditLog = Static<typeof AuditLog>;

export const Erasure = record({
  user_id: Type.String(),
  deleted: record({ metrics: count, analytics: count }),
  pending: Type.Optional(
    Type.Array(Type.String(), { description: 'The sinks that have not erased the user yet; absent if there are none' }),
  ),
});

export const Deletion = record({
  dry_run: Type.Boolean(),
  deleted: record(
    { metrics: Type.Optional(count), analytics: Type.Optional(count) },
    'The number of deleted records, by their kind; in a dry run, of those that match',
  ),
});
export type Deletion = Static<typeof Deletion>;

export const Session = record({
  token: Type.String({ description: 'A bearer token for this API' }),
  user_id: Type.String(),
  expires_at: Type.String({ format: 'date-time', description: 'When the token expires' }),
});
export type Session = Static<typeof Session>;

export const DemoSession = record({
  token: Type.String({ description: 'A bearer token for the routes under `/demo`, which can only read' }),
  expires_at: Type.String({ format: 'date-time', description: 'When the token expires, and the demo ends' }),
  rows: { ...count, description: 'The number of invented rows' },
});
export type DemoSession = Static<typeof DemoSession>;

export const DemoEnd = record({
  deleted: Type.Boolean({ description: 'Whether there was a demo' }),
});
export type DemoEnd = Static<typeof DemoEnd>;

export const RecordId = Type.String({ format: 'uuid', description: 'ID of the new row, a UUIDv7' });
export const BatchIds = record({ metrics: Type.Array(uuid), analytics: Type.Array(uuid) });
export const OtlpMetricsResponse = record({
  partialSuccess: Type.Optional(
    record({
      rejectedDataPoints: Type.String({ description: 'Number of data points that were not stored, as an integer' }),
      errorMessage: Type.String({ description: 'Why, and which' }),
    }),
  ),
});
export const Probe = record({ status: Type.Literal('ok') });

export const ErrorBody = record({
  code: literals(Object.keys(ERRORS) as ErrorCode[]),
  message: Type.String({ description: 'What went wrong' }),
  hint: Type.String({ description: 'What to do about it' }),
  request_id: Type.String({
    description: 'Same as the X-Request-Id header; the server log records the cause under this ID',
  }),
  detail: Type.Union([Type.Array(issue), record({ message: Type.String(), hint: Type.String() }), Type.String()], {
    description:
      'For 422, the validation issues if there are any; for 5xx, the message and hint; otherwise, the message',
  }),
});
export type ErrorBody = Static<typeof ErrorBody>;

/** The response schemas, by component name in the OpenAPI document. */
export const RESPONSES = {
  MetricNames,
  EventTypes,
  Series,
  Counts,
  Funnel,
  Retention,
  Activity,
  ZoneOffsets,
  MetricPage,
  EventPage,
  UserStatus,
  OperatorStatus,
  Rejections,
  AuditLog,
  Erasure,
  Deletion,
  Session,
  ...BOARD_RESPONSES,
  DemoSession,
  DemoEnd,
  RecordId,
  BatchIds,
  OtlpMetricsResponse,
  Probe,
  ErrorResponse: ErrorBody,
} as const satisfies Record<string, TSchema>;
export type ResponseName = keyof typeof RESPONSES;
