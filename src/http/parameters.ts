import type { DocumentDecoration } from 'elysia';
import { ApiError, ERRORS, type ErrorCode, type ValidationIssue } from '../errors.ts';
import { EXPORT_FORMATS } from '../export/export.ts';
import { parseDuration } from '../formats/duration.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { parseInterval } from '../query/calendar.ts';
import { MAX_DAYS } from '../query/retention.ts';
import { zoneNamed } from '../query/zone-database.ts';
import type { Kind } from '../records.ts';
import { isUserId } from '../records.ts';
import { isRecordId } from '../storage/record-id.ts';
import type { RecordFilter } from '../storage/records.ts';
import { targetOf } from './request-target.ts';
import { MAX_ISSUES, USER_ID_ISSUE } from './validation.ts';

/** One parameter of a query: what it means, and how its text becomes a value. */
export interface Parameter<Value> {
  readonly description: string;
  /** Its JSON Schema in the OpenAPI document. */
  readonly schema: object;
  readonly required?: true;
  /** May be repeated, this often: the value is a list. */
  readonly several?: {
    readonly least: number;
    readonly most: number;
    /** Says that a number of them is too small or too large. */
    readonly msg: (count: number) => string;
  };
  /** Gives the value, or what is wrong with the text in pydantic's words. */
  readonly parse: (text: string) => { value: Value } | Pick<ValidationIssue, 'msg' | 'type'>;
}

/** The values of a query's parameters; undefined where one is not given. */
type Values<Parameters extends Record<string, Parameter<unknown>>> = {
  [Name in keyof Parameters]: Parameters[Name] extends Parameter<infer Value>
    ? Parameters[Name] extends { several: object }
      ? Value[]
      : Parameters[Name] extends { required: true }
        ? Value
        : Value | undefined
    : never;
};

/** The parameters of a query, by name. */
type Parameters = Record<string, Parameter<unknown>>;

/** Names in validation issues are cut to this length, in UTF-16 code units. */
const MAX_SHOWN_NAME = 100;

/**
 * Reads all parameters of a request's query string.
 *
 * @throws {ApiError} `validation_failed` with everything that is wrong: parameters that are invalid, missing,
 *   unknown or repeated, and a range that ends before it starts
 */
export function readQuery<Known extends Parameters>(request: Request, parameters: Known): Values<Known> {
  const given = searchParams(targetOf(request).query);
  const issues: ValidationIssue[] = [];
  const read = Object.entries(parameters).map(([name, parameter]) => {
    const addIssue = (wrong: Pick<ValidationIssue, 'msg' | 'type'>) =>
      void issues.push({ loc: ['query', name], ...wrong });
    const texts = given.getAll(name);
    const { several } = parameter;
    if (texts.length === 0 && parameter.required) addIssue({ msg: 'Field required', type: 'missing' });
    else if (several && (texts.length < several.least || texts.length > several.most)) {
      addIssue(wrong(several.msg(texts.length)));
    } else if (texts.length > 1 && !several) addIssue({ msg: 'Input should be given once', type: 'too_long' });
    const values = texts.slice(0, several?.most ?? 1).map((text) => {
      const parsed = parameter.parse(text);
      if ('value' in parsed) return parsed.value;
      return addIssue(parsed);
    });
    return [name, several ? values : values[0]];
  });
  for (const name of new Set(given.keys())) {
    if (Object.hasOwn(parameters, name)) continue;
    issues.push({
      loc: ['query', name.slice(0, MAX_SHOWN_NAME)],
      msg: 'Extra inputs are not permitted',
      type: 'extra_forbidden',
    });
  }
  // each value has come from the parameter of its name
  const values = Object.fromEntries(read) as Values<Known>;
  if (isReversed(values)) issues.push({ loc: ['query', 'to'], ...wrong('the end of the range lies before its start') });
  if (issues.length > 0) throw new ApiError('validation_failed', { issues: issues.slice(0, MAX_ISSUES) });
  return values;
}

/**
 * Returns the parameters of a query string.
 *
 * @throws {ApiError} `validation_failed` where it is ambiguous: percent-encoding that is wrong or spells no
 *   UTF-8, which would become another text, and a raw `#`, which others read as the end of the query
 */
