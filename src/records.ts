import { FormatRegistry, type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import type { ValidationIssue } from './errors.ts';
import { EARLIEST_TIMESTAMP, parseTimestamp } from './formats/timestamp.ts';

/*
 * The request bodies. One schema per body provides the validation, the type and the documentation.
 * Unknown fields are ignored, as in the original service.
 */

// A lone surrogate cannot be encoded as UTF-8: SQLite would store U+FFFD instead.
FormatRegistry.Set('unicode', (text) => text.isWellFormed());
FormatRegistry.Set('date-time', (text) => parseTimestamp(text) !== undefined);
FormatRegistry.Set('user-id', (text) => isUserId(text));

/** The kind of a record: a measured value, or an event that a user triggered. */
export type Kind = 'metric' | 'analytics';
export const KINDS: readonly Kind[] = ['metric', 'analytics'];

/**
 * The role of a caller. An `admin` can do everything, a `viewer` can read all data but change nothing, and a `user` can
 * record and read only their own data.
 */
export type Role = 'admin' | 'viewer' | 'user';

/** Longest user ID, in code points (OpenID Connect Core 1.0, section 2). */
export const MAX_USER_ID_LENGTH = 255;
const USER_ID = new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${MAX_USER_ID_LENGTH}}$`, 'u');

/** Returns whether a text is a valid user ID: 1 to 255 code points, no control characters, no lone surrogates. */
export function isUserId(text: string): boolean {
  return USER_ID.test(text);
}

/** Longest metric name or event type, in UTF-16 code units. Names repeat in every row. */
export const MAX_NAME_LENGTH = 1024;
/** Longest `data_string` or `data_index`, in UTF-16 code units: room for a long URL. */
export const MAX_LABEL_LENGTH = 8192;
/** Longest ID of an imported record in the database that it comes from, in UTF-16 code units. */
export const MAX_SOURCE_ID_LENGTH = 255;

const timestamp = Type.Optional(
  Type.String({
    format: 'date-time',
    description:
      'When it happened, in RFC 3339 with an offset; stored with microsecond precision. Default: the time of receipt.',
  }),
);

const metricFields = {
  metric_name: Type.String({
    minLength: 1,
    maxLength: MAX_NAME_LENGTH,
    format: 'unicode',
    description: 'Name of the metric',
  }),
  metric_value: Type.Number({
    description: 'The measured value: any finite number, stored as the nearest IEEE 754 double',
  }),
};
const label = {
  maxLength: MAX_LABEL_LENGTH,
  format: 'unicode',
  description: 'Label of the value, such as the page it was measured on',
};
const dataString = Type.String({ minLength: 1, ...label });
const metricExample = { metric_name: 'page_load_time', metric_value: 2.5, data_string: '/dashboard' };

const Metric = Type.Object({ ...metricFields, data_string: dataString, timestamp }, { example: metricExample });
export const metricCheck = TypeCompiler.Compile(Metric);

const eventFields = {
  type: Type.String({
    maxLength: MAX_NAME_LENGTH,
    format: 'unicode',
    description: 'Type of the event',
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
      description: "Records for this user instead of the token's user. Requires the role `admin`.",
    }),
  ),
};
const BatchMetric = Type.Object({ ...metricFields, data_string: Type.Optional(dataString), ...batchFields });
const BatchEvent = Type.Object({ ...eventFields, data_index: Type.Optional(dataIndex), ...batchFields });

export const batchMetricCheck = TypeCompiler.Compile(BatchMetric);

/** A metric in a request body or a batch. A missing label means the empty string. */
export type Metric = Static<typeof BatchMetric>;
/** An event in a request body or a batch. A missing label means the empty string. */
export type Analytics = Static<typeof BatchEvent>;

/** The fields that import requires of an exported metric, besides its ID, times and user. */
export const exportedMetricCheck = TypeCompiler.Compile(
  Type.Object({ ...metricFields, data_string: Type.Optional(Type.String(label)) }),
);
/** The fields that import requires of an exported event, besides its ID, times and user. */
export const exportedEventCheck = TypeCompiler.Compile(
  Type.Object({ ...eventFields, data_index: Type.Optional(dataIndex) }),
);

/** The fields of an exported record that was imported from another database: see {@link RecordSource}. */
export const exportedSourceCheck = TypeCompiler.Compile(
  Type.Object({
    source_id: Type.String({ minLength: 1, maxLength: MAX_SOURCE_ID_LENGTH, format: 'unicode' }),
    source_nulls: Type.Optional(
      Type.Array(Type.Union([Type.Literal('data_string'), Type.Literal('data_index'), Type.Literal('data')])),
    ),
    source_data: Type.Optional(Type.Literal('value')),
  }),
);

/** The body of a batch. The number of items is checked separately, because its limit is a setting. */
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
  { code: Type.String({ minLength: 1, description: 'The code in a sign-in link printed by `rawlog token --link`' }) },
  { example: { code: 'eyJhbGciOiJIUzI1NiJ9.eyJ1c2UiOiJsaW5rIn0.c2lnbmF0dXJl' } },
);

export const signInCheck = TypeCompiler.Compile(SignIn);

/** Fields assigned by the server. Times are microseconds since 1970-01-01T00:00:00Z. */
type Stamp = {
  /** The clustered key. It increases in commit order and is the time part of `id`. */
  readonly seq: number;
  /** UUIDv7, in lowercase with hyphens. */
  readonly id: string;
  /** The random part of `id`, as rows store it: see storage/row-form.ts. Only on records whose ID was made here. */
  readonly randomPart?: string;
  readonly userId: string;
  readonly happenedAt: number;
  readonly receivedAt: number;
  /** Only on records that were imported from another database. */
  readonly source?: RecordSource;
};

/** What a record was in the database that it was imported from, beyond its fields. Sinks send it back as it was. */
export interface RecordSource {
  /** Its ID there. */
  readonly id: string;
  /** Whether its label was NULL there. Here it is empty. */
  readonly isLabelNull: boolean;
  /**
   * What the data of an event was there: an object, as here; NULL, which is `{}` here; or any other JSON value, which is
   * `{"value":…}` here.
   */
  readonly dataForm: 'object' | 'null' | 'value';
}

/** A stored metric. */
export type MetricRecord = Stamp & {
  readonly kind: 'metric';
  readonly metricName: string;
  readonly metricValue: number;
  readonly dataString: string;
};

/** A stored analytics event. */
export type AnalyticsRecord = Stamp & {
  readonly kind: 'analytics';
  readonly type: string;
  /** The event's data as JSON text. */
  readonly data: string;
  readonly dataIndex: string;
};

export type LogRecord = MetricRecord | AnalyticsRecord;

/** What comes before and after a value in the `data` of a record whose {@link RecordSource.dataForm} is `value`. */
const VALUE_WRAPPER = { start: '{"value":', end: '}' };

/** Returns the `data` of an event for a JSON value that is not an object, as JSON text. */
export function wrapValue(json: string): string {
  return VALUE_WRAPPER.start + json + VALUE_WRAPPER.end;
}

/** Returns the data of an event as it was in the database that it was imported from, as JSON text; null for NULL. */
export function sourceDataOf({ data, source }: AnalyticsRecord): string | null {
  if (source?.dataForm === 'null') return null;
  if (source?.dataForm !== 'value') return data;
  return data.slice(VALUE_WRAPPER.start.length, -VALUE_WRAPPER.end.length);
}

/**
 * Returns when a record happened, in microseconds since 1970, or a validation issue for a timestamp out of range. A
 * timestamp is never clamped.
 *
 * @param text the record's `timestamp`, already validated by its schema; undefined if the record has none
 * @param receivedAt microseconds since 1970
 * @param maxSkewUs how far a timestamp may be ahead of the server's clock, in microseconds
 * @param maxAgeUs how far it may be behind, in microseconds
 * @param loc path to the record in the body, for the validation issue
 */
export function happenedAt(
  text: string | undefined,
  receivedAt: number,
  maxSkewUs: number,
  maxAgeUs: number,
  loc: ValidationIssue['loc'],
): number | ValidationIssue {
  if (text === undefined) return receivedAt;
  const time = parseTimestamp(text) as number; // validated by the schema's date-time format
  if (time > receivedAt + maxSkewUs) {
    const msg = `Value error, the timestamp is more than ${maxSkewUs / 1e6} s ahead of the server's clock`;
    return { loc: [...loc, 'timestamp'], msg, type: 'value_error' };
  }
  if (time < receivedAt - maxAgeUs) {
    const msg = `Value error, the timestamp is more than ${maxAgeUs / 1e6} s before the server's clock`;
    return { loc: [...loc, 'timestamp'], msg, type: 'value_error' };
  }
  if (time < EARLIEST_TIMESTAMP) {
    return {
      loc: [...loc, 'timestamp'],
      msg: 'Value error, the timestamp is before the year 1700',
      type: 'value_error',
    };
  }
  return time;
}

/** A filter on the label of a record. All conditions must hold; an empty list is no condition. */
export interface LabelFilter {
  /** The label is one of these texts. */
  readonly anyOf: readonly string[];
  /** The label is none of these texts. */
  readonly noneOf: readonly string[];
  /** The label contains at least one of these texts, compared case-sensitively. */
  readonly containsAny: readonly string[];
}

/** Returns whether a label matches a filter. */
export function matchesLabel(label: string, { anyOf, noneOf, containsAny }: LabelFilter): boolean {
  return (
    (anyOf.length === 0 || anyOf.includes(label)) &&
    !noneOf.includes(label) &&
    (containsAny.length === 0 || containsAny.some((text) => label.includes(text)))
  );
}
