import { ERRORS, type ErrorCode, type ValidationIssue } from '../errors.ts';
import { EXPORT_FORMATS } from '../export/export.ts';
import { parseDuration } from '../formats/duration.ts';
import { DATA_PREFIX, MAX_KEY_BYTES, MAX_PATH_KEYS, type PropertyFilter, parsePropertyPath } from '../properties.ts';
import { parseInterval, WEEK_STARTS } from '../query/calendar.ts';
import { MAX_STEPS } from '../query/funnel.ts';
import { MAX_PERIODS, PERIODS } from '../query/retention.ts';
import type { Property } from '../query/selection.ts';
import { zoneNamed } from '../query/zone-database.ts';
import { isUserId, type Kind, type LabelFilter } from '../records.ts';
import { isRecordId } from '../storage/record-id.ts';
import type { RecordFilter } from '../storage/records.ts';
import { STEP_SYNTAX } from './event-step.ts';
import {
  choice,
  flag,
  instant,
  integer,
  type Parameter,
  type ParameterFamily,
  type Parsed,
  text,
  valueError,
} from './parameters.ts';
import { USER_ID_ISSUE } from './validation.ts';

/*
 * The query parameters of all routes. parameters.ts reads and documents them.
 */

/** The bounds of a half-open range. */
export const RANGE = {
  from: instant('Start of the range, inclusive. Default: the time of the first row.'),
  to: instant('End of the range, exclusive. Default: just after the last row.'),
};

export const BUCKETS = {
  interval: {
    description:
      'Bucket length: `minute`, `hour`, `day`, `week`, `month` or `year`, or a multiple such as `15m`, `6h`, `1d`, `2w` or `1M`. Minutes and hours must divide a day evenly. Default: one bucket for the whole range.',
    schema: { type: 'string', example: 'day' },
    parse(given) {
      const value = parseInterval(given);
      if (value) return { value };
      return valueError('the interval should be minutes, hours, days, weeks, months or years, such as 15m, hour or 1d');
    },
  } satisfies Parameter<NonNullable<ReturnType<typeof parseInterval>>>,
  tz: {
    description: 'IANA time zone, such as `Europe/Berlin`. Buckets and days follow its calendar. Default: `UTC`.',
    schema: { type: 'string', default: 'UTC' },
    parse: (given) =>
      zoneNamed(given) ? { value: given } : valueError('the time zone should be an IANA name, such as Europe/Berlin'),
  } satisfies Parameter<string>,
  week_start: {
    ...choice('First day of the week. Default: `monday`.', WEEK_STARTS),
    schema: { type: 'string', enum: [...WEEK_STARTS], default: 'monday' },
  },
  top: integer('Number of groups for `group_by`. The remaining values are combined in `other`.', 1, 1000, 10),
};

/** `top` for results by name. */
export const TOP_NAMES = {
  ...BUCKETS.top,
  description:
    'Number of metric names and of event types to return, most frequent first. The remaining ones are combined in `other`.',
};

export const UNIQUE_USERS = flag(
  'Also returns unique users, in total and by name, and sorts names by them instead of by frequency. Default: `false`.',
);

export const groupBy = <Label extends string>(label: Label) =>
  choice('Groups the result by this label, most frequent first.', [label]);

export const NAME = {
  ...text('Metric name.'),
  schema: { type: 'string', example: 'page_load_time' },
  required: true,
} as const;
export const TYPE = {
  ...text('Event type.'),
  schema: { type: 'string', example: 'tutorial_step' },
  required: true,
} as const;

export const USER_ID: Parameter<string> = {
  description: 'Only data of this user. Admins and viewers can name any user, others only themselves.',
  schema: { type: 'string', maxLength: 255 },
  parse(given) {
    if (isUserId(given)) return { value: given };
    return USER_ID_ISSUE;
  },
};

/** Maximum values of one filter parameter. */
const MAX_FILTER_VALUES = 100;
/** Maximum length of a text to search for, in bytes. */
const MAX_CONTAINED_BYTES = 256;