function searchParams(query: string): URLSearchParams {
  if (query.includes('#') || !isDecodable(query)) {
    const error = { loc: ['query'], ...wrong('the query string should be percent-encoded UTF-8') };
    throw new ApiError('validation_failed', { issues: [error] });
  }
  // URLSearchParams drops a question mark at the start of its text; a second one belongs to the first name
  return new URLSearchParams(`?${query}`);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function isReversed({ from, to }: { readonly from?: unknown; readonly to?: unknown }): boolean {
  return typeof from === 'number' && typeof to === 'number' && to < from;
}

/** Documents parameters for OpenAPI. */
export function documented(
  parameters: Record<string, Parameter<unknown>>,
): NonNullable<DocumentDecoration['parameters']> {
  return Object.entries(parameters).map(([name, { description, schema, required, several }]) => ({
    name,
    in: 'query',
    required: required ?? (several?.least ?? 0) > 0,
    description,
    schema: several ? { type: 'array', items: schema, minItems: several.least, maxItems: several.most } : schema,
    ...(several && { style: 'form', explode: true }),
  }));
}

const wrong = (msg: string, type = 'value_error') => ({ msg: `Value error, ${msg}`, type });

/** A time, in microseconds since 1970. */
const instant = (description: string): Parameter<number> => ({
  description,
  schema: { type: 'string', format: 'date-time', example: '2026-03-01T00:00:00Z' },
  parse(text) {
    // a plus sign that was not encoded arrives as a space
    const value = parseTimestamp(text.replace(/ (\d\d:\d\d)$/, '+$1'));
    if (value !== undefined) return { value };
    return { msg: 'Input should be a valid datetime with an offset, in RFC 3339', type: 'datetime_parsing' };
  },
});

const text = (description: string): Parameter<string> => ({
  description,
  schema: { type: 'string' },
  parse: (value) => ({ value }),
});

const integer = (description: string, least: number, most: number, otherwise: number): Parameter<number> => ({
  description,
  schema: { type: 'integer', minimum: least, maximum: most, default: otherwise },
  parse(given) {
    if (!/^-?\d{1,15}$/.test(given)) {
      return { msg: 'Input should be a valid integer, unable to parse string as an integer', type: 'int_parsing' };
    }
    const value = Number(given);
    if (value < least) return { msg: `Input should be greater than or equal to ${least}`, type: 'greater_than_equal' };
    if (value > most) return { msg: `Input should be less than or equal to ${most}`, type: 'less_than_equal' };
    return { value };
  },
});

const choice = <Value extends string>(description: string, values: readonly Value[]): Parameter<Value> => ({
  description,
  schema: { type: 'string', enum: [...values] },
  parse(given) {
    const value = values.find((one) => one === given);
    if (value !== undefined) return { value };
    return { msg: `Input should be ${values.map((one) => `'${one}'`).join(' or ')}`, type: 'enum' };
  },
});

/** The ends of a range: half-open. */
export const RANGE = {
  from: instant('Start of the range. Default: the first row.'),
  to: instant('End of the range, not in it. Default: behind the last row.'),
};

export const BUCKETS = {
  interval: {
    description:
      'Length of a bucket: `minute`, `hour`, `day`, `week`, `month` or `year`, or a number of them, such as `15m`, `6h`, `1d`, `2w`, `1M`. Minutes and hours must divide a day. Default: one bucket for the whole range.',
    schema: { type: 'string', example: 'day' },
    parse(given) {
      const value = parseInterval(given);
      if (value) return { value };
      return wrong('the interval should be minutes, hours, days, weeks, months or years, such as 15m, hour or 1d');
    },
  } satisfies Parameter<NonNullable<ReturnType<typeof parseInterval>>>,
  tz: {
    description: 'IANA name of the time zone whose calendar the buckets follow. Default: `UTC`.',
    schema: { type: 'string', default: 'UTC' },
    parse: (given) =>
      zoneNamed(given) ? { value: given } : wrong('the time zone should be an IANA name, such as Europe/Berlin'),
  } satisfies Parameter<string>,
  top: integer('How many groups get an answer of their own; the rest is `other`.', 1, 1000, 10),
};

/** For answers by name. */
export const TOP_NAMES = {
  ...BUCKETS.top,
  description: 'How many names of each kind get counts of their own, the most frequent ones; the rest is `other`.',
};

export const groupBy = <Label extends string>(label: Label) =>
  choice('Split by label, the most frequent ones first.', [label]);

export const NAME = {
  ...text('The name of the metric.'),
  schema: { type: 'string', example: 'page_load_time' },
  required: true,
} as const;
export const TYPE = {
  ...text('The type of the event.'),
  schema: { type: 'string', example: 'tutorial_step' },
  required: true,
} as const;

export const USER_ID: Parameter<string> = {
  description: 'For tokens with the role `admin`: the rows of this user alone. Others may only name themselves.',
  schema: { type: 'string', maxLength: 255 },
  parse(given) {
    if (isUserId(given)) return { value: given };
    return USER_ID_ISSUE;
  },
};

/** Filters by the label of a record. */
export const LABEL = {
  data_string: text('Only values of this `data_string`.'),
  data_index: text('Only events of this `data_index`.'),
};

/** The parameters that select records, by kind. */
export const RECORD_FILTERS = {
  metric: { name: text('Only this metric.'), data_string: LABEL.data_string, user_id: USER_ID },
  analytics: { type: text('Only this type of event.'), data_index: LABEL.data_index, user_id: USER_ID },
};

/** What {@link RECORD_FILTERS} and {@link RANGE} give, of either kind. */
interface RecordSelection {
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly name?: string | undefined;
  readonly data_string?: string | undefined;
  readonly type?: string | undefined;
  readonly data_index?: string | undefined;
}

/** Returns the filter that the parameters of a kind ask for, within a scope: the user whose rows count, or undefined for all. */
export function recordFilter(kind: Kind, query: RecordSelection, user: string | undefined): RecordFilter {
  const { from, to } = query;
  return kind === 'metric'
    ? { user, from, to, name: query.name, label: query.data_string }
    : { user, from, to, name: query.type, label: query.data_index };
}

export const STEPS = {
  ...text('`data_index` at a step; two to twenty times, in their order.'),
  schema: { type: 'string', example: 'step_3' },
  several: { least: 2, most: 20, msg: (count: number) => `a funnel has 2 to 20 steps, not ${count}` },
} as const;

/** Of retention. */
export const STEP = {
  ...text('`data_index` of the event that makes a user one of the cohort of its day.'),
  schema: { type: 'string', example: 'step_1' },
  required: true,
} as const;
export const RETURN_STEP = text('`data_index` of the events that count as coming back. Default: any.');
export const DAYS = integer('How many days after the first to look for users.', 1, MAX_DAYS, 14);

/** In seconds. */
export const WITHIN: Parameter<number> = {
  description: 'How long after the first step the last may come, such as `90s`, `30m`, `12h` or `7d`. Default: `7d`.',
  schema: { type: 'string', default: '7d' },
  parse(given) {
    try {
      const value = parseDuration(given);
      if (value > 0) return { value };
    } catch {
      // said below
    }
    return wrong('the time should be a number above 0 with s, m, h or d behind it, such as 7d');
  },
};

export const LIMIT = integer('Records of a page.', 1, 1000, 100);

/** Filters of rejections. */
export const REJECTIONS = {
  // the keys of the table are the closed list of codes
  code: choice('Only rejections with this code.', Object.keys(ERRORS) as ErrorCode[]),
  limit: integer('The most that are wanted.', 1, 1000, 100),
};

/** A place among the records: the time part of an id as a number, in base 36. */
export const CURSOR: Parameter<number> = {
  description: 'Where to go on: `next_cursor` of the page before.',
  schema: { type: 'string' },
  parse(given) {
    const value = /^[0-9a-z]{1,11}$/.test(given) ? Number.parseInt(given, 36) : Number.NaN;
    return Number.isSafeInteger(value) ? { value } : wrong('the cursor should be one that a page has given');
  },
};

/** The text of a cursor. */
export function cursorOf(seq: number): string {
  return seq.toString(36);
}

export const EXPORT = {
  format: choice('The form; default: `ndjson`.', EXPORT_FORMATS),
  after: {
    description: 'Go on behind the record with this id, the last one that was received.',
    schema: { type: 'string', format: 'uuid' },
    parse(given) {
      if (isRecordId(given)) return { value: given };
      return wrong('the id should be one of a record');
    },
  } satisfies Parameter<string>,
  formulas: choice(
    'For `csv`: what becomes of texts that a spreadsheet would take for formulas: kept, or made harmless by an apostrophe.',
    ['keep', 'escape'],
  ),
};
