import { EARLIEST_TIMESTAMP, formatInZone, instantOf } from '../formats/timestamp.ts';

/** A length of buckets: so many of a unit of the calendar. */
export interface Interval {
  readonly count: number;
  readonly unit: 'minute' | 'hour' | 'day' | 'week' | 'month' | 'year';
}

const UNITS: ReadonlyMap<string, Interval['unit']> = new Map([
  ['m', 'minute'],
  ['min', 'minute'],
  ['minute', 'minute'],
  ['h', 'hour'],
  ['hour', 'hour'],
  ['d', 'day'],
  ['day', 'day'],
  ['w', 'week'],
  ['week', 'week'],
  ['M', 'month'],
  ['mo', 'month'],
  ['month', 'month'],
  ['y', 'year'],
  ['year', 'year'],
]);

/** Minutes or hours of a bucket must divide these, so that buckets begin anew at each midnight. */
const DIVIDES: Partial<Record<Interval['unit'], number>> = { minute: 1440, hour: 24 };

/** More buckets than any chart has points. */
export const MAX_BUCKETS = 10_000;

/**
 * Reads an interval: a unit, with a number before it or not, such as `day`, `15m`, `1h` or `month`.
 *
 * @returns undefined when it is none, or when its minutes or hours do not fit into a day
 */
export function parseInterval(text: string): Interval | undefined {
  const [, digits = '1', name = '', plural] = /^(\d{1,4})?([a-zA-Z]+?)(s)?$/.exec(text) ?? [];
  const unit = plural && name.length < 3 ? undefined : UNITS.get(name);
  const count = Number(digits);
  if (!unit || count < 1 || (DIVIDES[unit] ?? count) % count !== 0) return undefined;
  return { count, unit };
}

/** Whether a text names a time zone of the IANA database. */
export function isTimeZone(text: string): boolean {
  // offsets such as +05:30 are zones to Temporal, but none of the database
  if (!/^[A-Za-z]/.test(text)) return false;
  try {
    Temporal.Instant.fromEpochMilliseconds(0).toZonedDateTimeISO(text);
    return true;
  } catch {
    return false;
  }
}

/** The last year for which {@link offsetsOf} lists changes. */
const LAST_YEAR = 2200;

/** An offset from UTC, and since when it holds; undefined: since ever. Both in seconds. */
export interface ZoneOffset {
  readonly from: number | undefined;
  readonly offset: number;
}

/**
 * Returns the offsets of a zone from UTC, in the order of time, until {@link LAST_YEAR}.
 *
 * The dashboard computes local days from them: the rules that a browser has may be older, and its days would not be
 * those of the buckets.
 */
export function offsetsOf(zone: string): ZoneOffset[] {
  const end = Date.UTC(LAST_YEAR, 0);
  const offsets: ZoneOffset[] = [];
  let time: Temporal.ZonedDateTime | null = instantOf(EARLIEST_TIMESTAMP).toZonedDateTimeISO(zone);
  for (; time && time.epochMilliseconds < end; time = time.getTimeZoneTransition('next')) {
    const from = offsets.length === 0 ? undefined : time.epochMilliseconds / 1000;
    offsets.push({ from, offset: time.offsetNanoseconds / 1e9 });
  }
  return offsets;
}

/**
 * Cuts a range of time into buckets that follow the local calendar: days, weeks (from Monday), months and
 * years begin at local midnight, whatever daylight saving does; minutes and hours are counted from it, by
 * the clock on the wall where they are longer than an hour.
 *
 * @param from the start of the range, in microseconds since 1970
 * @param to its end, not in it
 * @param interval undefined: one bucket, from start to end
 * @returns the starts of the buckets, rising, and behind them the end of the last: the first start may lie
 *   before the range. Undefined when there would be more than {@link MAX_BUCKETS}
 */
