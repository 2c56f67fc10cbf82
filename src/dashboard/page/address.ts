import { EARLIEST, INTERVALS, type IntervalName, isTimeZone, LATEST, ownTimeZone, RANGES } from './time.ts';

export const VIEWS = ['overview', 'metric', 'event', 'records'] as const;
export type View = (typeof VIEWS)[number];

/** How often a view asks again, in seconds; 0: only when told to. */
export const REFRESHES = [0, 5, 30, 60, 300] as const;

/** The figures of a metric that can be broken down. */
export const STATISTICS = ['count', 'avg', 'p50', 'p95', 'p99', 'min', 'max'] as const;
export type Statistic = (typeof STATISTICS)[number];

/** The tables of records. */
export const KINDS = ['metrics', 'analytics'] as const;
export type RecordKind = (typeof KINDS)[number];

/** The most steps of a funnel, and the most groups, that the reading routes take. */
export const MAX_STEPS = 20;
export const MAX_TOP = 1_000;

/** Everything that a view shows depends on this and on the token: who has the address sees the same. */
export interface Address {
  readonly view: View;
  /** One of RANGES, `all`, or `custom` with the two ends. */
  readonly range: string;
  readonly from: Date | undefined;
  readonly to: Date | undefined;
  readonly zone: string;
  readonly interval: IntervalName | 'auto';
  readonly refresh: number;
  /** Whose rows an admin wants; undefined: everybody's. */
  readonly user: string | undefined;
  /** The metric, or the event type; undefined: the most frequent one, or all in the records. */
  readonly name: string | undefined;
  /** The only `data_string` or `data_index` that is shown. */
  readonly label: string | undefined;
  /** Whether the period before is shown too. */
  readonly compare: boolean;
  /** What is shown by `data_string`. */
  readonly split: Statistic | undefined;
  /** How many groups are shown before the rest is `other`. */
  readonly top: number;
  /** The steps of the funnel. */
  readonly steps: readonly string[];
  /** How long a way through the funnel may take, such as `7d`. */
  readonly within: string;
  /** The step whose users are looked for on later days. */
  readonly retention: string | undefined;
  /** Which records. */
  readonly kind: RecordKind;
  /** Whether new records appear as they are committed. */
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

/** What belongs to one view alone, and is left behind on the way to another. */
const OF_ONE_VIEW = {
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

/** Reads the part of an address behind `?`. What makes no sense there has its default. */
export function readAddress(search: string): Address {
  const query = new URLSearchParams(search);
  const moment = (name: string) => {
    const at = new Date(query.get(name) ?? '');
    return at >= EARLIEST && at <= LATEST ? at : undefined;
  };
  const oneOf = <Value extends string>(name: string, values: readonly Value[], otherwise: Value) =>
    values.find((value) => value === query.get(name)) ?? otherwise;
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
    zone: isTimeZone(zone) ? zone : ownTimeZone(),
    interval: oneOf('interval', ['auto', ...INTERVALS.map(({ name }) => name)], DEFAULTS.interval),
    refresh: REFRESHES.find((seconds) => String(seconds) === query.get('refresh')) ?? DEFAULTS.refresh,
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

/** The address as a link: what has its default is left out, save for the zone, which differs between browsers. */
export function linkTo(address: Address): string {
  const query = new URLSearchParams();
  const put = (name: string, value: string | undefined, otherwise?: string) => {
    if (value !== undefined && value !== otherwise) query.append(name, value);
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

/** The same moment, zone and user in another view. */
export function inView(address: Address, view: View, rest: Partial<Address> = {}): Address {
  return { ...address, ...OF_ONE_VIEW, view, ...rest };
}
