import { offsetAt } from '../../formats/time-zone.ts';
import { formatOffset, isRepeated, wallOf, type Zone } from './calendar.ts';

const COUNT = new Intl.NumberFormat('en');
const SHORT = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 });
const VALUE = new Intl.NumberFormat('en', { maximumSignificantDigits: 5 });
const SMALL = new Intl.NumberFormat('en', { notation: 'scientific', maximumSignificantDigits: 4 });
/** What stands for a figure that does not exist. */
export const NOTHING = '–';

/** What stands for a text that is empty, which is a value like any other. */
export const EMPTY = '(empty)';

/** A recorded text, where it would not be seen if it is empty. */
export function formatText(text: string): string {
  return text === '' ? EMPTY : text;
}

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
  return part === null ? NOTHING : percent(part);
}

/**
 * By how much a figure has changed against the one before, such as `+12%`; undefined where that says
 * nothing, because there was none.
 */
export function formatChange(now: number | null, before: number | null): string | undefined {
  if (now === null || before === null || before === 0) return undefined;
  return percent((now - before) / Math.abs(before), 'exceptZero');
}

/** The most digits behind the point that tell a double from a whole percent. */
const MAX_DIGITS = 15;

const percentFormats = new Map<string, Intl.NumberFormat>();

/**
 * Writes a ratio in percent with one digit behind the point, and more where it would otherwise be rounded to 0% or
 * 100%: those say "none" and "all", which must be true.
 */
function percent(ratio: number, signDisplay: 'auto' | 'exceptZero' = 'auto'): string {
  for (let digits = 1; ; digits++) {
    const key = `${digits} ${signDisplay}`;
    const format =
      percentFormats.get(key) ??
      new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: digits, signDisplay });
    percentFormats.set(key, format);
    const text = format.format(ratio);
    const isExact = ratio === 0 || Math.abs(ratio) === 1;
    if (isExact || digits === MAX_DIGITS || !/^[+-]?(0|100)%$/.test(text)) return text;
  }
}

/** Returns the width of a bar: what is not nothing is seen, and what is not all leaves a gap. */
export function barWidth(part: number): string {
  if (!(part > 0)) return '0';
  return part >= 1 ? '100%' : `clamp(2px, ${part * 100}%, 100% - 2px)`;
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
  // below a second, two digits: less is not nothing
  const rounded =
    amount < 1 ? Number(amount.toPrecision(2)) : amount < 10 ? Math.round(amount * 10) / 10 : Math.round(amount);
  return `${formatValue(rounded)} ${name}${rounded === 1 ? '' : 's'}`;
}

/**
 * Writes a moment in a zone, in the form `2026-03-01 14:05:07.123`: short, and in the order of its sorting. A time
 * that clocks show twice has its offset behind it.
 *
 * @param detail down to what it is told
 */
export function formatTime(moment: Date, zone: Zone, detail: 'day' | 'minute' | 'second' | 'millisecond'): string {
  const at = moment.getTime();
  const text = new Date(wallOf(zone, at)).toISOString();
  if (detail === 'day') return text.slice(0, 10);
  const length = { minute: 16, second: 19, millisecond: 23 }[detail];
  const time = text.slice(0, length).replace('T', ' ');
  return isRepeated(zone, at) ? `${time} ${formatOffset(offsetAt(zone, at))}` : time;
}

/** Writes the time of a record in a zone, with all digits that its RFC 3339 text has. */
export function formatStored(text: string, zone: Zone): string {
  const finer = /\.\d{3}(\d+)/.exec(text)?.[1] ?? '';
  return formatTime(new Date(text), zone, 'millisecond').replace(/\.\d{3}/, `$&${finer}`);
}

/**
 * Writes the starts of buckets by their own texts, which are in the zone's local time. Those that clocks show twice
 * have their offset behind them.
 */
export function formatStarts(starts: readonly string[], zone: Zone): string[] {
  const walls = starts.map((start) => start.slice(0, 16).replace('T', ' '));
  return starts.map((start, i) => {
    const [wall = '', offset = ''] = [walls[i], /(Z|[+-]\d\d:\d\d)$/.exec(start)?.[0]];
    const isTwice = wall === walls[i - 1] || wall === walls[i + 1] || isRepeated(zone, Date.parse(start));
    return isTwice ? `${wall} ${offset}` : wall;
  });
}
