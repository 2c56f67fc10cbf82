import { browserTimeZone, EARLIEST, INTERVALS, type IntervalName, isTimeZone, LATEST, RANGES } from './time.ts';

export const VIEWS = ['overview', 'metric', 'event', 'records'] as const;
export type View = (typeof VIEWS)[number];

/** Refresh intervals of a view, in seconds; 0: manual only. */
export const REFRESH_INTERVALS = [0, 5, 30, 60, 300] as const;

/** Statistics of a metric that can be broken down by label. */
export const STATISTICS = ['count', 'avg', 'p50', 'p95', 'p99', 'min', 'max'] as const;
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
  readonly zone: string;
  readonly interval: IntervalName | 'auto';
  readonly refresh: number;
  /** User ID that an admin or viewer filters by; undefined: all users. */
  readonly user: string | undefined;
  /** The metric or event type; undefined: the most frequent one, or all of them in the records view. */
  readonly name: string | undefined;
  /** Filter on `data_string` or `data_index`. */
  readonly label: string | undefined;
  /** Whether the previous period is shown too. */
  readonly compare: boolean;
  /** The statistic that the chart breaks down by `data_string`. */
  readonly split: Statistic | undefined;
  /** How many groups are listed; the remaining ones are summed up as `other`. */
  readonly top: number;
  /** Steps of the funnel. */
  readonly steps: readonly string[];
  /** Time limit for completing the funnel, such as `7d`. */
  readonly within: string;
  /** The step that defines the cohorts of the cohort retention chart. */
  readonly retention: string | undefined;
  readonly kind: RecordKind;
  /** Whether the live tail is on. */
  readonly live: boolean;
}

export const DEFAULTS: Address = {
  view: 'overview',
  range: '24h',
  from: undefined,
  to: undefined,
  zone: 'UTC',
  interval: 'auto',
  refresh: 30,
  user: undefined,
  name: undefined,
  label: undefined,
  compare: false,
  split: undefined,
  top: 10,
  steps: [],
  within: '7d',
  retention: undefined,
  kind: 'metrics',
  live: false,
};

/** State that belongs to a single view. Switching views resets it. */
const VIEW_DEFAULTS = {
  name: undefined,
  label: undefined,
  compare: false,
  split: undefined,
  top: DEFAULTS.top,
  steps: [],
  within: DEFAULTS.within,
  retention: undefined,
  kind: DEFAULTS.kind,
  live: false,
} as const;

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
  const statistic = query.get('split');
  return {
    view: oneOf('view', VIEWS, DEFAULTS.view),
    range: isCustom ? 'custom' : oneOf('range', [...RANGES.map(({ name }) => name), 'all'], DEFAULTS.range),
    from: isCustom ? from : undefined,
    to: isCustom ? to : undefined,
    zone: isTimeZone(zone) ? zone : browserTimeZone(),
    interval: oneOf('interval', ['auto', ...INTERVALS.map(({ name }) => name)], DEFAULTS.interval),
    refresh: REFRESH_INTERVALS.find((seconds) => String(seconds) === query.get('refresh')) ?? DEFAULTS.refresh,
    user: query.get('user') || undefined,
    name: text('name'),
    label: text('label'),
    compare: query.has('compare'),
    split: STATISTICS.find((name) => name === statistic),
    top: Math.min(MAX_TOP, Math.max(1, Number.parseInt(query.get('top') ?? '', 10) || DEFAULTS.top)),
    steps: query.getAll('step').slice(0, MAX_STEPS),
    within: /^[1-9]\d{0,5}[smhd]$/.test(query.get('within') ?? '') ? (query.get('within') ?? '') : DEFAULTS.within,
    retention: text('retention'),
    kind: oneOf('kind', KINDS, DEFAULTS.kind),
    live: query.has('live'),
  };
}

/** Returns an address as a URL. Omits defaults, except for the time zone, whose default differs between browsers. */
export function linkTo(address: Address): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string | undefined, defaultValue?: string) => {
    if (value !== undefined && value !== defaultValue) query.append(name, value);
  };
  put('view', address.view, DEFAULTS.view);
  put('name', address.name);
  put('label', address.label);
  put('kind', address.kind, DEFAULTS.kind);
  if (address.range !== 'custom') put('range', address.range, DEFAULTS.range);
  put('from', address.from?.toISOString());
  put('to', address.to?.toISOString());
  put('interval', address.interval, DEFAULTS.interval);
  if (address.compare) put('compare', '1');
  put('split', address.split);
  put('top', String(address.top), String(DEFAULTS.top));
  for (const step of address.steps) put('step', step);
  put('within', address.within, DEFAULTS.within);
  put('retention', address.retention);
  if (address.live) put('live', '1');
  put('user', address.user);
  put('refresh', String(address.refresh), String(DEFAULTS.refresh));
  put('tz', address.zone);
  return `/?${query}`;
}

/** Returns the address of another view with the same range, time zone and user. */
export function inView(address: Address, view: View, changes: Partial<Address> = {}): Address {
  return { ...address, ...VIEW_DEFAULTS, view, ...changes };
}