/** Parses a text to search for. */
function parseContained(value: string): Parsed<string> {
  const bytes = Buffer.byteLength(value);
  if (bytes > 0 && bytes <= MAX_CONTAINED_BYTES) return { value };
  return valueError(`the text should have 1 to ${MAX_CONTAINED_BYTES} bytes`);
}

const tooManyValues = (count: number) => `a filter should have at most ${MAX_FILTER_VALUES} values, not ${count}`;

const filterValues = (description: string, parse: Parameter<string>['parse']) =>
  ({
    description,
    schema: { type: 'string' },
    parse,
    repeated: {
      min: 0,
      max: MAX_FILTER_VALUES,
      msg: tooManyValues,
    },
  }) satisfies Parameter<string>;

type LabelName = 'data_string' | 'data_index';
type FilterNames<Name extends LabelName> = Name | `${Name}!` | `${Name}~`;

/** Returns the three parameters that filter by a label. In a URL they read `NAME=`, `NAME!=` and `NAME~=`. */
function labelFilters<Name extends LabelName>(name: Name) {
  const parameters = {
    [name]: filterValues(`Only rows with this \`${name}\`. Repeat it to select several.`, (value) => ({ value })),
    [`${name}!`]: filterValues(`Excludes rows with this \`${name}\`. Repeat it for several.`, (value) => ({ value })),
    [`${name}~`]: filterValues(
      `Only rows whose \`${name}\` contains this text, case-sensitively. Repeat it to allow several texts.`,
      parseContained,
    ),
  };
  return parameters as Record<FilterNames<Name>, ReturnType<typeof filterValues>>; // the keys are those names
}

/** Filters by the label of a record. */
export const LABEL = { metric: labelFilters('data_string'), analytics: labelFilters('data_index') };

/** Returns the label filter for query parameters; undefined if there is none. */
export function labelFilter(
  query: {
    readonly [Name in FilterNames<LabelName>]?: readonly string[];
  },
): LabelFilter | undefined {
  const filter = {
    anyOf: [...(query.data_string ?? []), ...(query.data_index ?? [])],
    noneOf: [...(query['data_string!'] ?? []), ...(query['data_index!'] ?? [])],
    containsAny: [...(query['data_string~'] ?? []), ...(query['data_index~'] ?? [])],
  };
  return Object.values(filter).every(({ length }) => length === 0) ? undefined : filter;
}

/** Maximum number of properties that one request filters by. */
const MAX_FILTERED_PROPERTIES = 10;

const PATH_SYNTAX = `Dots separate keys; write a literal dot as \`\\.\` and a backslash as \`\\\\\`. A path has at most ${MAX_PATH_KEYS} keys of up to ${MAX_KEY_BYTES} bytes.`;

/** Filters by properties of event data. */
const PROPERTY_FILTERS: ParameterFamily<PropertyFilter[]> = {
  description: `Filters by properties of \`data\`: \`data.PATH=VALUE\` selects events with this value, \`data.PATH!=VALUE\` excludes them, and \`data.PATH~=TEXT\` selects events whose value is a string that contains the text (up to ${MAX_CONTAINED_BYTES} bytes), case-sensitively. VALUE matches the same string, the number it represents, and \`true\` or \`false\`. Repeat a filter for several values, up to ${MAX_FILTER_VALUES}. A request can filter by up to ${MAX_FILTERED_PROPERTIES} properties. ${PATH_SYNTAX}`,
  schema: { type: 'string' },
  prefix: DATA_PREFIX,
  parseAll(texts, addIssue) {
    const filters = new Map<string, PropertyFilter & { [Name in keyof LabelFilter]: string[] }>();
    let hasTooMany = false;
    for (const [name, values] of texts) {
      const { pathText, condition } = parseFilterName(name);
      const parsed = parsePropertyPath(pathText);
      if ('problem' in parsed) {
        addIssue(name, valueError(parsed.problem));
        continue;
      }
      if (values.length > MAX_FILTER_VALUES) addIssue(name, valueError(tooManyValues(values.length)));
      const key = JSON.stringify(parsed.path);
      const filter = filters.get(key) ?? { path: parsed.path, anyOf: [], noneOf: [], containsAny: [] };
      filters.set(key, filter);
      for (const value of values.slice(0, MAX_FILTER_VALUES)) {
        const issue = condition === 'containsAny' ? parseContained(value) : { value };
        if ('value' in issue) filter[condition].push(value);
        else addIssue(name, issue);
      }
      if (filters.size <= MAX_FILTERED_PROPERTIES) continue;
      filters.delete(key);
      if (hasTooMany) continue;
      hasTooMany = true;
      addIssue(name, valueError(`a request should filter by at most ${MAX_FILTERED_PROPERTIES} properties`));
    }
    return [...filters.values()];
  },
};

