const COUNT = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const VALUE = new Intl.NumberFormat('en', { maximumSignificantDigits: 5 });
const SMALL = new Intl.NumberFormat('en', { notation: 'scientific', maximumSignificantDigits: 4 });
const PERCENT = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 1 });
const CHANGE = new Intl.NumberFormat('en', {
  style: 'percent',
  maximumFractionDigits: 1,
  signDisplay: 'exceptZero',
});

/** What stands for a figure that does not exist. */
export const NOTHING = '–';

/** A number of things, to the last one. */
export function formatCount(count: number | null): string {
  return count === null ? NOTHING : COUNT.format(count);
}

/** A number in few characters, as axes and tiles have it: `12.3K`. */
export function formatShort(value: number): string {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e15)) return SMALL.format(value);
  return SHORT.format(value);
}

/** A measured value, to five digits. */
export function formatValue(value: number | null): string {
  if (value === null) return NOTHING;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-5 || size >= 1e15)) return SMALL.format(value);
  return VALUE.format(value);
}

/** A part of a whole: 0.25 is `25%`. */
export function formatPart(part: number | null): string {
  return part === null ? NOTHING : PERCENT.format(part);
}

/**
 * By how much a figure has changed against the one before, such as `+12%`; undefined where that says
 * nothing, because there was none.
 */
export function formatChange(now: number | null, before: number | null): string | undefined {
  if (now === null || before === null || before === 0) return undefined;
  return CHANGE.format((now - before) / Math.abs(before));
}

const BYTE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'];

/** Bytes in units of 1,000, as disks are sold. */
export function formatBytes(bytes: number): string {
  const power = bytes < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  const unit = BYTE_UNITS[power] as string; // the power is cut to their number
  return new Intl.NumberFormat('en', { style: 'unit', unit, maximumSignificantDigits: 3 }).format(
    bytes / 1000 ** power,
  );
}

const DURATIONS: readonly [seconds: number, name: string][] = [
  [365.25 * 86_400, 'year'],
  [30.44 * 86_400, 'month'],
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
];

/** A length of time in its largest unit, with one digit behind the point where it is short: `2.5 hours`. */
export function formatDuration(seconds: number | null): string {
  if (seconds === null) return NOTHING;
  const [length, name] = DURATIONS.find(([unit]) => seconds >= unit) ?? [1, 'second'];
  const amount = seconds / length;
  const rounded = amount < 10 ? Math.round(amount * 10) / 10 : Math.round(amount);
  return `${formatCount(rounded)} ${name}${rounded === 1 ? '' : 's'}`;
}

/**
 * A moment in a zone, in the form `2026-03-01 14:05:07.123`: short, and in the order of its sorting.
 *
 * @param detail down to what it is told
 */
export function formatTime(moment: Date, zone: string, detail: 'day' | 'minute' | 'second' | 'millisecond'): string {
  const parts = Object.fromEntries(
    timeFormat(zone)
      .formatToParts(moment)
      .map(({ type, value }) => [type, value]),
  );
  const day = `${parts['year']}-${parts['month']}-${parts['day']}`;
  if (detail === 'day') return day;
  const minute = `${day} ${parts['hour']}:${parts['minute']}`;
  if (detail === 'minute') return minute;
  const second = `${minute}:${parts['second']}`;
  return detail === 'second' ? second : `${second}.${parts['fractionalSecond']}`;
}

const timeFormats = new Map<string, Intl.DateTimeFormat>();

/** Making one takes longer than using it a thousand times. */
function timeFormat(zone: string): Intl.DateTimeFormat {
  let format = timeFormats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat('en', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit',
      second: '2-digit',
      fractionalSecondDigits: 3,
    });
    timeFormats.set(zone, format);
  }
  return format;
}
