import { offsetAt } from '../../formats/time-zone.ts';
import { formatOffset, isRepeated, wallOf, type Zone } from './calendar.ts';

const formats = new Map<string, Intl.NumberFormat>();

/** Replaces the hyphen of a negative number by a minus sign, which is as wide as a digit. */
export function withMinus(text: string): string {
  return text.replaceAll('-', '−');
}

/** Returns a formatter of numbers with a real minus sign and a lower-case k for thousands. */
export function numberFormat(options: Intl.NumberFormatOptions = {}): (value: number) => string {
  const key = JSON.stringify(options);
  const format = formats.get(key) ?? new Intl.NumberFormat('en', options);
  formats.set(key, format);
  const isCompact = options.notation === 'compact';
  return (value) => {
    const text = withMinus(format.format(value));
    return isCompact ? text.replace('K', 'k') : text;
  };
}

const COUNT = numberFormat();
const VALUE = numberFormat({ maximumSignificantDigits: 5 });
const SCIENTIFIC = numberFormat({ notation: 'scientific', maximumSignificantDigits: 4 });

/** Formats a number in scientific notation: `1E−9`. */
export function formatScientific(value: number): string {
  return SCIENTIFIC(value);
}

/** Returns whether a size is too small or too large for the usual notation. */
export function isExtreme(size: number): boolean {
  return size !== 0 && (size < 1e-6 || size >= 1e15);
}

/** Placeholder for a missing figure. */
export const NO_VALUE = '–';

/** Placeholder for the empty string, which is a valid value. */
export const EMPTY = '(empty)';

/** Formats a recorded text, making the empty string visible. */
export function formatText(text: string): string {
  return text === '' ? EMPTY : text;
}

/** Formats a count in full, with thousands separators. */
export function formatCount(count: number | null): string {
  return count === null ? NO_VALUE : COUNT(count);
}

/** Formats a measured value with up to five significant digits. */
export function formatValue(value: number | null): string {
  if (value === null) return NO_VALUE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-5 || size >= 1e15)) return SCIENTIFIC(value);
  return VALUE(value);
}

/** Formats a fraction as a percentage: 0.25 is `25%`. */
export function formatPart(part: number | null): string {
  return part === null ? NO_VALUE : formatPercent(part);
}

const SHARE = numberFormat({ style: 'percent', minimumFractionDigits: 1, maximumFractionDigits: 1 });

/**
 * Formats a share in a column of shares, which all have one decimal. A share that is neither none nor all is never shown
 * as 0.0% or 100.0%.
 */
export function formatShare(part: number | null): string {
  if (part === null) return NO_VALUE;
  if (part > 0 && part < 0.0005) return '<0.1%';
  return part < 1 && part >= 0.9995 ? '>99.9%' : SHARE(part);
}

/** A change from a previous figure, for display: in a few characters, and in words. */
export interface Change {
  readonly direction: 'up' | 'down' | 'same';
  /** Whether it is an improvement. */
  readonly tone: 'good' | 'bad' | 'neutral';
  /** Without a sign: `12%`, or `new` if there was nothing before. */
  readonly text: string;
  /** For screen readers: `up 12%, better`. */
  readonly words: string;
}

/** Increases from this ratio on are shown as a multiple: `12×`. */
const MULTIPLE = 10;
const WHOLE_PERCENT = numberFormat({ style: 'percent', maximumFractionDigits: 0 });

/** A relative change below this is neither good nor bad. */
const SLIGHT_CHANGE = 0.01;

/**
 * Returns the change from a previous figure; undefined if either is missing or both are zero.
 *
 * @param better whether lower or higher figures are an improvement; undefined: neither
 */
export function changeOf(
  now: number | null | undefined,
  before: number | null | undefined,
  better: 'lower' | 'higher' | undefined,
): Change | undefined {
  if (now === null || now === undefined || before === null || before === undefined) return undefined;
  if (now === before)
    return before === 0 ? undefined : { direction: 'same', tone: 'neutral', text: '0%', words: 'unchanged' };
  const direction = now > before ? 'up' : 'down';
  const isBetter = better !== undefined && (better === 'higher') === now > before;
  const isSlight = before !== 0 && Math.abs((now - before) / before) < SLIGHT_CHANGE;
  const tone = better === undefined || isSlight ? 'neutral' : isBetter ? 'good' : 'bad';
  const judgment = { good: ', better', bad: ', worse', neutral: '' }[tone];
  if (before === 0) return { direction, tone, text: 'new', words: `${direction} from zero${judgment}` };
  const ratio = Math.abs((now - before) / before);
  if (ratio >= MULTIPLE && now / before > 0) {
    const text = `${COUNT(Math.round(now / before))}×`;
    return { direction, tone, text, words: `${direction}, ${text} as much${judgment}` };
  }
  const text = percentOf(ratio);
  return { direction, tone, text, words: `${direction} ${text}${judgment}` };
}

