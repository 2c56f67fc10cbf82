import type { ActivityQuery } from '../../src/query/activity.ts';
import type { FunnelQuery } from '../../src/query/funnel.ts';
import type { RetentionQuery } from '../../src/query/retention.ts';
import type { BucketQuery, Query } from '../../src/query/selection.ts';
import type { Kind } from '../../src/records.ts';
import type { RecordFilter } from '../../src/storage/records.ts';

/*
 * The answers of the reading API, found in the plainest way from an array of records. Nothing is shared with
 * what it is compared to: groups are filtered arrays, users are sets, and the calendar is read off
 * Intl.DateTimeFormat, clock reading by clock reading.
 */

/** A record, in the order of its commit in the array that it is in. Times are microseconds since 1970. */
export interface Item {
  readonly kind: Kind;
  readonly id: string;
  readonly seq: number;
  readonly user: string;
  readonly name: string;
  readonly label: string;
  readonly time: number;
  readonly received: number;
  /** Of a metric. */
  readonly value: number;
  /** Of an event: JSON text. */
  readonly data: string;
}

/** What a query is answered with when it has too many buckets. */
export const TOO_LARGE = 'too large';
const MAX_BUCKETS = 10_000;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The clock of a zone as Intl shows it. */
class WallClock {
  readonly #format: Intl.DateTimeFormat;
  readonly #stretches = new Map<number, readonly Stretch[]>();

  constructor(zone: string) {
    this.#format = new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      calendar: 'gregory',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
  }

  /** What the clock shows at a time, in milliseconds as if it were UTC. */
  reading(ms: number): number {
    const shown: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(ms)) shown[type] = Number(value);
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = shown;
    return Date.UTC(year, month - 1, day, hour, minute, second) + (((ms % SECOND) + SECOND) % SECOND);
  }

  offset(ms: number): number {
    return this.reading(ms) - ms;
  }

  /** The first time at which the clock shows a reading, or a later one where a change leaves it out. */
  firstTime(reading: number): number {
    const year = new Date(reading).getUTCFullYear();
    const stretches = [year - 1, year, year + 1].flatMap((one) => this.#stretchesOf(one));
    for (const { start, end, offset } of stretches) {
      // the time at which this stretch of the clock shows it, or its start where that is later already
      const at = Math.max(start, reading - offset);
      if (at < end) return at;
    }
    throw new Error('there is always a next year');
  }

  /** The stretches of a year over which the clock is not changed, to the second. */
  #stretchesOf(year: number): readonly Stretch[] {
    const known = this.#stretches.get(year);
    if (known) return known;
    const found: Stretch[] = [];
    const end = Date.UTC(year + 1, 0, 1);
    for (let start = Date.UTC(year, 0, 1); start < end; start = (found.at(-1) as Stretch).end) {
      const offset = this.offset(start);
      let same = start;
      while (same < end && this.offset(same + DAY / 2) === offset) same += DAY / 2;
      let changed = same + DAY / 2;
      while (same < end && changed - same > SECOND) {
        const middle = Math.floor((same + changed) / 2 / SECOND) * SECOND;
        if (this.offset(middle) === offset) same = middle;
        else changed = middle;
      }
      found.push({ start, end: Math.min(changed, end), offset });
    }
    this.#stretches.set(year, found);
    return found;
  }
}

interface Stretch {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
}

const clocks = new Map<string, WallClock>();
export function clockOf(zone: string): WallClock {
  const clock = clocks.get(zone) ?? new WallClock(zone);
  clocks.set(zone, clock);
  return clock;
}