/** Splits the name of a property filter: an operator is a `!` or `~` at its end that no backslash makes literal. */
function parseFilterName(name: string): { pathText: string; condition: keyof LabelFilter } {
  const [, pathText, operator] = /^((?:[^\\]|\\.)*?)([!~]?)$/su.exec(name) ?? [name, name, ''];
  const condition = operator === '!' ? 'noneOf' : operator === '~' ? 'containsAny' : 'anyOf';
  return { pathText: pathText as string, condition };
}

function parseProperty(name: string): Parsed<Property> {
  const parsed = parsePropertyPath(name);
  return 'problem' in parsed ? valueError(parsed.problem) : { value: { name, path: parsed.path } };
}

/** What to group the counts of events by. */
export const GROUP_BY_EVENT: Parameter<'data_index' | Property> = {
  description: `Groups the result by \`data_index\`, or by a property of \`data\`: \`data.PATH\`. The most frequent values come first. Strings, numbers and booleans are groups by value; \`null\` is the group of events without the property, or where it is null, an object or an array. ${PATH_SYNTAX}`,
  schema: { type: 'string', example: 'data_index' },
  parse(given) {
    if (given === 'data_index') return { value: given };
    if (given.startsWith(DATA_PREFIX)) return parseProperty(given);
    return { msg: "Input should be 'data_index' or a property, such as data.plan", type: 'enum' };
  },
};

export const SUM: Parameter<Property> = {
  description:
    'Adds `sum` to each count: the exact sum of a numeric property of `data`, given as `data.PATH`. Values that are not numbers are ignored.',
  schema: { type: 'string', example: 'data.price' },
  parse: parseProperty,
};

/** Filters of events: by their label and by properties of their data. */
export const EVENT_FILTERS = { ...LABEL.analytics, 'data.PATH': PROPERTY_FILTERS };

/** The parameters that select records, by kind. */
export const RECORD_FILTERS = {
  metric: { name: text('Only this metric.'), ...LABEL.metric, user_id: USER_ID },
  analytics: { type: text('Only this event type.'), ...EVENT_FILTERS, user_id: USER_ID },
};

const DRY_RUN = flag('Only counts the records that would be deleted. Default: `false`.');

/** The parameters of a deletion, by kind. */
export const DELETION = {
  metric: { ...RECORD_FILTERS.metric, name: NAME, ...RANGE, dry_run: DRY_RUN },
  analytics: { ...RECORD_FILTERS.analytics, type: TYPE, ...RANGE, dry_run: DRY_RUN },
};

/** Values of {@link RECORD_FILTERS} and {@link RANGE}, for either kind. */
interface RecordSelection extends Partial<Record<FilterNames<LabelName>, readonly string[]>> {
  readonly 'data.PATH'?: readonly PropertyFilter[];
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  readonly name?: string | undefined;
  readonly type?: string | undefined;
}

/** Returns the record filter for query parameters, limited to a user; undefined means all users. */
export function recordFilter(kind: Kind, query: RecordSelection, user: string | undefined): RecordFilter {
  const { from, to } = query;
  const name = kind === 'metric' ? query.name : query.type;
  return { user, from, to, name, labels: labelFilter(query), properties: query['data.PATH'] ?? [] };
}

