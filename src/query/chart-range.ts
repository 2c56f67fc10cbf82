import type { ChartQuery, ChartRange } from '../board-bodies.ts';
import { offsetAt, timeOf, type Zone } from '../formats/time-zone.ts';
import { parseTimestamp } from '../formats/timestamp.ts';
import { startOf, type WeekStart, wallOf } from './calendar.ts';

/*
 * The ranges of the charts on boards, which follow the calendar of a time zone. Times are microseconds since 1970.
 */

const HOUR_US = 3_600_000_000;
const DAY_US = 24 * HOUR_US;
const WEEK_DAYS = 7;
const LONGEST_MONTH_DAYS = 31;
const EPOCH = Temporal.PlainDate.from('1970-01-01');

/** A resolved range; undefined bounds are those of the rows. */
export interface ResolvedRange {
  readonly from: number | undefined;
  readonly to: number | undefined;
}

/** A length of the calendar. */
type Span = { readonly days: number } | { readonly months: number };

/** Resolves the range of a chart at a time. A period that has not ended ends now. */
export function resolveRange(
  range: ChartRange,
  now: number,
  zone: Zone,
  weekStart: WeekStart | undefined,
): ResolvedRange {
  if ('all' in range) return { from: undefined, to: undefined };
  if ('from' in range) return { from: parseTimestamp(range.from), to: parseTimestamp(range.to) };
  if ('last' in range) {
    const span = spanOf(range);
    if (span === undefined) return { from: now - Number.parseInt(range.last, 10) * HOUR_US, to: now };
    const end = range.whole ? timeOf(zone, wallOf(dateAt(now, zone).add({ days: 1 }))) : now;
    return { from: shift(end, negate(span), zone), to: now };
  }
  const { period, back = 0, count = 1 } = range;
  const today = dateAt(now, zone);
  const current = startOf(today, { count: 1, unit: period, weekStart });
  const at = (periods: number) => timeOf(zone, wallOf(current.add({ [`${period}s`]: periods })));
  return { from: at(1 - back - count), to: Math.min(at(1 - back), now) };
}

/** Returns the range that a resolved range is compared with; undefined if there is none. */
export function comparedRange(
  { range, compare }: Pick<ChartQuery, 'range' | 'compare'>,
  { from, to }: ResolvedRange,
  zone: Zone,
): ResolvedRange | undefined {
  if (compare === undefined || from === undefined || to === undefined) return undefined;
  const span = spanBetween(range, compare, to - from);
  if (span === undefined) return { from: from - (to - from), to: from };
  return { from: shift(from, span, zone), to: shift(to, span, zone) };
}

/** Returns by how much a range is shifted for a comparison; undefined: by its own length. */
function spanBetween(range: ChartRange, compare: NonNullable<ChartQuery['compare']>, length: number): Span | undefined {
  const span = spanOf(range);
  if (compare === 'year') return { months: -12 };
  if (compare === 'previous') return span && negate(span);
  // of the whole range, even if it has not ended
  const days = span === undefined ? length / DAY_US : 'days' in span ? span.days : span.months * LONGEST_MONTH_DAYS;
  return { days: -WEEK_DAYS * Math.max(1, Math.ceil(days / WEEK_DAYS)) };
}

/** Returns the length of a range in units of the calendar; undefined if it has none. */
function spanOf(range: ChartRange): Span | undefined {
  if ('last' in range) {
    const count = Number.parseInt(range.last, 10);
    const unit = range.last.at(-1);
    return unit === 'd' ? { days: count } : unit === 'M' ? { months: count } : undefined;
  }
  if (!('period' in range)) return undefined;
  const { period, count = 1 } = range;
  if (period === 'day') return { days: count };
  return period === 'week' ? { days: count * WEEK_DAYS } : { months: period === 'month' ? count : count * 12 };
}

function negate(span: Span): Span {
  return 'days' in span ? { days: -span.days } : { months: -span.months };
}

/** Returns the local date at a time. */
function dateAt(time: number, zone: Zone): Temporal.PlainDate {
  return EPOCH.add({ days: Math.floor((time + offsetAt(zone, time)) / DAY_US) });
}

/** Moves a time by a length of the calendar. Its time of day stays, unless clocks skip it. */
function shift(time: number, span: Span, zone: Zone): number {
  const wall = time + offsetAt(zone, time);
  const day = Math.floor(wall / DAY_US);
  const date = EPOCH.add({ days: day }).add(span);
  return timeOf(zone, wallOf(date) + (wall - day * DAY_US));
}
