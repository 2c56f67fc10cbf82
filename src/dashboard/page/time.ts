import { TZDate } from '@date-fns/tz';

/** A range of time, half-open. An end that is missing is that of the rows. */
export interface Range {
  readonly from?: Date;
  readonly to?: Date;
}

/** In milliseconds. */
export const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** When a range may begin and end: rows can be no older, and charts need be no longer. */
export const EARLIEST = new Date(Date.UTC(1700, 0));
export const LATEST = new Date(Date.UTC(2200, 0));

/** Ranges that end now: their names in the address, what people read, and their length in milliseconds. */
export const RANGES = [
  { name: '1h', label: 'Last hour', length: HOUR },
  { name: '6h', label: 'Last 6 hours', length: 6 * HOUR },
  { name: '24h', label: 'Last 24 hours', length: DAY },
  { name: '7d', label: 'Last 7 days', length: 7 * DAY },
  { name: '30d', label: 'Last 30 days', length: 30 * DAY },
  { name: '90d', label: 'Last 90 days', length: 90 * DAY },
  { name: '1y', label: 'Last year', length: 365 * DAY },
] as const;

/** Lengths of buckets, as the reading routes name them, and about how many milliseconds they are. */
export const INTERVALS = [
  { name: '1m', label: '1 minute', length: MINUTE },
  { name: '5m', label: '5 minutes', length: 5 * MINUTE },
  { name: '15m', label: '15 minutes', length: 15 * MINUTE },
  { name: '30m', label: '30 minutes', length: 30 * MINUTE },
  { name: '1h', label: '1 hour', length: HOUR },
  { name: '3h', label: '3 hours', length: 3 * HOUR },
  { name: '6h', label: '6 hours', length: 6 * HOUR },
  { name: '12h', label: '12 hours', length: 12 * HOUR },
  { name: '1d', label: '1 day', length: DAY },
  { name: '1w', label: '1 week', length: 7 * DAY },
  { name: '1M', label: '1 month', length: 30 * DAY },
  { name: '1y', label: '1 year', length: 365 * DAY },
] as const;

export type IntervalName = (typeof INTERVALS)[number]['name'];

/** More points than this make a line no clearer. */
const WANTED_BUCKETS = 180;

/** The most buckets that the reading routes answer with. */
const MAX_BUCKETS = 10_000;

/** The shortest buckets of which a range has at most {@link WANTED_BUCKETS}. */
export function intervalFor(milliseconds: number): IntervalName {
  return INTERVALS.find(({ length }) => milliseconds / length <= WANTED_BUCKETS)?.name ?? '1y';
}

/**
 * The wanted buckets, or the nearest ones that make sense: no longer than the range, and not more of them than the
 * reading routes answer with.
 */
export function possibleInterval(wanted: IntervalName, milliseconds: number): IntervalName {
  const most = INTERVALS.findLastIndex(({ length }) => length <= Math.max(milliseconds, MINUTE));
  const first = Math.min(
    most,
    INTERVALS.findIndex(({ name }) => name === wanted),
  );
  const fits = INTERVALS.find(({ length }, i) => i >= first && milliseconds / length < MAX_BUCKETS - 2);
  return fits?.name ?? '1y';
}

/** What a clock on the wall of a zone shows, as inputs for a date and a time want it: `2026-03-01T14:05`. */
export function wallTime(moment: Date, zone: string): string {
  const at = new TZDate(moment.getTime(), zone);
  const two = (number: number) => String(number).padStart(2, '0');
  const date = `${String(at.getFullYear()).padStart(4, '0')}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  return `${date}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The moment at which a clock on the wall of a zone shows a time; undefined where the text is none. */
export function momentOfWall(text: string, zone: string): Date | undefined {
  const parts = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)/.exec(text)?.slice(1).map(Number);
  if (!parts) return undefined;
  const [year = 0, month = 1, day = 1, hour = 0, minute = 0] = parts;
  const at = new TZDate(year, month - 1, day, hour, minute, 0, 0, zone).getTime();
  return Number.isNaN(at) ? undefined : new Date(at);
}

/**
 * Returns the range of the same length that ends where the given one begins. Whole months and whole days are counted
 * by the zone's calendar, so that noon stands beside noon when the clocks have changed; it never depends on buckets.
 */
export function periodBefore({ from, to }: Required<Range>, zone: string): Required<Range> {
  const [start, end] = [new TZDate(from.getTime(), zone), new TZDate(to.getTime(), zone)];
  const clock = (at: TZDate) =>
    ((at.getHours() * 60 + at.getMinutes()) * 60 + at.getSeconds()) * 1000 + at.getMilliseconds();
  const beginsMonth = (at: TZDate) => at.getDate() === 1 && clock(at) === 0;
  const date = (at: TZDate) => Date.UTC(at.getFullYear(), at.getMonth(), at.getDate());
  if (beginsMonth(start) && beginsMonth(end)) {
    const months = (end.getFullYear() - start.getFullYear()) * 12 + end.getMonth() - start.getMonth();
    start.setMonth(start.getMonth() - months);
  } else if (clock(start) === clock(end)) start.setDate(start.getDate() - (date(end) - date(start)) / DAY);
  else start.setTime(2 * from.getTime() - to.getTime());
  return { from: new Date(start.getTime()), to: from };
}

/** The zones that the browser knows, and always UTC. */
export function timeZones(): string[] {
  return [...new Set(['UTC', ...Intl.supportedValuesOf('timeZone')])];
}

/** Whether a text names a zone. */
export function isTimeZone(name: string): boolean {
  // offsets such as +05:30 are zones to the browser, but not to the reading routes
  if (!/^[A-Za-z]/.test(name)) return false;
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

/** The zone of this browser. */
export function ownTimeZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';
}