/** The event type of all steps of a funnel or of cohort retention. */
export const TYPE_OF_STEPS = {
  ...text('Event type of all steps, which are then values of `data_index`. Default: each step names its type.'),
  schema: { type: 'string', example: 'tutorial_step' },
};

export const STEPS = {
  ...text(`A step: ${STEP_SYNTAX}. Repeat the parameter for each step, in order: 2 to ${MAX_STEPS} steps.`),
  schema: { type: 'string', example: 'step_3' },
  repeated: {
    min: 2,
    max: MAX_STEPS,
    msg: (count: number) => `a funnel should have 2 to ${MAX_STEPS} steps, not ${count}`,
  },
} as const;

/** The event that starts a cohort, for cohort retention. */
export const STEP = {
  ...text(`The event that adds a user to a cohort: ${STEP_SYNTAX}.`),
  schema: { type: 'string', example: 'step_1' },
  required: true,
} as const;
export const RETURN_STEP = text(
  'The events that count as a return, in the syntax of `step`. Default: any event of the `type`; without it, any event.',
);
/** Periods of cohort retention. */
export const COHORTS = {
  period: {
    ...choice('Calendar unit of a period. Default: `day`.', PERIODS),
    schema: { type: 'string', enum: [...PERIODS], default: 'day' },
  },
  periods: integer('Number of periods to follow each cohort.', 1, MAX_PERIODS, 14),
  days: {
    ...integer('The same as `periods` with `period=day`. Cannot be combined with `periods`.', 1, MAX_PERIODS, 14),
    schema: { type: 'integer', minimum: 1, maximum: MAX_PERIODS },
  },
};

/** Returns the conflicts between the parameters of {@link COHORTS}. */
export function cohortConflicts({
  period,
  periods,
  days,
}: {
  readonly period: string | undefined;
  readonly periods: number | undefined;
  readonly days: number | undefined;
}): ValidationIssue[] {
  if (days === undefined || (periods === undefined && (period === undefined || period === 'day'))) return [];
  const issue = valueError('days cannot be combined with periods, or with a period other than day');
  return [{ loc: ['query', 'days'], ...issue }];
}

/** The longest duration of a funnel, in seconds. */
export const WITHIN: Parameter<number> = {
  description: 'Longest time from the first step to the last, such as `90s`, `30m`, `12h` or `7d`. Default: `7d`.',
  schema: { type: 'string', default: '7d' },
  parse(given) {
    try {
      const value = parseDuration(given);
      if (value > 0) return { value };
    } catch {
      // reported below
    }
    return valueError('the duration should be a positive number followed by s, m, h or d, such as 7d');
  },
};

export const LIMIT = integer('Maximum number of records per page.', 1, 1000, 100);

/** Filters of rejections. */
export const REJECTIONS = {
  code: choice('Only rejections with this error code.', Object.keys(ERRORS) as ErrorCode[]),
  limit: integer('Maximum number of rejections to return.', 1, 1000, 100),
};

/** A position in the records: the `seq` of a record, in base 36. */
export const CURSOR: Parameter<number> = {
  description: '`next_cursor` of the previous page. Default: the first page.',
  schema: { type: 'string' },
  parse(given) {
    const value = /^[0-9a-z]{1,11}$/.test(given) ? Number.parseInt(given, 36) : Number.NaN;
    return Number.isSafeInteger(value) ? { value } : valueError('the cursor should be the next_cursor of a page');
  },
};

/** Returns the cursor for a position. */
export function cursorOf(seq: number): string {
  return seq.toString(36);
}

export const EXPORT = {
  format: choice('File format. Default: `ndjson`.', EXPORT_FORMATS),
  after: {
    description: 'Resume after the record with this ID, the last one you received.',
    schema: { type: 'string', format: 'uuid' },
    parse(given) {
      if (isRecordId(given)) return { value: given };
      return valueError('the value should be the ID of a record');
    },
  } satisfies Parameter<string>,
  formulas: choice(
    'For `csv`: how to write text that a spreadsheet would evaluate as a formula. `keep` leaves it unchanged, `escape` prefixes it with an apostrophe. Default: `keep`.',
    ['keep', 'escape'],
  ),
};