export function bucketEdges(
  from: number,
  to: number,
  interval: Interval | undefined,
  zone: string,
): Float64Array | undefined {
  if (to <= from) return new Float64Array(0);
  if (!interval) return Float64Array.of(from, to);
  const edges: number[] = [];
  for (const edge of edgesFrom(instantOf(from).toZonedDateTimeISO(zone), interval)) {
    // a day, or an hour, that a change of the clocks leaves out begins with the next one
    if (edge <= (edges.at(-1) ?? Number.NEGATIVE_INFINITY)) continue;
    if (edge <= from) edges.length = 0;
    edges.push(edge);
    if (edge >= to) return Float64Array.from(edges);
    if (edges.length > MAX_BUCKETS) return undefined;
  }
  return undefined;
}

/**
 * The starts of buckets as text.
 *
 * @param edges what {@link bucketEdges} gave
 */
export function startsOf(edges: Float64Array, zone: string): string[] {
  return Array.from(edges.subarray(0, -1), (edge) => formatInZone(edge, zone));
}

/** The starts of buckets in microseconds since 1970, from one that is at or before the given time. */
function* edgesFrom(time: Temporal.ZonedDateTime, { count, unit }: Interval): Generator<number> {
  const day = time.startOfDay();
  if (unit === 'minute' || unit === 'hour') {
    const minutes = unit === 'hour' ? count * 60 : count;
    for (let start = day; ; ) {
      const end = start.add({ days: 1 }).startOfDay();
      yield* withinDay(start, end, minutes);
      start = end;
    }
  }
  // dates, not times: a date that a change of the clocks leaves out must not shift those that follow
  const first = startOf(time.toPlainDate(), count, unit);
  for (let i = 0; ; i++) yield microsecondsOf(first.add({ [`${unit}s`]: i * count }).toZonedDateTime(time.timeZoneId));
}

/** The starts of the buckets of one local day, which may have more or less than 24 hours. */
function* withinDay(start: Temporal.ZonedDateTime, end: Temporal.ZonedDateTime, minutes: number): Generator<number> {
  if (minutes <= 60) {
    const stop = microsecondsOf(end);
    for (let at = microsecondsOf(start); at < stop; at += minutes * 60_000_000) yield at;
    return;
  }
  yield microsecondsOf(start);
  const date = start.toPlainDate();
  for (let minute = minutes; minute < 1440; minute += minutes) {
    const wall = date.toPlainDateTime({ hour: Math.floor(minute / 60), minute: minute % 60 });
    yield microsecondsOf(atWall(wall, start.timeZoneId));
  }
}

/** The first time at which the clock on the wall shows this, or what comes next where a change leaves it out. */
function atWall(wall: Temporal.PlainDateTime, zone: string): Temporal.ZonedDateTime {
  const before = wall.toZonedDateTime(zone, { disambiguation: 'earlier' });
  const leftOut = !before.toPlainDateTime().equals(wall);
  return (leftOut && before.getTimeZoneTransition('next')) || before;
}

/** The start of the calendar's unit in which a day lies; several are counted from the year 1970. */
function startOf(date: Temporal.PlainDate, count: number, unit: Interval['unit']): Temporal.PlainDate {
  const first =
    unit === 'week'
      ? date.subtract({ days: date.dayOfWeek - 1 })
      : unit === 'month'
        ? date.with({ day: 1 })
        : unit === 'year'
          ? date.with({ month: 1, day: 1 })
          : date;
  // 1970-01-05 is the first Monday
  const origin = Temporal.PlainDate.from(unit === 'week' ? '1970-01-05' : '1970-01-01');
  const key = `${unit}s` as 'days' | 'weeks' | 'months' | 'years';
  const passed = origin.until(first, { largestUnit: key })[key];
  const over = ((passed % count) + count) % count;
  return first.subtract({ [key]: over });
}

function microsecondsOf(time: Temporal.ZonedDateTime): number {
  return Number(time.epochNanoseconds / 1000n);
}