/** Formats the size of a change as a percentage. */
function percentOf(ratio: number): string {
  return ratio > 1 ? WHOLE_PERCENT(ratio) : formatPercent(ratio, ratio >= 0.1 ? 0 : 1);
}

/** Returns the relative change to sort by: infinite if it was zero before; null if no change is shown. */
export function changeRank(now: number | null, before: number | null): number | null {
  if (changeOf(now, before, undefined) === undefined || now === null || before === null) return null;
  return (now - before) / Math.abs(before);
}

/** Maximum number of decimals: more do not distinguish a double from a whole percentage. */
const MAX_DIGITS = 15;

/**
 * Formats a ratio as a percentage with one decimal, or more if it would otherwise round to 0% or 100%, which must mean
 * exactly none and all.
 *
 * @param decimals the number of decimals to start with
 */
function formatPercent(ratio: number, decimals = 1): string {
  for (let digits = decimals; ; digits++) {
    const text = numberFormat({ style: 'percent', maximumFractionDigits: digits })(ratio);
    if (ratio === 0 || ratio === 1 || digits === MAX_DIGITS || !/^(0|100)%$/.test(text)) return text;
  }
}

/** Returns the CSS width of a bar. A small part stays visible, and only a full bar leaves no gap. */
export function barWidth(part: number): string {
  if (!(part > 0)) return '0';
  return part >= 1 ? '100%' : `clamp(2px, ${part * 100}%, 100% - 2px)`;
}

const BYTE_UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte', 'petabyte'];

/** Formats bytes in decimal units (1 kB is 1,000 bytes). */
export function formatBytes(bytes: number): string {
  const size = Math.abs(bytes);
  const power = size < 1 ? 0 : Math.min(BYTE_UNITS.length - 1, Math.floor(Math.log10(size) / 3));
  const unit = BYTE_UNITS[power] as string; // `power` is clamped to the list
  const unitDisplay = power === 0 ? 'long' : 'short'; // the short form of "bytes" is "byte"
  return numberFormat({ style: 'unit', unit, unitDisplay, maximumSignificantDigits: 3 })(bytes / 1000 ** power);
}

const DURATIONS: readonly [seconds: number, name: string][] = [
  [365.25 * 86_400, 'year'],
  [30.44 * 86_400, 'month'],
  [86_400, 'day'],
  [3_600, 'hour'],
  [60, 'minute'],
  [1, 'second'],
];

/** Formats how often something happens: `every day`, `every 6 hours`. */
export function formatInterval(seconds: number): string {
  return `every ${formatDuration(seconds).replace(/^1 /, '')}`;
}

/** Formats a duration in its largest unit, with one decimal below ten: `2.5 hours`. */
export function formatDuration(seconds: number | null): string {
  if (seconds === null) return NO_VALUE;
  const [length, name] = DURATIONS.find(([unit]) => seconds >= unit) ?? [1, 'second'];
  const amount = seconds / length;
  // two significant digits below one second, so that it is never shown as zero
  const rounded =
    amount < 1 ? Number(amount.toPrecision(2)) : amount < 10 ? Math.round(amount * 10) / 10 : Math.round(amount);
  return `${formatValue(rounded)} ${name}${rounded === 1 ? '' : 's'}`;
}

/**
 * Formats a moment as `2026-03-01 14:05:07.123`, which sorts chronologically. Appends the UTC offset to a time that
 * occurs twice.
 *
 * @param detail the smallest unit to include
 */
export function formatTime(moment: Date, zone: Zone, detail: 'day' | 'minute' | 'second' | 'millisecond'): string {
  const at = moment.getTime();
  const text = new Date(wallOf(zone, at)).toISOString();
  if (detail === 'day') return text.slice(0, 10);
  const length = { minute: 16, second: 19, millisecond: 23 }[detail];
  const time = text.slice(0, length).replace('T', ' ');
  return isRepeated(zone, at) ? `${time} ${formatOffset(offsetAt(zone, at))}` : time;
}

/** Formats the RFC 3339 timestamp of a record in a zone, with all its digits. */
export function formatStored(text: string, zone: Zone): string {
  const finer = /\.\d{3}(\d+)/.exec(text)?.[1] ?? '';
  return formatTime(new Date(text), zone, 'millisecond').replace(/\.\d{3}/, `$&${finer}`);
}

/** Formats the starts of buckets, given in local time. Appends the UTC offset to those that occur twice. */
export function formatStarts(starts: readonly string[], zone: Zone): string[] {
  const walls = starts.map((start) => start.slice(0, 16).replace('T', ' '));
  return starts.map((start, i) => {
    const [wall = '', offset = ''] = [walls[i], /(Z|[+-]\d\d:\d\d)$/.exec(start)?.[0]];
    const isAmbiguous = wall === walls[i - 1] || wall === walls[i + 1] || isRepeated(zone, Date.parse(start));
    return isAmbiguous ? `${wall} ${offset}` : wall;
  });
}