/** A time in RFC 3339, as a zone's clock shows it. */
export function text(microseconds: number, zone: string): string {
  const ms = Math.floor(microseconds / 1000);
  const offset = clockOf(zone).offset(ms);
  const micros = String(microseconds - ms * 1000).padStart(3, '0');
  const shown = new Date(ms + offset).toISOString();
  const fraction = `${shown.slice(19, 23)}${micros}`.replace(/\.?0+$/, '');
  const minutes = Math.abs(offset) / MINUTE;
  const two = (number: number) => String(number).padStart(2, '0');
  const zoneText = `${offset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
  return `${shown.slice(0, 19)}${fraction}${zone === 'UTC' ? 'Z' : zoneText}`;
}

/** Counts units of the calendar: which one a clock's reading is in, and the reading at which one begins. */
const UNITS = {
  day: { number: (reading: number) => Math.floor(reading / DAY), start: (number: number) => number * DAY },
  // 1970-01-05 was a Monday
  week: {
    number: (reading: number) => Math.floor((reading / DAY - 4) / 7),
    start: (number: number) => (number * 7 + 4) * DAY,
  },
  month: {
    number: (reading: number) => monthsOf(new Date(reading)),
    start: (number: number) => Date.UTC(1970, number, 1),
  },
  year: {
    number: (reading: number) => new Date(reading).getUTCFullYear() - 1970,
    start: (number: number) => Date.UTC(1970 + number, 0, 1),
  },
} as const;

function monthsOf(date: Date): number {
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth();
}

/** The starts of the buckets of a range, and behind them the end of the last. Microseconds since 1970. */
export function edges(
  from: number,
  to: number,
  { interval, zone }: Pick<BucketQuery, 'interval' | 'zone'>,
): number[] | typeof TOO_LARGE {
  if (to <= from) return [];
  if (!interval) return [from, to];
  const { count, unit } = interval;
  const found: number[] = [];
  for (const ms of starts(Math.floor(from / 1000), count, unit, clockOf(zone))) {
    const edge = ms * 1000;
    if (found.length > 0 && edge <= (found.at(-1) as number)) continue;
    if (edge <= from) found.length = 0;
    found.push(edge);
    if (edge >= to) break;
    if (found.length > MAX_BUCKETS) return TOO_LARGE;
  }
  return found;
}

/** The starts of buckets from one that is not after a time on, in milliseconds since 1970, rising but for repetitions. */
function* starts(
  ms: number,
  count: number,
  unit: NonNullable<BucketQuery['interval']>['unit'],
  clock: WallClock,
): Generator<number> {
  if (unit !== 'minute' && unit !== 'hour') {
    const { number, start } = UNITS[unit];
    // one before: where clocks go back over midnight, the reading may be of the day before
    for (let n = Math.floor(number(clock.reading(ms)) / count) - 1; ; n++) yield clock.firstTime(start(n * count));
  }
  const length = count * (unit === 'hour' ? HOUR : MINUTE);
  for (let day = UNITS.day.number(clock.reading(ms)) - 1; ; day++) {
    const midnight = clock.firstTime(day * DAY);
    const next = clock.firstTime((day + 1) * DAY);
    for (let passed = 0; passed < DAY + 3 * HOUR; passed += length) {
      // up to an hour buckets are counted from midnight, longer ones follow the clock on the wall
      const at = length <= HOUR ? midnight + passed : clock.firstTime(day * DAY + passed);
      if (at < next && (length <= HOUR || passed < DAY)) yield at;
    }
  }
}

/** Rows of the query's name that its caller may see. */
function visible(items: readonly Item[], kind: Kind, { name, user }: Pick<Query, 'name' | 'user'>): Item[] {
  return items.filter((item) => item.kind === kind && item.name === name && (user === undefined || item.user === user));
}

interface Range {
  readonly from: number;
  readonly to: number;
  /** As an answer has it. */
  readonly shown: { from: string | null; to: string | null; tz: string };
}

function rangeOf(rows: readonly Item[], { from, to }: Pick<Query, 'from' | 'to'>, zone: string): Range {
  const times = rows.map(({ time }) => time).sort((a, b) => a - b);
  const first = from ?? Math.min(times[0] ?? Number.POSITIVE_INFINITY, to ?? Number.POSITIVE_INFINITY);
  const last = to ?? Math.max((times.at(-1) ?? Number.NEGATIVE_INFINITY) + 1, from ?? Number.NEGATIVE_INFINITY);
  const any = rows.length > 0;
  const shown = {
    from: any || from !== undefined ? text(first, zone) : null,
    to: any || to !== undefined ? text(last, zone) : null,
    tz: zone,
  };
  return any || (from !== undefined && to !== undefined) ? { from: first, to: last, shown } : { from: 0, to: 0, shown };
}

function within(rows: readonly Item[], from: number, to: number): Item[] {
  return rows.filter(({ time }) => time >= from && time < to);
}

function statistics(rows: readonly Item[]) {
  const values = rows.map(({ value }) => value).sort((a, b) => a - b);
  const count = values.length;
  if (count === 0) return { count, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
  const sum = nearest(exactSum(values), 1n);
  const fits = Math.abs(sum) < Number.POSITIVE_INFINITY;
  /** SQL's PERCENTILE_CONT. */
  const percentile = (hundredths: number) => {
    const below = Math.floor((hundredths * (count - 1)) / 100);
    const part = (hundredths * (count - 1)) / 100 - below;
    const [low, high] = [values[below] as number, values[Math.min(below + 1, count - 1)] as number];
    return low * (1 - part) + high * part;
  };
  const [p50, p95, p99] = [percentile(50), percentile(95), percentile(99)];
  return {
    count,
    sum: fits ? sum : Math.sign(sum) * Number.MAX_VALUE,
    ...(!fits && { sum_overflow: true }),
    avg: nearest(exactSum(values), BigInt(count)),
    ...{ min: values[0], max: values.at(-1), p50, p95, p99 },
  };
}

/** The sum of values in units of 2^-1074, the least double. */
export function exactSum(values: readonly number[]): bigint {
  const view = new DataView(new ArrayBuffer(8));
  return values.reduce((sum, value) => {
    view.setFloat64(0, value);
    const bits = view.getBigUint64(0);
    const exponent = (bits >> 52n) & 0x7ffn;
    const fraction = bits & (2n ** 52n - 1n);
    const size = exponent === 0n ? fraction : (fraction | (2n ** 52n)) << (exponent - 1n);
    return value < 0 ? sum - size : sum + size;
  }, 0n);
}

/** The double nearest to a quotient, in units of 2^-1074; of two equally near ones the even one. */
export function nearest(numerator: bigint, denominator: bigint): number {
  const size = numerator < 0n ? -numerator : numerator;
  const excess = Math.max(0, (size / denominator).toString(2).length - 53);
  const unit = denominator << BigInt(excess);
  const [whole, over] = [size / unit, (size % unit) * 2n];
  const up = over > unit || (over === unit && whole % 2n === 1n);
  const value = Number(up ? whole + 1n : whole) * 2 ** (excess - 1074);
  return numerator < 0n ? -value : value;
}

function tally(rows: readonly Item[]) {
  return { count: rows.length, unique_users: new Set(rows.map(({ user }) => user)).size };
}

/** Splits rows by label, the most frequent first; of equally frequent ones that with the first row. */
function byLabel(rows: readonly Item[], top: number) {
  const sorted = [...Map.groupBy(rows, ({ label }) => label)].sort(([, a], [, b]) => b.length - a.length);
  return { named: sorted.slice(0, top), others: sorted.slice(top).flatMap(([, own]) => own) };
}

/** Puts rows into buckets, and says of each what there is to say. */
function bucketed<Fact>(bounds: readonly number[], zone: string, fact: (rows: readonly Item[]) => Fact) {
  const starts = bounds.slice(0, -1).map((start) => text(start, zone));
  return (rows: readonly Item[]) =>
    starts.map((start, i) => ({ start, ...fact(within(rows, bounds[i] as number, bounds[i + 1] as number)) }));
}

export function series(items: readonly Item[], query: BucketQuery) {
  const { name, zone, label, top } = query;
  const rows = visible(items, 'metric', query);
  const { from, to, shown } = rangeOf(rows, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const counted = within(rows, from, to).filter((row) => label === undefined || row.label === label);
  const buckets = bucketed(bounds, zone, statistics);
  const percentiles = { method: 'percentile_cont', error: 0 };
  const response = { name, ...shown, percentiles, ...statistics(counted), buckets: buckets(counted) };
  if (top === undefined) return response;
  const { named, others } = byLabel(counted, top);
  return {
    ...response,
    groups: named.map(([data_string, own]) => ({ data_string, ...statistics(own), buckets: buckets(own) })),
    other: { labels: labelsOf(others), ...statistics(others), buckets: buckets(others) },
  };
}

export function counts(items: readonly Item[], query: BucketQuery) {
  const { name, zone, label, top } = query;
  const rows = visible(items, 'analytics', query);
  const { from, to, shown } = rangeOf(rows, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const counted = within(rows, from, to).filter((row) => label === undefined || row.label === label);
  const buckets = bucketed(bounds, zone, tally);
  const response = { type: name, ...shown, ...tally(counted), buckets: buckets(counted) };
  if (top === undefined) return response;
  const { named, others } = byLabel(counted, top);
  return {
    ...response,
    groups: named.map(([data_index, own]) => ({ data_index, ...tally(own), buckets: buckets(own) })),
    other: { labels: labelsOf(others), ...tally(others), buckets: buckets(others) },
  };
}

function labelsOf(rows: readonly Item[]): number {
  return new Set(rows.map(({ label }) => label)).size;
}

export function funnel(items: readonly Item[], query: FunnelQuery) {
  const { name, steps } = query;
  const all = visible(items, 'analytics', query);
  const { from, to, shown } = rangeOf(all, query, 'UTC');
  const rows = within(all, from, to);
  const best = [...Map.groupBy(rows, ({ user }) => user).values()].map((own) => {
    own.sort((a, b) => a.time - b.time || a.seq - b.seq);
    return furthest(own, steps, query.within * 1e6);
  });
  const reached = steps.map((_, step) => best.filter((way) => way.length > step).length);
  return {
    type: name,
    ...shown,
    within_seconds: query.within,
    steps: steps.map((step, i) => {
      const users = reached[i] as number;
      const before = reached[Math.max(0, i - 1)] as number;
      const waits = best.flatMap((way) => (i > 0 && way.length > i ? [Number(way[i]) - Number(way[i - 1])] : []));
      return {
        step,
        users,
        conversion: reached[0] ? users / reached[0] : null,
        conversion_from_previous: before ? users / before : null,
        median_seconds: medianOf(waits),
      };
    }),
  };
}

/** The times of the way that gets furthest, of all ways that a user's events allow. */
function furthest(own: readonly Item[], steps: readonly string[], limit: number): number[] {
  let best: number[] = [];
  own.forEach((begin, start) => {
    if (begin.label !== steps[0]) return;
    const way = [begin.time];
    let place = start;
    for (const step of steps.slice(1)) {
      place = own.findIndex(({ label, time }, i) => i > place && label === step && time - begin.time <= limit);
      if (place < 0) break;
      way.push((own[place] as Item).time);
    }
    if (way.length > best.length) best = way;
  });
  return best;
}

/** How far a user's events lead, by trying every choice of events. For few events. */
export function reachable(own: readonly Item[], steps: readonly string[], limit: number): number {
  const from = (step: number, place: number, begin: number): number => {
    let most = step;
    own.forEach(({ label, time }, i) => {
      if (i < place || step === steps.length || label !== steps[step]) return;
      const began = step === 0 ? time : begin;
      if (time - began <= limit) most = Math.max(most, from(step + 1, i + 1, began));
    });
    return most;
  };
  return from(0, 0, 0);
}

function medianOf(microseconds: readonly number[]): number | null {
  if (microseconds.length === 0) return null;
  const sorted = microseconds.map((one) => one / 1e6).sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1] as number, sorted[sorted.length >> 1] as number];
  return (low + high) / 2;
}

/** Cohorts: of each user the days of its events, as sets of starts of days. */
export function retention(items: readonly Item[], query: RetentionQuery) {
  const { name, step, returnStep, zone, days } = query;
  const all = visible(items, 'analytics', query);
  const { from, to, shown } = rangeOf(all, query, zone);
  const bounds = edges(from, to, { interval: { count: 1, unit: 'day' }, zone });
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const starts = bounds.slice(0, -1);
  const dayOf = ({ time }: Item) => starts.findLast((start) => start <= time) as number;
  const people = [...Map.groupBy(within(all, from, to), ({ user }) => user).values()].map((own) => ({
    joined: Math.min(...own.filter(({ label }) => label === step).map(dayOf)),
    seen: new Set(own.filter(({ label }) => returnStep === undefined || label === returnStep).map(dayOf)),
  }));
  return {
    type: name,
    step,
    return_step: returnStep ?? null,
    ...shown,
    days,
    cohorts: starts.map((start, i) => {
      const cohort = people.filter(({ joined }) => joined === start);
      const returned = Array.from({ length: days }, (_, n) => {
        const later = starts[i + n + 1];
        return later === undefined ? null : cohort.filter(({ seen }) => seen.has(later)).length;
      });
      return { start: text(start, zone), users: cohort.length, returned };
    }),
  };
}

export function activity(items: readonly Item[], query: ActivityQuery) {
  const { user, zone, top } = query;
  const all = items.filter((item) => user === undefined || item.user === user);
  const { from, to, shown } = rangeOf(all, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const amount = (rows: readonly Item[]) => ({
    count: rows.length,
    counts: bounds.slice(1).map((end, i) => within(rows, bounds[i] as number, end).length),
  });
  const ofKind = (kind: Kind) => {
    const rows = within(all, from, to).filter((item) => item.kind === kind);
    const ranked = [...new Set(rows.map(({ name }) => name))]
      .sort()
      .map((name) => ({ name, own: rows.filter((row) => row.name === name) }))
      .sort((a, b) => b.own.length - a.own.length);
    const rest = ranked.slice(top);
    return {
      all: amount(rows),
      named: ranked.slice(0, top).map(({ name, own }) => ({ name, ...amount(own) })),
      others: rest.length,
      other: amount(rest.flatMap(({ own }) => own)),
    };
  };
  const [metrics, analytics] = [ofKind('metric'), ofKind('analytics')];
  return {
    ...shown,
    starts: bounds.slice(0, -1).map((start) => text(start, zone)),
    metrics: { ...metrics.all, names: metrics.named, other: { names: metrics.others, ...metrics.other } },
    analytics: {
      ...analytics.all,
      types: analytics.named.map(({ name, ...own }) => ({ type: name, ...own })),
      other: { types: analytics.others, ...analytics.other },
    },
  };
}

export function names(items: readonly Item[], kind: Kind, user: string | undefined) {
  const rows = items.filter((item) => item.kind === kind && (user === undefined || item.user === user));
  const found = [...new Set(rows.map(({ name }) => name))].map((name) => {
    const times = rows.filter((row) => row.name === name).map(({ time }) => time);
    return {
      ...(kind === 'metric' ? { name } : { type: name }),
      count: times.length,
      first_seen: text(Math.min(...times), 'UTC'),
      last_seen: text(Math.max(...times), 'UTC'),
    };
  });
  const nameOf = (one: (typeof found)[number]) => String(Object.values(one)[0]);
  return found.sort((a, b) => b.count - a.count || (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** The records that pass a filter, newest first. */
export function records(items: readonly Item[], kind: Kind, filter: RecordFilter) {
  const { user, name, label, from, to } = filter;
  return items
    .filter(
      (item) =>
        item.kind === kind &&
        (user === undefined || item.user === user) &&
        (name === undefined || item.name === name) &&
        (label === undefined || item.label === label) &&
        (from === undefined || item.time >= from) &&
        (to === undefined || item.time < to),
    )
    .sort((a, b) => b.seq - a.seq)
    .map((item) => ({
      id: item.id,
      user_id: item.user,
      timestamp: text(item.time, 'UTC'),
      received_at: text(item.received, 'UTC'),
      ...(kind === 'metric'
        ? { metric_name: item.name, metric_value: item.value, data_string: item.label }
        : { type: item.name, data_index: item.label, data: JSON.parse(item.data) }),
    }));
}
