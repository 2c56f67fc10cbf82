import type { PropertyFilter } from '../../src/properties.ts';
import type { ActivityQuery } from '../../src/query/activity.ts';
import type { EventStep } from '../../src/query/event-step.ts';
import type { FunnelQuery } from '../../src/query/funnel.ts';
import type { RetentionQuery } from '../../src/query/retention.ts';
import type { BucketQuery, Query } from '../../src/query/selection.ts';
import type { Kind, LabelFilter } from '../../src/records.ts';
import type { RecordFilter } from '../../src/storage/records.ts';

/*
 * A naive reference implementation of the queries over an array of rows. It shares no code with the query engine: groups
 * are filtered arrays, unique users are sets, and the calendar is derived from the output of Intl.DateTimeFormat.
 */

/** A recorded row. Arrays of rows are in commit order. Times are in microseconds since 1970. */
export interface Row {
  readonly kind: Kind;
  readonly id: string;
  readonly seq: number;
  readonly user: string;
  readonly name: string;
  readonly label: string;
  readonly time: number;
  readonly received: number;
  /** The value of a metric. */
  readonly value: number;
  /** The data of an event, as JSON. */
  readonly data: string;
}

/** The result of a query with too many buckets. */
export const TOO_LARGE = 'too large';
const MAX_BUCKETS = 10_000;

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Conversions between UTC and the wall time of a zone, based on Intl. Times are in milliseconds since 1970. */
class WallClock {
  readonly #format: Intl.DateTimeFormat;
  readonly #periods = new Map<number, readonly OffsetPeriod[]>();

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

