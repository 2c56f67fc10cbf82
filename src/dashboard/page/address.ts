import type { QueryParameters } from './api.ts';
import {
  browserTimeZone,
  browserWeekStart,
  EARLIEST,
  INTERVALS,
  type IntervalName,
  isTimeZone,
  LATEST,
  RANGES,
} from './time.ts';

export const VIEWS = ['overview', 'event', 'metric', 'funnel', 'retention', 'records', 'boards', 'health'] as const;
export type View = (typeof VIEWS)[number];

/** Periods that a range can be compared with: the one before, the same one a year before, or the same weekdays before. */
export const COMPARISONS = ['previous', 'year', 'weekdays'] as const;
export type Comparison = (typeof COMPARISONS)[number];

/** Lengths of the periods of cohort retention. */
export const PERIODS = ['day', 'week', 'month'] as const;
export type Period = (typeof PERIODS)[number];

/** Days a week can begin with. */
export const WEEK_STARTS = ['monday', 'sunday'] as const;
export type WeekStart = (typeof WEEK_STARTS)[number];

/** Operators of a filter, as in the query routes: is, is not, contains. */
export const OPERATORS = ['=', '!=', '~='] as const;
export type Operator = (typeof OPERATORS)[number];

/**
 * A filter on the label or on a property of `data`. Several filters with `=` or `~=` on one field match any of their
 * values; several with `!=` match none of them.
 */
export interface Filter {
  /** `label` is `data_string` of a metric and `data_index` of an event. */
  readonly field: 'label' | `data.${string}`;
  readonly operator: Operator;
  readonly value: string;
}

/** Refresh intervals of a view, in seconds; 0: manual only. */
export const REFRESH_INTERVALS = [0, 5, 30, 60, 300] as const;

/** Statistics of a metric that can be broken down by label. */
export const STATISTICS = ['count', 'sum', 'avg', 'p50', 'p95', 'p99', 'min', 'max'] as const;
export type Statistic = (typeof STATISTICS)[number];

/** Kinds of records, one table each. */
export const KINDS = ['metrics', 'analytics'] as const;
export type RecordKind = (typeof KINDS)[number];

/** Limits of the query routes: steps of a funnel, and groups. */
export const MAX_STEPS = 20;
export const MAX_TOP = 1_000;

/** The state of the page, as stored in its URL. With the token, it determines everything a view shows. */
export interface Address {
  readonly view: View;
  /** One of RANGES, `all`, or `custom` with `from` and `to`. */
  readonly range: string;
  readonly from: Date | undefined;
  readonly to: Date | undefined;
  /**
   * The length of a range with `from` and `to` that was in progress, in hours, days or months, such as `7d`: it is compared as
   * that range was. Undefined: the length between them.
   */
  readonly span: string | undefined;
  readonly zone: string;
  readonly interval: IntervalName | 'auto';
  readonly refresh: number;
  /** User ID that an admin or viewer filters by; undefined: all users. */
  readonly user: string | undefined;
  /** The metric or event type; undefined: the most frequent one, or all of them in the records view. */
  readonly name: string | undefined;
  readonly filters: readonly Filter[];
  /** The period shown for comparison. */
  readonly compare: Comparison | undefined;
  /** The statistic of a metric that the chart shows; undefined: a selection of them. */
  readonly statistic: Statistic | undefined;
  /** The statistic that the chart breaks down by label. */
  readonly split: Statistic | undefined;
  /** The property of `data` that events are broken down by, such as `data.plan`; undefined: the label. */
  readonly property: `data.${string}` | undefined;
  /** The numeric property of `data` that is summed, such as `data.amount`. */
  readonly sum: `data.${string}` | undefined;
  /** Whether the value axis is logarithmic. */
  readonly logarithmic: boolean;
  /** Whether the value axis ends below outliers. */
  readonly capped: boolean;
  /** The column that groups are sorted by, the largest first; with a minus sign, the smallest first. */
  readonly sort: string | undefined;
  /** How many groups are listed; the remaining ones are summed up as `other`. */
  readonly top: number;
  /** Steps of the funnel: `type` or `type:label`, escaped as in the query routes. */
  readonly steps: readonly string[];
  /** Time limit for completing the funnel, such as `7d`. */
  readonly within: string;
  /** The step that defines the cohorts of the cohort retention chart. */
  readonly retention: string | undefined;
  /** The step that counts as a return; undefined: any event. */
  readonly returning: string | undefined;
  readonly period: Period;
  readonly weekStart: WeekStart;
  /** ID of the board; undefined: the list of boards. */
  readonly board: string | undefined;
  /** The range of the whole board: one of RANGES, or `all`; undefined: each chart has its own. */
  readonly boardRange: string | undefined;
  readonly kind: RecordKind;
  /** Whether the live tail is on. */
  readonly live: boolean;
}

