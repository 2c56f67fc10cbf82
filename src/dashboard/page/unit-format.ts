import { formatBytes, formatScientific, isExtreme, NO_VALUE, numberFormat, withMinus } from './format.ts';
import type { Unit } from './units.ts';

/** Formats a figure or its absence. */
export type Formatter = (value: number | null) => string;

const THREE_DIGITS = numberFormat({ maximumSignificantDigits: 3 });
const COMPACT = numberFormat({ notation: 'compact', maximumSignificantDigits: 3 });

/** Figures from this size are shortened, such as 12.5k. */
const COMPACT_FROM = 10_000;

/** A part of a unit that a figure is shown in, such as milliseconds. */
interface Part {
  /** Size in the unit's base: seconds, bytes, percent. */
  readonly size: number;
  readonly symbol: string;
}

const SECOND_PARTS: readonly Part[] = [
  { size: 1, symbol: 's' },
  { size: 1e-3, symbol: 'ms' },
  { size: 1e-6, symbol: 'µs' },
  { size: 1e-9, symbol: 'ns' },
];
const LONG_PARTS: readonly Part[] = [
  { size: 86_400, symbol: 'd' },
  { size: 3_600, symbol: 'h' },
  { size: 60, symbol: 'm' },
  { size: 1, symbol: 's' },
];
const BYTE_PARTS: readonly Part[] = [
  { size: 1e15, symbol: 'PB' },
  { size: 1e12, symbol: 'TB' },
  { size: 1e9, symbol: 'GB' },
  { size: 1e6, symbol: 'MB' },
  { size: 1e3, symbol: 'kB' },
  { size: 1, symbol: 'bytes' },
];

/** Returns the part of a unit that suits a size. Values recorded in seconds stay in seconds from 0.1 s. */
function partOf(unit: Unit, size: number): Part {
  if (unit.kind === 'bytes') return BYTE_PARTS.find((part) => size >= part.size) ?? { size: 1, symbol: 'bytes' };
  if (unit.kind === 'duration') {
    if (size === 0) return { size: 1, symbol: unit.scale >= 1 ? 's' : unit.symbol };
    const slack = unit.scale >= 1 ? 10 : 1;
    return (
      SECOND_PARTS.find((part) => size * (part.size === 1 ? slack : 1) >= part.size) ?? { size: 1e-9, symbol: 'ns' }
    );
  }
  return { size: 1, symbol: unit.kind === 'percent' ? '%' : unit.kind === 'currency' ? '' : unit.symbol };
}

/** Puts a symbol next to a number; percentages have no space. */
function withSymbol(text: string, symbol: string): string {
  if (symbol === '') return text;
  return symbol === '%' ? `${text}%` : `${text} ${symbol}`;
}

const currencyOptions = (unit: Unit): Intl.NumberFormatOptions =>
  unit.kind === 'currency'
    ? { style: 'currency', currency: unit.symbol, currencyDisplay: 'narrowSymbol', minimumFractionDigits: 0 }
    : {};

/**
 * Formats a figure in a few characters: three significant digits, shortened from 10,000 on (`12.5k`), with its unit.
 * Show the exact figure next to it, for example as a title ({@link formatExact}).
 */
export function formatFigure(value: number | null, unit: Unit): string {
  if (value === null) return NO_VALUE;
  const base = value * unit.scale;
  const size = Math.abs(base);
  const part = partOf(unit, size);
  if (isExtreme(size / part.size)) return withUnit(formatScientific(value), unit);
  if (unit.kind === 'duration' && size >= 59.95) return formatLong(base);
  if (unit.kind === 'bytes') return formatBytes(base);
  if (unit.kind === 'currency') {
    const cents = size < 1_000 && !Number.isInteger(base);
    return numberFormat({
      ...currencyOptions(unit),
      ...(size >= COMPACT_FROM
        ? { notation: 'compact', maximumSignificantDigits: 3 }
        : cents && size >= 0.01
          ? { minimumFractionDigits: 2, maximumFractionDigits: 2 }
          : cents
            ? { maximumSignificantDigits: 2 }
            : { maximumFractionDigits: 0 }),
    })(base);
  }
  const amount = base / part.size;
  const format = Math.abs(amount) >= COMPACT_FROM ? COMPACT : Math.abs(amount) >= 1_000 ? WHOLE : THREE_DIGITS;
  return withSymbol(format(amount), part.symbol);
}

const WHOLE = numberFormat({ maximumFractionDigits: 0 });

/** Formats at least a minute in its two largest units: `6 m 12 s`. */
function formatLong(seconds: number): string {
  const sign = seconds < 0 ? '−' : '';
  const size = Math.round(Math.abs(seconds));
  const i = LONG_PARTS.findIndex((part) => size >= part.size);
  const [large, small] = [LONG_PARTS[i] ?? { size: 1, symbol: 's' }, LONG_PARTS[i + 1]];
  if (small === undefined) return `${sign}${size} ${large.symbol}`;
  // round first, so that 59.9 s become a minute
  const rounded = Math.round(size / small.size);
  const per = large.size / small.size;
  const [count, rest] = [Math.floor(rounded / per), rounded % per];
  return `${sign}${WHOLE(count)} ${large.symbol}${rest > 0 && count < 100 ? ` ${rest} ${small.symbol}` : ''}`;
}

