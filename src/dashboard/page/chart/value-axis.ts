import { axisPartOf } from '../unit-format.ts';
import type { Unit } from '../units.ts';

/** Options of a value axis. */
export interface ValueAxisOptions {
  readonly unit: Unit;
  /**
   * Whether the axis must contain zero. Counts and sums always do, and so do bars. Other statistics do too, unless their
   * lowest value is more than half of their highest: then zero would flatten what the chart is about, and the chart says
   * where the axis starts instead.
   */
  readonly isZeroBased: boolean;
  readonly isLogarithmic: boolean;
  /** Whether the axis ends below outliers. */
  readonly isCapped: boolean;
}

/** A value axis: where values are, from 0 (bottom) to 1 (top). */
export interface ValueAxis {
  /** Returns where a value is; null if it has no place on a logarithmic axis. Outliers above a cap are at the top. */
  readonly placeOf: (value: number) => number | null;
  /** The values of the ticks, at most five. */
  readonly ticks: readonly number[];
  /** Where bars and fills begin. */
  readonly base: number;
  /** The value the axis starts at, if that is not zero though all values are positive. */
  readonly startsAt: number | undefined;
  /** The highest value that is not an outlier; undefined: no value is cut off. */
  readonly cap: number | undefined;
  /** The number of values above the cap. */
  readonly above: number;
  /** The number of values that have no place on a logarithmic axis, because they are not positive. */
  readonly unplaced: number;
}

/** Space above the highest value and below the lowest negative one, as a fraction of the axis. */
const PADDING = 0.06;

/** Values closer to zero are placed like zero: the distances between their ticks would not be doubles. */
const TINIEST = 1e-290;

function withoutTiniest(value: number): number {
  return Math.abs(value) < TINIEST ? 0 : value;
}

/** Returns the axis for values. */
export function valueAxis(exact: readonly number[], options: ValueAxisOptions): ValueAxis {
  const values = exact.map(withoutTiniest);
  const { placeOf, ...axis } = axisOf(values, options);
  return { ...axis, placeOf: (value) => placeOf(withoutTiniest(value)) };
}

function axisOf(values: readonly number[], options: ValueAxisOptions): ValueAxis {
  const cap = options.isCapped ? capOf(values) : undefined;
  const above = cap === undefined ? 0 : values.filter((value) => value > cap).length;
  const shown = cap === undefined ? values : values.filter((value) => value <= cap);
  const common = { cap, above };
  if (options.isLogarithmic && shown.some((value) => value > 0))
    return { ...logarithmicAxis(shown, values), ...common };
  return { ...linearAxis(shown, options), ...common };
}

function linearAxis(
  values: readonly number[],
  { unit, isZeroBased }: ValueAxisOptions,
): Omit<ValueAxis, 'cap' | 'above'> {
  let [min, max] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (values.length === 0) [min, max] = [0, 0];
  const isFloating = !isZeroBased && min > max / 2 && min > 0;
  const isWhole = values.every(Number.isInteger) && unit.kind === 'plain';
  if (!isFloating) [min, max] = [Math.min(0, min), Math.max(0, max)];
  // halves avoid an overflow near the limits of a double
  const spread = (max / 2 - min / 2) * 2;
  const range = Number.isFinite(spread) ? spread : Number.MAX_VALUE;
  const padding = range > 0 ? range * PADDING : isFloating ? max * 0.1 : 0.5;
  const distance = tickDistance(Math.max(range, padding), unit, isWhole);
  const lowest = isFloating ? Math.floor((min - padding) / distance) * distance : min - padding;
  const low = min >= 0 ? (isFloating ? Math.max(0, lowest) : 0) : Math.max(-Number.MAX_VALUE, lowest);
  const high = range > 0 || isFloating ? Math.min(Number.MAX_VALUE, max + padding) : 1;
  const length = high / 2 - low / 2;
  const placeOf = (value: number) => Math.min(1, (value / 2 - low / 2) / length);
  const ticks: number[] = [];
  for (let i = Math.ceil(low / distance - 1e-9); ticks.length < 6; i++) {
    // adding up distances would add up errors
    const tick = exactMultiple(i, distance);
    if (!(tick <= high)) break;
    ticks.push(tick);
  }
  return {
    placeOf,
    ticks: thinned(ticks),
    base: placeOf(Math.max(low, 0)),
    startsAt: low > 0 ? low : undefined,
    unplaced: 0,
  };
}

