import { FormatRegistry, type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { ValidationIssue } from './errors.ts';
import { EARLIEST_TIMESTAMP, parseTimestamp } from './formats/timestamp.ts';

/*
 * The bodies that clients send. One schema serves as check, as type and as documentation.
 * Unknown fields are let through and ignored, as in the service that rawlog replaces.
 */

// A lone surrogate has no UTF-8 form: SQLite would store U+FFFD in its place.
FormatRegistry.Set('unicode', (text) => text.isWellFormed());
FormatRegistry.Set('date-time', (text) => parseTimestamp(text) !== undefined);
FormatRegistry.Set('user-id', (text) => isUserId(text));

/** What a record is: a measured value, or something that a user did. */
export type Kind = 'metric' | 'analytics';
export const KINDS: readonly Kind[] = ['metric', 'analytics'];

/**
 * What a caller may do: an `admin` everything, a `viewer` read everything and change nothing, a `user` record and read
 * what is the user's own.
 */
export type Role = 'admin' | 'viewer' | 'user';

/** Longest user ID, in code points (OpenID Connect Core 1.0, section 2). */
export const MAX_USER_ID_LENGTH = 255;
const USER_ID = new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${MAX_USER_ID_LENGTH}}$`, 'u');

/** Returns whether a text can be a user ID: 1 to 255 code points, no control characters, no lone surrogates. */
export function isUserId(text: string): boolean {
  return USER_ID.test(text);
}

/** Longest name of a metric or type, in UTF-16 code units. Names repeat in every row. */
export const MAX_NAME_LENGTH = 1024;
/** Longest `data_string` or `data_index`, in UTF-16 code units: room for a long URL. */
export const MAX_LABEL_LENGTH = 8192;

const timestamp = Type.Optional(
  Type.String({
    format: 'date-time',
    description:
      'When it happened, in RFC 3339 with an offset; kept to the microsecond. Default: when it was received.',
  }),
);

const metricFields = {
  metric_name: Type.String({
    minLength: 1,
    maxLength: MAX_NAME_LENGTH,
    format: 'unicode',
    description: 'What was measured',
  }),
  metric_value: Type.Number({
    description: 'The measured value: any finite number, stored as the nearest IEEE 754 double',
  }),
};
const label = {
  maxLength: MAX_LABEL_LENGTH,
  format: 'unicode',
  description: 'What the value belongs to, such as the page',
};
const dataString = Type.String({ minLength: 1, ...label });
const metricExample = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };

const Metric = Type.Object({ ...metricFields, data_string: dataString, timestamp }, { example: metricExample });
export const metricCheck = TypeCompiler.Compile(Metric);

const eventFields = {
  type: Type.String({
    maxLength: MAX_NAME_LENGTH,
    format: 'unicode',
    description: 'The type of the event',
  }),
  data: Type.Object({}, { additionalProperties: true, description: 'The data to log' }),
};
const dataIndex = Type.String({
  maxLength: MAX_LABEL_LENGTH,
  format: 'unicode',
  description:
    'Indexable field for any count based analytical measures like page order clicking, tutorial step completion, etc.',
});
const eventExample = { type: 'tutorial_step', data: { step: 3, outcome: 'completed' }, data_index: 'step_3' };

const Analytics = Type.Object({ ...eventFields, data_index: dataIndex, timestamp }, { example: eventExample });
export const analyticsCheck = TypeCompiler.Compile(Analytics);

const batchFields = {
  timestamp,
  user_id: Type.Optional(
    Type.String({
      format: 'user-id',
      description: "The user to record for, if not the token's own. Requires the role `admin`",
    }),
  ),
};
const BatchMetric = Type.Object({ ...metricFields, data_string: Type.Optional(dataString), ...batchFields });
const BatchEvent = Type.Object({ ...eventFields, data_index: Type.Optional(dataIndex), ...batchFields });

/** A metric and an event as a body or a batch item has them. A missing label is the empty text. */
export type Metric = Static<typeof BatchMetric>;
export type Analytics = Static<typeof BatchEvent>;

/** Exported records: what import requires of them beside their IDs, times and user. */
export const exportedMetricCheck = TypeCompiler.Compile(
  Type.Object({ ...metricFields, data_string: Type.Optional(Type.String(label)) }),
);
export const exportedEventCheck = TypeCompiler.Compile(
  Type.Object({ ...eventFields, data_index: Type.Optional(dataIndex) }),
);

/** The body of a batch. The number of its items is checked separately, because the limit is configured. */
const Batch = Type.Object(
  {
    metrics: Type.Optional(Type.Array(BatchMetric)),
    analytics: Type.Optional(Type.Array(BatchEvent)),
  },
  { example: { metrics: [metricExample], analytics: [eventExample] } },
);
export type Batch = Static<typeof Batch>;
export const batchCheck = TypeCompiler.Compile(Batch);

const SignIn = Type.Object(
  { code: Type.String({ minLength: 1, description: 'The code of a link that `rawlog token --link` prints' }) },
  { example: { code: 'eyJhbGciOiJIUzI1NiJ9.eyJ1c2UiOiJsaW5rIn0.c2lnbmF0dXJl' } },
);

export const signInCheck = TypeCompiler.Compile(SignIn);

/** What the server alone says of a record. Times are microseconds since 1970-01-01T00:00:00Z. */
type Stamp = {
  /** The clustered key: rises in the order of commits, and is the time part of `id`. */
  readonly seq: number;
  /** UUIDv7, in lower case with hyphens. */
  readonly id: string;
  readonly userId: string;
  readonly happenedAt: number;
  readonly receivedAt: number;
};

/** A metric as it is stored. */
export type MetricRecord = Stamp & {
  readonly kind: 'metric';
  readonly metricName: string;
  readonly metricValue: number;
  readonly dataString: string;
};

/** An analytics event as it is stored. */
export type AnalyticsRecord = Stamp & {
  readonly kind: 'analytics';
  readonly type: string;
  /** The JSON text of the event's data. */
  readonly data: string;
  readonly dataIndex: string;
};

export type LogRecord = MetricRecord | AnalyticsRecord;

/**
 * Decides when a record happened.
 *
 * @param text the record's own `timestamp`, which has passed its schema, if it has one
 * @param receivedAt microseconds since 1970
 * @param maxSkew how far ahead of the server's clock a time may be, in microseconds
 * @param loc where the record stands in the body, for the fault
 * @returns microseconds since 1970, or the fault for a time out of range: it is never clamped
 */
export function happenedAt(
  text: string | undefined,
  receivedAt: number,
  maxSkew: number,
  loc: ValidationIssue['loc'],
): number | ValidationIssue {
  if (text === undefined) return receivedAt;
  const time = parseTimestamp(text) as number; // its schema's format has parsed it before
  if (time > receivedAt + maxSkew) {
    const msg = `Value error, the time is further ahead of the server's clock than ${maxSkew / 1e6} s`;
    return { loc: [...loc, 'timestamp'], msg, type: 'value_error' };
  }
  if (time < EARLIEST_TIMESTAMP) {
    return { loc: [...loc, 'timestamp'], msg: 'Value error, the time is before the year 1700', type: 'value_error' };
  }
  return time;
}