  /** Returns the wall time at a time, encoded as if it were UTC. */
  wallTime(ms: number): number {
    const fields: Record<string, number> = {};
    for (const { type, value } of this.#format.formatToParts(ms)) fields[type] = Number(value);
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = fields;
    return Date.UTC(year, month - 1, day, hour, minute, second) + (((ms % SECOND) + SECOND) % SECOND);
  }

  offset(ms: number): number {
    return this.wallTime(ms) - ms;
  }

  /** Returns the first time with a given wall time, or with a later one if the clock skips it. */
  firstTime(wallTime: number): number {
    const year = new Date(wallTime).getUTCFullYear();
    const periods = [year - 1, year, year + 1].flatMap((periodYear) => this.#periodsOf(periodYear));
    for (const { start, end, offset } of periods) {
      // the time within this period, or the start of the period if that is already later
      const at = Math.max(start, wallTime - offset);
      if (at < end) return at;
    }
    throw new Error('unreachable: there is always a next year');
  }

  /** Returns the periods of a year with a constant offset, accurate to the second. */
  #periodsOf(year: number): readonly OffsetPeriod[] {
    const cached = this.#periods.get(year);
    if (cached) return cached;
    const found: OffsetPeriod[] = [];
    const end = Date.UTC(year + 1, 0, 1);
    for (let start = Date.UTC(year, 0, 1); start < end; start = (found.at(-1) as OffsetPeriod).end) {
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
    this.#periods.set(year, found);
    return found;
  }
}

/** A period with a constant UTC offset. */
interface OffsetPeriod {
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

/** Formats a time as RFC 3339 in a zone. */
export function formatTime(microseconds: number, zone: string): string {
  const ms = Math.floor(microseconds / 1000);
  const offset = clockOf(zone).offset(ms);
  const micros = String(microseconds - ms * 1000).padStart(3, '0');
  const local = new Date(ms + offset).toISOString();
  const fraction = `${local.slice(19, 23)}${micros}`.replace(/\.?0+$/, '');
  const minutes = Math.abs(offset) / MINUTE;
  const pad = (number: number) => String(number).padStart(2, '0');
  const offsetText = `${offset < 0 ? '-' : '+'}${pad(Math.floor(minutes / 60))}:${pad(minutes % 60)}`;
  return `${local.slice(0, 19)}${fraction}${zone === 'UTC' ? 'Z' : offsetText}`;
}

/** Calendar units: the number of the unit that contains a wall time, and the wall time at which a unit starts. */
const UNITS = {
  day: { number: (wallTime: number) => Math.floor(wallTime / DAY), start: (number: number) => number * DAY },
  // 1970-01-04 was a Sunday, 1970-01-05 a Monday
  sunday: {
    number: (wallTime: number) => Math.floor((wallTime / DAY - 3) / 7),
    start: (number: number) => (number * 7 + 3) * DAY,
  },
  week: {
    number: (wallTime: number) => Math.floor((wallTime / DAY - 4) / 7),
    start: (number: number) => (number * 7 + 4) * DAY,
  },
  month: {
    number: (wallTime: number) => monthsOf(new Date(wallTime)),
    start: (number: number) => Date.UTC(1970, number, 1),
  },
  year: {
    number: (wallTime: number) => new Date(wallTime).getUTCFullYear() - 1970,
    start: (number: number) => Date.UTC(1970 + number, 0, 1),
  },
} as const;

function monthsOf(date: Date): number {
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth();
}

/** Returns the starts of the buckets of a range, followed by the end of the last, in microseconds since 1970. */
export function edges(
  from: number,
  to: number,
  { interval, zone }: Pick<BucketQuery, 'interval' | 'zone'>,
): number[] | typeof TOO_LARGE {
  if (to <= from) return [];
  if (!interval) return [from, to];
  const { count } = interval;
  const unit = interval.unit === 'week' && interval.weekStart === 'sunday' ? 'sunday' : interval.unit;
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

/** Yields bucket starts from one that is not after a time, in milliseconds since 1970. Ascending, except for duplicates. */
function* starts(
  ms: number,
  count: number,
  unit: NonNullable<BucketQuery['interval']>['unit'] | 'sunday',
  clock: WallClock,
): Generator<number> {
  if (unit !== 'minute' && unit !== 'hour') {
    const { number, start } = UNITS[unit];
    // one unit earlier, since the wall time may be on the previous day where clocks go back across midnight
    for (let n = Math.floor(number(clock.wallTime(ms)) / count) - 1; ; n++) yield clock.firstTime(start(n * count));
  }
  const length = count * (unit === 'hour' ? HOUR : MINUTE);
  for (let day = UNITS.day.number(clock.wallTime(ms)) - 1; ; day++) {
    const midnight = clock.firstTime(day * DAY);
    const next = clock.firstTime((day + 1) * DAY);
    for (let elapsed = 0; elapsed < DAY + 3 * HOUR; elapsed += length) {
      // buckets of up to an hour are selected from midnight by elapsed time, longer ones by wall time
      const at = length <= HOUR ? midnight + elapsed : clock.firstTime(day * DAY + elapsed);
      if (at < next && (length <= HOUR || elapsed < DAY)) yield at;
    }
  }
}

/** Returns the rows of the query's series that are visible to the query. */
function visible(allRows: readonly Row[], kind: Kind, { name, user }: Pick<Query, 'name' | 'user'>): Row[] {
  return allRows.filter((row) => row.kind === kind && row.name === name && (user === undefined || row.user === user));
}

interface Range {
  readonly from: number;
  readonly to: number;
  /** The range as formatted in a result. */
  readonly formatted: { from: string | null; to: string | null; tz: string };
}

function rangeOf(rows: readonly Row[], { from, to }: Pick<Query, 'from' | 'to'>, zone: string): Range {
  const times = rows.map(({ time }) => time).sort((a, b) => a - b);
  const first = from ?? Math.min(times[0] ?? Number.POSITIVE_INFINITY, to ?? Number.POSITIVE_INFINITY);
  const last = to ?? Math.max((times.at(-1) ?? Number.NEGATIVE_INFINITY) + 1, from ?? Number.NEGATIVE_INFINITY);
  const hasRows = rows.length > 0;
  const formatted = {
    from: hasRows || from !== undefined ? formatTime(first, zone) : null,
    to: hasRows || to !== undefined ? formatTime(last, zone) : null,
    tz: zone,
  };
  return hasRows || (from !== undefined && to !== undefined)
    ? { from: first, to: last, formatted }
    : { from: 0, to: 0, formatted };
}

function within(rows: readonly Row[], from: number, to: number): Row[] {
  return rows.filter(({ time }) => time >= from && time < to);
}

function statistics(rows: readonly Row[]) {
  const values = rows.map(({ value }) => value).sort((a, b) => a - b);
  const count = values.length;
  if (count === 0) return { count, sum: 0, avg: null, min: null, max: null, p50: null, p95: null, p99: null };
  const sum = nearest(exactSum(values), 1n);
  const fits = Math.abs(sum) < Number.POSITIVE_INFINITY;
  /** As PERCENTILE_CONT in SQL. */
  const percentile = (hundredths: number) => {
    const below = Math.floor((hundredths * (count - 1)) / 100);
    const fraction = (hundredths * (count - 1)) / 100 - below;
    const [low, high] = [values[below] as number, values[Math.min(below + 1, count - 1)] as number];
    return low * (1 - fraction) + high * fraction;
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

/** Returns the sum of values in units of 2^-1074, the smallest positive double. */
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

/** Returns the double nearest to a quotient in units of 2^-1074, rounding ties to even. */
export function nearest(numerator: bigint, denominator: bigint): number {
  const size = numerator < 0n ? -numerator : numerator;
  const excess = Math.max(0, (size / denominator).toString(2).length - 53);
  const unit = denominator << BigInt(excess);
  const [whole, doubledRemainder] = [size / unit, (size % unit) * 2n];
  const roundsUp = doubledRemainder > unit || (doubledRemainder === unit && whole % 2n === 1n);
  const value = Number(roundsUp ? whole + 1n : whole) * 2 ** (excess - 1074);
  return numerator < 0n ? -value : value;
}

function countOf(rows: readonly Row[]) {
  return { count: rows.length, unique_users: new Set(rows.map(({ user }) => user)).size };
}

/** Groups rows by label, the most frequent first. Ties are sorted by their first row. */
function byLabel(rows: readonly Row[], top: number) {
  const sorted = [...Map.groupBy(rows, ({ label }) => label)].sort(([, a], [, b]) => b.length - a.length);
  return { named: sorted.slice(0, top), others: sorted.slice(top).flatMap(([, group]) => group) };
}

/** Returns a function that splits rows into buckets and computes the statistics of each bucket. */
function bucketed<Statistics>(bounds: readonly number[], zone: string, compute: (rows: readonly Row[]) => Statistics) {
  const starts = bounds.slice(0, -1).map((start) => formatTime(start, zone));
  return (rows: readonly Row[]) =>
    starts.map((start, i) => ({ start, ...compute(within(rows, bounds[i] as number, bounds[i + 1] as number)) }));
}

/** Returns a test of whether a row's label matches a filter, written as the documentation states it. */
function hasLabel(filter: LabelFilter | undefined): (row: Row) => boolean {
  return ({ label }) => {
    if (filter === undefined) return true;
    const isOneOf = filter.anyOf.length === 0 || filter.anyOf.some((text) => text === label);
    const isNoneOf = filter.noneOf.every((text) => text !== label);
    const contains = filter.containsAny.length === 0 || filter.containsAny.some((text) => label.indexOf(text) >= 0);
    return isOneOf && isNoneOf && contains;
  };
}

/** Returns the nearest finite double of a number in JSON, without a negative zero. */
function finite(value: number): number {
  return value === 0 ? 0 : Math.max(-Number.MAX_VALUE, Math.min(value, Number.MAX_VALUE));
}

/** Returns the value of a property of a row's data; null for anything but a string, a number or a boolean. */
function propertyOf({ data }: Row, path: readonly string[]): string | number | boolean | null {
  let value: unknown = JSON.parse(data);
  for (const key of path) {
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    const entry = isObject ? Object.entries(value as object).find(([name]) => name === key) : undefined;
    value = entry?.[1];
  }
  if (typeof value === 'number')
    return value === 0 ? 0 : Math.max(-Number.MAX_VALUE, Math.min(value, Number.MAX_VALUE));
  return typeof value === 'string' || typeof value === 'boolean' ? value : null;
}

/** Returns a test of whether a row's data matches all property filters, written as the documentation states it. */
function hasProperties(filters: readonly PropertyFilter[] = []): (row: Row) => boolean {
  const isValue = (value: unknown, text: string) => {
    if (typeof value === 'string') return value === text;
    if (typeof value === 'boolean') return String(value) === text;
    if (typeof value !== 'number') return false;
    try {
      return typeof JSON.parse(text) === 'number' && text.trim() === text && finite(Number(text)) === value;
    } catch {
      return false;
    }
  };
  return (row) =>
    filters.every(({ path, anyOf, noneOf, containsAny }) => {
      const value = propertyOf(row, path);
      if (anyOf.length > 0 && !anyOf.some((text) => isValue(value, text))) return false;
      if (noneOf.some((text) => isValue(value, text))) return false;
      return containsAny.length === 0 || containsAny.some((text) => typeof value === 'string' && value.includes(text));
    });
}

/** Returns a test of whether the filters of a query select a row. */
function isSelectedBy({ labels, properties }: Pick<Query, 'labels' | 'properties'>): (row: Row) => boolean {
  const [hasMatchingLabel, hasMatchingData] = [hasLabel(labels), hasProperties(properties)];
  return (row) => hasMatchingLabel(row) && hasMatchingData(row);
}

export function series(allRows: readonly Row[], query: BucketQuery) {
  const { name, zone, top } = query;
  const rows = visible(allRows, 'metric', query);
  const { from, to, formatted } = rangeOf(rows, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const selected = within(rows, from, to).filter(isSelectedBy(query));
  const buckets = bucketed(bounds, zone, statistics);
  const percentiles = { method: 'percentile_cont', error: 0 };
  const result = { name, ...formatted, percentiles, ...statistics(selected), buckets: buckets(selected) };
  if (top === undefined) return result;
  const { named, others } = byLabel(selected, top);
  return {
    ...result,
    groups: named.map(([data_string, group]) => ({ data_string, ...statistics(group), buckets: buckets(group) })),
    other: { labels: labelsOf(others), ...statistics(others), buckets: buckets(others) },
  };
}

export function counts(allRows: readonly Row[], query: BucketQuery) {
  const { name, zone, top, groupBy, sum } = query;
  const rows = visible(allRows, 'analytics', query);
  const { from, to, formatted } = rangeOf(rows, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const selected = within(rows, from, to).filter(isSelectedBy(query));
  const totals = (some: readonly Row[]) => ({ ...countOf(some), ...(sum && sumOf(some, sum.path)) });
  const buckets = bucketed(bounds, zone, totals);
  const result = { type: name, ...formatted, ...totals(selected), buckets: buckets(selected) };
  if (top === undefined) return result;
  const groupOf = (row: Row) => (groupBy ? propertyOf(row, groupBy.path) : row.label);
  const sorted = [...Map.groupBy(selected, groupOf)].sort(([, a], [, b]) => b.length - a.length);
  const others = sorted.slice(top);
  const rowsOfOthers = others.flatMap(([, group]) => group);
  return {
    ...result,
    groups: sorted
      .slice(0, top)
      .map(([value, group]) => ({ [groupBy?.name ?? 'data_index']: value, ...totals(group), buckets: buckets(group) })),
    other: { labels: others.length, ...totals(rowsOfOthers), buckets: buckets(rowsOfOthers) },
  };
}

/** Returns the sum of a property as it stands in a result. */
function sumOf(rows: readonly Row[], path: readonly string[]) {
  const numbers = rows.map((row) => propertyOf(row, path)).filter((value) => typeof value === 'number');
  const sum = nearest(exactSum(numbers), 1n);
  if (Math.abs(sum) < Number.POSITIVE_INFINITY) return { sum };
  return { sum: Math.sign(sum) * Number.MAX_VALUE, sum_overflow: true };
}

function labelsOf(rows: readonly Row[]): number {
  return new Set(rows.map(({ label }) => label)).size;
}

/** Returns the events visible to a query; with types, only events of these. */
function visibleEvents(allRows: readonly Row[], user: string | undefined, types: readonly string[] | undefined): Row[] {
  const events = allRows.filter((row) => row.kind === 'analytics' && (user === undefined || row.user === user));
  return types ? events.filter(({ name }) => types.includes(name)) : events;
}

/** Returns whether an event matches a step. */
function isEventOf({ type, dataIndex }: EventStep, { name, label }: Row): boolean {
  return name === type && (dataIndex === undefined || label === dataIndex);
}

export function funnel(allRows: readonly Row[], query: FunnelQuery) {
  const { steps, user } = query;
  const types = steps.map(({ type }) => type);
  const all = visibleEvents(allRows, user, types);
  const { from, to, formatted } = rangeOf(all, query, 'UTC');
  const rows = within(all, from, to).filter(isSelectedBy(query));
  const attempts = [...Map.groupBy(rows, ({ user }) => user).values()].map((userRows) => {
    userRows.sort((a, b) => a.time - b.time || a.seq - b.seq);
    return longestAttempt(userRows, steps, query.within * 1e6);
  });
  const reached = steps.map((_, step) => attempts.filter((attempt) => attempt.length > step).length);
  return {
    type: query.type ?? null,
    ...formatted,
    within_seconds: query.within,
    steps: steps.map(({ step, type, dataIndex }, i) => {
      const users = reached[i] as number;
      const previous = reached[Math.max(0, i - 1)] as number;
      const gaps = attempts.flatMap((attempt) =>
        i > 0 && attempt.length > i ? [Number(attempt[i]) - Number(attempt[i - 1])] : [],
      );
      return {
        step,
        type,
        data_index: dataIndex ?? null,
        users,
        conversion: reached[0] ? users / reached[0] : null,
        conversion_from_previous: previous ? users / previous : null,
        median_seconds: medianOf(gaps),
      };
    }),
  };
}

/** Returns the times of the steps in a user's longest attempt. */
function longestAttempt(userRows: readonly Row[], steps: readonly EventStep[], limit: number): number[] {
  let best: number[] = [];
  userRows.forEach((first, start) => {
    if (!isEventOf(steps[0] as EventStep, first)) return;
    const attempt = [first.time];
    let index = start;
    for (const step of steps.slice(1)) {
      index = userRows.findIndex((row, i) => i > index && isEventOf(step, row) && row.time - first.time <= limit);
      if (index < 0) break;
      attempt.push((userRows[index] as Row).time);
    }
    if (attempt.length > best.length) best = attempt;
  });
  return best;
}

/** Returns how many steps a user's events can reach, by trying every choice of events. Exponential; for few events. */
export function reachableSteps(userRows: readonly Row[], steps: readonly EventStep[], limit: number): number {
  const search = (step: number, index: number, start: number): number => {
    let most = step;
    userRows.forEach((row, i) => {
      if (i < index || step === steps.length || !isEventOf(steps[step] as EventStep, row)) return;
      const { time } = row;
      const attemptStart = step === 0 ? time : start;
      if (time - attemptStart <= limit) most = Math.max(most, search(step + 1, i + 1, attemptStart));
    });
    return most;
  };
  return search(0, 0, 0);
}

function medianOf(microseconds: readonly number[]): number | null {
  if (microseconds.length === 0) return null;
  const sorted = microseconds.map((time) => time / 1e6).sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1] as number, sorted[sorted.length >> 1] as number];
  return (low + high) / 2;
}

/** Computes cohort retention from sets of the periods in which each user had events. */
export function retention(allRows: readonly Row[], query: RetentionQuery) {
  const { type, step, returnStep, zone, period, periods, weekStart } = query;
  const isReturn = (row: Row) => (returnStep ? isEventOf(returnStep, row) : type === undefined || row.name === type);
  const returnTypes = returnStep ? [returnStep.type] : type === undefined ? undefined : [type];
  const all = visibleEvents(allRows, query.user, returnTypes && [step.type, ...returnTypes]);
  const { from, to, formatted } = rangeOf(all, query, zone);
  const bounds = edges(from, to, { interval: { count: 1, unit: period, weekStart }, zone });
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const starts = bounds.slice(0, -1);
  const periodOf = ({ time }: Row) => starts.findLast((start) => start <= time) as number;
  const rows = within(all, from, to).filter(isSelectedBy(query));
  const users = [...Map.groupBy(rows, ({ user }) => user).values()].map((userRows) => ({
    cohortPeriod: Math.min(...userRows.filter((row) => isEventOf(step, row)).map(periodOf)),
    returnPeriods: new Set(userRows.filter(isReturn).map(periodOf)),
  }));
  return {
    type: type ?? null,
    step: step.step,
    return_step: returnStep?.step ?? null,
    ...formatted,
    period,
    periods,
    ...(period === 'day' && { days: periods }),
    cohorts: starts.map((start, i) => {
      const cohort = users.filter(({ cohortPeriod }) => cohortPeriod === start);
      const returned = Array.from({ length: periods }, (_, n) => {
        const later = starts[i + n + 1];
        return later === undefined ? null : cohort.filter(({ returnPeriods }) => returnPeriods.has(later)).length;
      });
      return { start: formatTime(start, zone), users: cohort.length, returned };
    }),
  };
}

export function activity(allRows: readonly Row[], query: ActivityQuery) {
  const { user, zone, top } = query;
  const all = allRows.filter((row) => user === undefined || row.user === user);
  const { from, to, formatted } = rangeOf(all, query, zone);
  const bounds = edges(from, to, query);
  if (bounds === TOO_LARGE) return TOO_LARGE;
  const uniqueUsers = (rows: readonly Row[]) => new Set(rows.map((row) => row.user)).size;
  const perBucket = (rows: readonly Row[], count: (rows: readonly Row[]) => number) =>
    bounds.slice(1).map((end, i) => count(within(rows, bounds[i] as number, end)));
  const usersOf = (rows: readonly Row[]) =>
    query.uniqueUsers && { unique_users: uniqueUsers(rows), user_counts: perBucket(rows, uniqueUsers) };
  const countsOf = (rows: readonly Row[]) => ({
    count: rows.length,
    counts: perBucket(rows, ({ length }) => length),
    ...usersOf(rows),
  });
  const ofKind = (kind: Kind) => {
    const rows = within(all, from, to).filter((row) => row.kind === kind);
    const ranked = [...new Set(rows.map(({ name }) => name))]
      .sort()
      .map((name) => ({ name, named: rows.filter((row) => row.name === name) }))
      .sort((a, b) => b.named.length - a.named.length)
      .sort((a, b) => (query.uniqueUsers ? uniqueUsers(b.named) - uniqueUsers(a.named) : 0));
    const others = ranked.slice(top);
    return {
      all: countsOf(rows),
      named: ranked.slice(0, top).map(({ name, named }) => ({ name, ...countsOf(named) })),
      others: others.length,
      other: countsOf(others.flatMap(({ named }) => named)),
    };
  };
  const [metrics, analytics] = [ofKind('metric'), ofKind('analytics')];
  return {
    ...formatted,
    starts: bounds.slice(0, -1).map((start) => formatTime(start, zone)),
    ...usersOf(within(all, from, to)),
    metrics: { ...metrics.all, names: metrics.named, other: { names: metrics.others, ...metrics.other } },
    analytics: {
      ...analytics.all,
      types: analytics.named.map(({ name, ...counts }) => ({ type: name, ...counts })),
      other: { types: analytics.others, ...analytics.other },
    },
  };
}

export function names(allRows: readonly Row[], kind: Kind, user: string | undefined) {
  const rows = allRows.filter((row) => row.kind === kind && (user === undefined || row.user === user));
  const found = [...new Set(rows.map(({ name }) => name))].map((name) => {
    const times = rows.filter((row) => row.name === name).map(({ time }) => time);
    return {
      ...(kind === 'metric' ? { name } : { type: name }),
      count: times.length,
      first_seen: formatTime(Math.min(...times), 'UTC'),
      last_seen: formatTime(Math.max(...times), 'UTC'),
    };
  });
  const nameOf = (entry: (typeof found)[number]) => String(Object.values(entry)[0]);
  return found.sort((a, b) => b.count - a.count || (nameOf(a) < nameOf(b) ? -1 : 1));
}

/** Returns the rows that match a filter. */
export function matching(allRows: readonly Row[], kind: Kind, filter: RecordFilter): Row[] {
  const { user, name, from, to } = filter;
  const isSelected = isSelectedBy(filter);
  return allRows.filter(
    (row) =>
      row.kind === kind &&
      (user === undefined || row.user === user) &&
      (name === undefined || row.name === name) &&
      isSelected(row) &&
      (from === undefined || row.time >= from) &&
      (to === undefined || row.time < to),
  );
}

/** Returns the records that match a filter, newest first. */
export function records(allRows: readonly Row[], kind: Kind, filter: RecordFilter) {
  return matching(allRows, kind, filter)
    .sort((a, b) => b.seq - a.seq)
    .map((row) => ({
      id: row.id,
      user_id: row.user,
      timestamp: formatTime(row.time, 'UTC'),
      received_at: formatTime(row.received, 'UTC'),
      ...(kind === 'metric'
        ? { metric_name: row.name, metric_value: row.value, data_string: row.label }
        : { type: row.name, data_index: row.label, data: JSON.parse(row.data) }),
    }));
}