export const DEFAULTS: Address = {
  view: 'overview',
  range: '7d',
  from: undefined,
  to: undefined,
  span: undefined,
  zone: 'UTC',
  interval: 'auto',
  refresh: 30,
  user: undefined,
  name: undefined,
  filters: [],
  compare: undefined,
  statistic: undefined,
  split: undefined,
  property: undefined,
  sum: undefined,
  logarithmic: false,
  capped: false,
  sort: undefined,
  top: 10,
  steps: [],
  within: '7d',
  retention: undefined,
  returning: undefined,
  period: 'day',
  weekStart: 'monday',
  board: undefined,
  boardRange: undefined,
  kind: 'metrics',
  live: false,
};

/** State that belongs to a single view. Switching views resets it. */
const VIEW_DEFAULTS = {
  name: undefined,
  filters: [],
  statistic: undefined,
  split: undefined,
  property: undefined,
  sum: undefined,
  logarithmic: false,
  capped: false,
  sort: undefined,
  top: DEFAULTS.top,
  steps: [],
  within: DEFAULTS.within,
  retention: undefined,
  returning: undefined,
  period: DEFAULTS.period,
  board: undefined,
  boardRange: undefined,
  kind: DEFAULTS.kind,
  live: false,
} as const;

const SPAN = /^[1-9]\d{0,3}[hdM]$/;
const RANGE_NAMES: readonly string[] = [...RANGES.map(({ name }) => name), 'all'];

/** Parses the query string of a URL. Invalid parameters get their defaults. */
export function readAddress(search: string): Address {
  const query = new URLSearchParams(search);
  const moment = (name: string) => {
    const at = new Date(query.get(name) ?? '');
    return at >= EARLIEST && at <= LATEST ? at : undefined;
  };
  const oneOf = <Value extends string>(name: string, values: readonly Value[], fallback: Value) =>
    values.find((value) => value === query.get(name)) ?? fallback;
  const text = (name: string) => query.get(name) ?? undefined;
  const [from, to] = [moment('from'), moment('to')];
  const isCustom = from !== undefined && to !== undefined && from < to;
  const zone = query.get('tz') ?? '';
  return {
    view: oneOf('view', VIEWS, DEFAULTS.view),
    range: isCustom ? 'custom' : oneOf('range', RANGE_NAMES, DEFAULTS.range),
    from: isCustom ? from : undefined,
    to: isCustom ? to : undefined,
    span: isCustom ? SPAN.exec(query.get('span') ?? '')?.[0] : undefined,
    zone: isTimeZone(zone) ? zone : browserTimeZone(),
    interval: oneOf('interval', ['auto', ...INTERVALS.map(({ name }) => name)], DEFAULTS.interval),
    refresh: REFRESH_INTERVALS.find((seconds) => String(seconds) === query.get('refresh')) ?? DEFAULTS.refresh,
    user: query.get('user') || undefined,
    name: text('name'),
    filters: filtersOf(query),
    compare: COMPARISONS.find((name) => name === query.get('compare')),
    statistic: STATISTICS.find((name) => name === query.get('statistic')),
    split: STATISTICS.find((name) => name === query.get('split')),
    property: propertyOf(query.get('property')),
    sum: propertyOf(query.get('sum')),
    logarithmic: query.get('axis') === 'log',
    capped: query.has('cap'),
    sort: query.get('sort') || undefined,
    top: Math.min(MAX_TOP, Math.max(1, Number.parseInt(query.get('top') ?? '', 10) || DEFAULTS.top)),
    steps: query.getAll('step').slice(0, MAX_STEPS),
    within: /^[1-9]\d{0,5}[smhd]$/.test(query.get('within') ?? '') ? (query.get('within') ?? '') : DEFAULTS.within,
    retention: text('retention'),
    returning: text('returning'),
    period: oneOf('period', PERIODS, DEFAULTS.period),
    weekStart: oneOf('week', WEEK_STARTS, browserWeekStart()),
    board: query.get('board') || undefined,
    boardRange: RANGE_NAMES.find((name) => name === query.get('board_range')),
    kind: oneOf('kind', KINDS, DEFAULTS.kind),
    live: query.has('live'),
  };
}