function withUnit(text: string, unit: Pick<Unit, 'kind' | 'symbol'>): string {
  if (unit.kind === 'currency') return `${text} ${unit.symbol}`;
  return withSymbol(text, unit.symbol);
}

/**
 * Formats a figure with more digits, for example in a tooltip: counts and whole numbers in full, amounts of money with
 * two decimals, other numbers with five significant digits.
 */
export function formatDetail(value: number | null, unit: Unit): string {
  if (value === null) return NO_VALUE;
  const base = value * unit.scale;
  const size = Math.abs(base);
  if (unit.kind === 'duration' || unit.kind === 'bytes' || isExtreme(size)) return formatFigure(value, unit);
  if (unit.kind === 'currency') {
    const decimals =
      Number.isInteger(base) || size < 0.01 ? {} : { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    return size >= 0.01 || size === 0
      ? numberFormat({ ...currencyOptions(unit), ...decimals })(base)
      : formatFigure(value, unit);
  }
  return withUnit(Number.isInteger(base) ? WHOLE(base) : FIVE_DIGITS(base), unit.kind === 'percent' ? PERCENT : unit);
}

const FIVE_DIGITS = numberFormat({ maximumSignificantDigits: 5 });
const PERCENT = { kind: 'percent', symbol: '%' } as const;

/** Formats a value exactly as recorded, with the unit it is recorded in: `1,234.5678 ms`. */
export function formatExact(value: number | null, unit: Unit): string {
  if (value === null) return NO_VALUE;
  const text = String(value);
  if (text.includes('e')) return withUnit(withMinus(text.replace('e+', 'E').replace('e', 'E')), unit);
  const [whole = '', decimals] = text.split('.');
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ',');
  return withUnit(withMinus(decimals === undefined ? grouped : `${grouped}.${decimals}`), unit);
}

/**
 * Returns a formatter for the cells of a column, which share their unit and number of decimals: the typical (median)
 * figure has three significant digits. Whole numbers have no decimals. A figure that would round to zero without being
 * zero is shown as `<0.01`.
 */
export function columnFormatter(values: readonly (number | null)[], unit: Unit): Formatter {
  const bases = values.flatMap((value) => (value === null || value === 0 ? [] : [Math.abs(value * unit.scale)]));
  const isUsual = (size: number) => !isExtreme(size / partOf(unit, size).size);
  const sizes = bases.filter(isUsual).sort((a, b) => a - b);
  const typical = sizes[sizes.length >> 1] ?? 1;
  const areExtreme = sizes.length === 0 && bases.length > 0;
  if (areExtreme || (unit.kind === 'duration' && typical >= 60)) return (value) => formatFigure(value, unit);
  const part = partOf(unit, typical);
  const isWhole = bases.every((base) => Number.isInteger(base / part.size) || !isUsual(base));
  const decimals = isWhole ? 0 : decimalsOf(typical / part.size, unit);
  const options = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  const format = numberFormat({ ...currencyOptions(unit), ...options });
  const smallest = 10 ** -decimals;
  return (value) => {
    if (value === null) return NO_VALUE;
    const amount = (value * unit.scale) / part.size;
    const size = Math.abs(amount);
    if (size >= 1e15) return withUnit(formatScientific(value), unit);
    if (size !== 0 && size < smallest / 2)
      return withSymbol(`${amount < 0 ? '>−' : '<'}${format(smallest)}`, part.symbol);
    return withSymbol(format(amount), part.symbol);
  };
}

/** Returns the number of decimals that give a size three significant digits; currencies have two or none. */
function decimalsOf(size: number, unit: Unit): number {
  if (unit.kind === 'currency' && size >= 0.01) return size < 1_000 ? 2 : 0;
  return Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(size))));
}

/** Returns a formatter for the ticks of an axis: short, in one unit, with as many decimals as tell them apart. */
export function tickFormatter(ticks: readonly number[], unit: Unit): (value: number) => string {
  const largest = Math.max(0, ...ticks.map((tick) => Math.abs(tick * unit.scale)));
  if (isExtreme(largest)) return (value) => (value === 0 ? '0' : withUnit(formatScientific(value), unit));
  const part = axisPartOf(unit, largest);
  const isShort = unit.kind !== 'duration' && unit.kind !== 'bytes' && largest >= COMPACT_FROM;
  const amounts = ticks.map((tick) => (tick * unit.scale) / part.size);
  const decimals = isShort ? 0 : ([0, 1, 2, 3, 4, 5, 6].find((digits) => amounts.every((n) => fits(n, digits))) ?? 12);
  const format = numberFormat({
    ...currencyOptions(unit),
    ...(isShort
      ? { notation: 'compact', maximumSignificantDigits: 4 }
      : { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
  });
  return (value) => {
    const amount = (value * unit.scale) / part.size;
    if (amount === 0 && unit.kind !== 'currency') return '0';
    return withSymbol(format(amount), part.symbol);
  };
}

/** Returns whether a number has at most some decimals, up to the error of a double. */
function fits(amount: number, decimals: number): boolean {
  const scaled = amount * 10 ** decimals;
  return Math.abs(scaled - Math.round(scaled)) <= 1e-9 * Math.max(1, Math.abs(scaled));
}

/** Returns the part of a unit that an axis is divided in. */
export function axisPartOf(unit: Unit, largest: number): Part {
  const long =
    unit.kind === 'duration' ? LONG_PARTS.find((part) => part.size > 1 && largest >= 2 * part.size) : undefined;
  return long ?? partOf(unit, largest);
}
