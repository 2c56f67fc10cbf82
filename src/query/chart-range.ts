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
    const count = Number.parseInt(range.last, 10);
    const unit = range.last.at(-1);
    if (unit === 'h') return { from: now - count * HOUR_US, to: now };
    return { from: shift(now, unit === 'd' ? { days: -count } : { months: -count }, zone), to: now };
  }
  const { period, back = 0, count = 1 } = range;
  const today = EPOCH.add({ days: Math.floor((now + offsetAt(zone, now)) / DAY_US) });
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
  if (compare === 'year') return { months: -12 };
  if (compare === 'weekdays') return { days: -WEEK_DAYS * Math.ceil(length / (WEEK_DAYS * DAY_US)) };
  if ('last' in range) {
    const count = Number.parseInt(range.last, 10);
    const unit = range.last.at(-1);
    return unit === 'd' ? { days: -count } : unit === 'M' ? { months: -count } : undefined;
  }
  if (!('period' in range)) return undefined;
  const count = range.count ?? 1;
  if (range.period === 'day') return { days: -count };
  if (range.period === 'week') return { days: -count * WEEK_DAYS };
  return { months: range.period === 'month' ? -count : -count * 12 };
}

/** Moves a time by a length of the calendar. Its time of day stays, unless clocks skip it. */
function shift(time: number, span: Span, zone: Zone): number {
  const wall = time + offsetAt(zone, time);
  const day = Math.floor(wall / DAY_US);
  const date = EPOCH.add({ days: day }).add(span);
  return timeOf(zone, wallOf(date) + (wall - day * DAY_US));
}