/** Returns a property path if it has the prefix of one; the server checks the rest. */
function propertyOf(text: string | null): `data.${string}` | undefined {
  return text?.startsWith('data.') && text.length > 'data.'.length ? (text as `data.${string}`) : undefined;
}

/** Maximum number of filters in an address, so that requests stay below the limits of proxies. */
const MAX_FILTERS = 20;

/** Parses the filters of a URL. A parameter is the field followed by `!` or `~`, like `data.plan!=free`. */
function filtersOf(query: URLSearchParams): Filter[] {
  const filters: Filter[] = [];
  for (const [parameter, value] of query) {
    const operator = parameter.endsWith('!') ? '!=' : parameter.endsWith('~') ? '~=' : '=';
    const name = parameter.slice(0, parameter.length + 1 - operator.length);
    const field = name === 'label' ? name : propertyOf(name);
    if (field !== undefined) filters.push({ field, operator, value });
  }
  return filters.slice(0, MAX_FILTERS);
}

/** Returns an address as a URL. Omits defaults, except for those that differ between browsers. */
export function linkTo(address: Address): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string | undefined, defaultValue?: string) => {
    if (value !== undefined && value !== defaultValue) query.append(name, value);
  };
  put('view', address.view, DEFAULTS.view);
  put('name', address.name);
  for (const { field, operator, value } of address.filters) query.append(field + operator.slice(0, -1), value);
  put('kind', address.kind, DEFAULTS.kind);
  if (address.range !== 'custom') put('range', address.range, DEFAULTS.range);
  put('from', address.from?.toISOString());
  put('to', address.to?.toISOString());
  put('span', address.span);
  put('interval', address.interval, DEFAULTS.interval);
  put('compare', address.compare);
  put('statistic', address.statistic);
  put('split', address.split);
  put('property', address.property);
  put('sum', address.sum);
  if (address.logarithmic) put('axis', 'log');
  if (address.capped) put('cap', '1');
  put('sort', address.sort);
  put('top', String(address.top), String(DEFAULTS.top));
  for (const step of address.steps) put('step', step);
  put('within', address.within, DEFAULTS.within);
  put('retention', address.retention);
  put('returning', address.returning);
  put('period', address.period, DEFAULTS.period);
  put('board', address.board);
  put('board_range', address.boardRange);
  if (address.live) put('live', '1');
  put('user', address.user);
  put('refresh', String(address.refresh), String(DEFAULTS.refresh));
  put('tz', address.zone);
  put('week', address.weekStart);
  return `/?${query}`;
}

/** Returns the address of another view with the same range, time zone and user. */
export function inView(address: Address, view: View, changes: Partial<Address> = {}): Address {
  return { ...address, ...VIEW_DEFAULTS, view, ...changes };
}

/**
 * Returns the filters as parameters of a query route.
 *
 * @param label the route's name for the label
 */
export function filterParameters(filters: readonly Filter[], label: 'data_string' | 'data_index'): QueryParameters {
  const parameters: Record<string, string[]> = {};
  for (const { field, operator, value } of filters) {
    const name = (field === 'label' ? label : field) + operator.slice(0, -1);
    parameters[name] = [...(parameters[name] ?? []), value];
  }
  return parameters;
}

/** Returns the filters with an additional one; the same filter is never added twice. */
export function withFilter(filters: readonly Filter[], added: Filter): Filter[] {
  return [...withoutFilter(filters, added), added];
}

/** Returns the filters without one of them. */
export function withoutFilter(filters: readonly Filter[], removed: Filter): Filter[] {
  return filters.filter(
    ({ field, operator, value }) => field !== removed.field || operator !== removed.operator || value !== removed.value,
  );
}

/** Returns the only label that the filters allow; undefined if they allow several. */
export function onlyLabel(filters: readonly Filter[]): string | undefined {
  const labels = filters.filter(({ field, operator }) => field === 'label' && operator === '=');
  return labels.length === 1 ? labels[0]?.value : undefined;
}