/** Maximum number of ticks. */
const MAX_TICKS = 5;

function thinned(ticks: readonly number[]): number[] {
  const stride = Math.ceil(ticks.length / MAX_TICKS);
  return ticks.filter((_tick, i) => i % stride === 0);
}

/** Returns a multiple of a distance, without the error of the last digits: 3 × 0.1 is 0.3. */
function exactMultiple(count: number, distance: number): number {
  return Number((count * distance).toPrecision(12));
}

/** Round numbers of minutes or seconds within the next larger unit, and of hours within a day. */
const ROUND_60 = [1, 2, 3, 5, 10, 15, 20, 30];
const ROUND_24 = [1, 2, 3, 6, 12];

/** Returns a round distance between ticks, so that there are at most about four in a range. */
function tickDistance(range: number, unit: Unit, isWhole: boolean): number {
  const part = axisPartOf(unit, range * unit.scale);
  const size = part.size / unit.scale;
  const wanted = range / 4 / size;
  const round = part.symbol === 'm' ? ROUND_60 : part.symbol === 'h' ? ROUND_24 : [];
  const found = wanted <= 1 && round.length > 0 ? undefined : round.find((count) => count >= wanted * 0.999);
  if (found !== undefined) return found * size;
  const power = 10 ** Math.floor(Math.log10(wanted));
  const factor = [1, 2, 2.5, 5, 10].find((step) => step * power >= wanted * 0.999) ?? 10;
  const distance = factor * power * size;
  return isWhole ? Math.max(1, Math.ceil(distance)) : distance || Number.MIN_VALUE;
}

function logarithmicAxis(shown: readonly number[], all: readonly number[]): Omit<ValueAxis, 'cap' | 'above'> {
  let [min, max] = [Number.POSITIVE_INFINITY, 0];
  for (const value of shown) {
    if (value <= 0) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  // a tenth below the lowest value, so that its bar is visible
  const low = Math.log10(min) - 0.1;
  const high = Math.log10(max) + 0.05;
  const from = high - low < 1 ? Math.floor(low) : low;
  const to = high - low < 1 ? Math.max(high, from + 1) : high;
  const placeOf = (value: number) => (value > 0 ? Math.min(1, (Math.log10(value) - from) / (to - from)) : null);
  const decades = [];
  for (let power = Math.ceil(from - 1e-9); power <= to; power++) decades.push(power);
  const powers = thinned(decades).map((power) => Number(`1e${power}`));
  const between =
    decades.length > 2 ? [] : decadesAround(from, to).flatMap((power) => [2, 5].map((n) => Number(`${n}e${power}`)));
  const ticks = [...new Set([...powers, ...between])]
    .filter((tick) => Math.log10(tick) >= from - 1e-9 && Math.log10(tick) <= to)
    .sort((a, b) => a - b);
  const unplaced = all.filter((value) => value <= 0).length;
  return { placeOf, ticks: thinned(ticks), base: 0, startsAt: undefined, unplaced };
}

/** Returns the powers of ten from the one below a range to the last one in it. */
function decadesAround(from: number, to: number): number[] {
  const first = Math.floor(from);
  return Array.from({ length: Math.max(0, Math.floor(to) - first + 1) }, (_item, i) => first + i);
}

/** From this number of values on, outliers can be told from other values. */
const MIN_VALUES = 8;

/**
 * Returns the highest value that is not an outlier; undefined if no value is one. Outliers lie more than three times the
 * distance between the quartiles above the upper one (Tukey's outer fence).
 */
export function capOf(values: readonly number[]): number | undefined {
  if (values.length < MIN_VALUES) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number) => sorted[Math.floor((sorted.length - 1) * part)] ?? 0;
  const [lower, upper] = [at(0.25), at(0.75)];
  // where most values are equal, three times as much is an outlier
  const fence = upper > lower ? upper + 3 * (upper - lower) : upper > 0 ? 3 * upper : Number.POSITIVE_INFINITY;
  const cap = sorted.findLast((value) => value <= fence);
  return cap === undefined || cap === sorted.at(-1) ? undefined : cap;
}
