import { createContext } from 'preact';
import { useContext } from 'preact/hooks';
import type { Statistic } from './address.ts';

/** Whether a lower or a higher figure is an improvement. */
export type Better = 'lower' | 'higher';

/** The unit of a metric's values. */
export interface Unit {
  /** Decides how values are formatted. */
  readonly kind: 'plain' | 'duration' | 'bytes' | 'currency' | 'percent';
  /** Factor from recorded values to seconds, bytes, whole currency units or percent; 1 for plain numbers. */
  readonly scale: number;
  /** Symbol next to exact values, such as `ms`; an ISO 4217 code for currencies; empty: none. */
  readonly symbol: string;
  /** Undefined: a change is neither good nor bad. */
  readonly better: Better | undefined;
  /** Whether values add up to a meaningful total, like amounts of money. */
  readonly isAmount: boolean;
}

/** A unit set by the operator of the log. Fields that are missing or null are guessed from the name. */
export interface UnitSetting {
  readonly name: string;
  /** A unit as {@link unitNamed} parses it, or any other text to show next to the numbers. */
  readonly unit?: string | null | undefined;
  readonly better?: Better | null | undefined;
}

/** The unit of counts of rows and users. */
export const COUNT: Unit = { kind: 'plain', scale: 1, symbol: '', better: undefined, isAmount: true };

/** The unit of fractions, which are shown as percentages. */
export const FRACTION: Unit = { kind: 'percent', scale: 100, symbol: '', better: undefined, isAmount: false };

const PLAIN: Unit = { ...COUNT, isAmount: false };

const duration = (scale: number, symbol: string): Unit => ({ ...PLAIN, kind: 'duration', scale, symbol });
const bytes = (scale: number, symbol: string): Unit => ({ ...PLAIN, kind: 'bytes', scale, symbol });
const money = (code: string): Unit => ({ ...PLAIN, kind: 'currency', symbol: code, isAmount: true });

const CURRENCIES = ['CHF', 'SEK', 'NOK', 'DKK', 'PLN', 'CZK', 'INR', 'CNY', 'KRW', 'BRL', 'MXN', 'AUD', 'NZD', 'ZAR'];

/** Units by each of their names, in lower case. */
const UNITS: ReadonlyMap<string, Unit> = new Map(
  (
    [
      [duration(1e-9, 'ns'), 'ns', 'nanos', 'nanoseconds'],
      [duration(1e-6, 'µs'), 'us', 'µs', 'micros', 'microseconds'],
      [duration(1e-3, 'ms'), 'ms', 'msec', 'millis', 'milliseconds'],
      [duration(1, 's'), 's', 'sec', 'secs', 'second', 'seconds'],
      // no "min", which usually means minimum
      [duration(60, 'min'), 'minutes', 'mins'],
      [duration(3_600, 'h'), 'hours', 'hrs'],
      [duration(86_400, 'd'), 'days'],
      [bytes(1, 'bytes'), 'b', 'byte', 'bytes'],
      [bytes(1e3, 'kB'), 'kb', 'kilobytes'],
      [bytes(1e6, 'MB'), 'mb', 'megabytes'],
      [bytes(1e9, 'GB'), 'gb', 'gigabytes'],
      [bytes(2 ** 10, 'KiB'), 'kib'],
      [bytes(2 ** 20, 'MiB'), 'mib'],
      [bytes(2 ** 30, 'GiB'), 'gib'],
      [{ ...PLAIN, kind: 'percent', symbol: '%' }, '%', 'pct', 'percent', 'percentage'],
      [FRACTION, 'ratio', 'fraction'],
      [money('EUR'), '€', 'eur', 'euro', 'euros'],
      [money('USD'), '$', 'usd', 'dollar', 'dollars'],
      [money('GBP'), '£', 'gbp'],
      [money('JPY'), '¥', 'jpy', 'yen'],
      ...CURRENCIES.map((code) => [money(code), code.toLowerCase()] as const),
    ] satisfies (readonly [Unit, ...string[]])[]
  ).flatMap(([unit, ...names]) => names.map((name) => [name, unit] as const)),
);

/** Words that count only as the last one of a name, because elsewhere they mean something else: `b_variant`. */
const ONLY_LAST = new Set(['b', 's', 'ns', 'us', 'kb', 'mb', 'gb', 'days', 'hours', 'second', 'ratio', 'fraction']);

/** Last words of names whose values are durations. Without a unit in the name, they are seconds, as in Prometheus. */
const DURATIONS = new Set(['time', 'duration', 'latency', 'delay', 'elapsed', 'wait', 'lag', 'ttfb', 'lcp', 'fcp']);

const AMOUNTS = new Set([
  ...['amount', 'amounts', 'revenue', 'sales', 'income', 'turnover', 'proceeds', 'price', 'cost', 'costs', 'spend'],
  ...['fee', 'fees', 'refund', 'refunds', 'payment', 'payments', 'total', 'mrr', 'arr', 'profit', 'donation'],
]);

/** Words that say that lower is better, and those that say that higher is. The former win. */
const LOWER = new Set([
  ...['error', 'errors', 'failure', 'failures', 'failed', 'crash', 'crashes', 'exception', 'exceptions', 'timeout'],
  ...['timeouts', 'rejected', 'rejections', 'dropped', 'lost', 'retries', 'bounce', 'bounces', 'churn', 'refund'],
  ...['refunds', 'cost', 'costs', 'spend', 'fee', 'fees', 'lag', 'memory', 'cpu', 'queue', 'backlog', 'unsubscribe'],
]);
const HIGHER = new Set([
  ...['revenue', 'sales', 'income', 'turnover', 'proceeds', 'profit', 'amount', 'mrr', 'arr', 'donation', 'payments'],
  ...[
    'users',
    'visitors',
    'signup',
    'signups',
    'purchase',
    'purchases',
    'orders',
    'order',
    'conversion',
    'conversions',
  ],
  ...['score', 'rating', 'uptime', 'engagement', 'retention', 'subscribers', 'throughput', 'session', 'sessions'],
]);

/** Splits a name into lower-case words: at anything but letters and digits, and before capitals. */
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z\d])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}%€$£¥]+/u)
    .filter((word) => word !== '');
}

/**
 * Returns the unit of a metric: the one that is set, otherwise a guess from its name alone, so that new values never
 * change it.
 *
 * - A unit in the name decides: `api_latency_ms`, `response_bytes`, `cpu_percent`, `amount_eur`.
 * - Otherwise, names that end with `time`, `duration`, `latency` and the like are seconds.
 * - Ratios and fractions are shown as percentages: 0.25 is 25%.
 * - Amounts of money have a currency only if the name says which.
 * - Lower is better for durations, bytes, costs and errors; higher is better for revenue, users and sessions.
 */
export function unitOf(name: string, settings: readonly UnitSetting[] = []): Unit {
  const set = settings.find((setting) => setting.name === name);
  const guess = guessUnit(name);
  const unit = set?.unit === undefined || set.unit === null ? guess : unitNamed(set.unit);
  return { ...unit, better: set?.better ?? unit.better ?? guess.better };
}

function guessUnit(name: string): Unit {
  const words = wordsOf(name);
  const last = words.at(-1) ?? '';
  const isAmount = words.some((word) => AMOUNTS.has(word));
  const stated = words.findLast((word, i) => UNITS.has(word) && (i === words.length - 1 || !ONLY_LAST.has(word)));
  const better = betterOf(words);
  if (stated !== undefined && words.length > 1) {
    const unit = UNITS.get(stated) ?? PLAIN;
    const isLower = unit.kind === 'duration' || unit.kind === 'bytes';
    const isCents = unit.kind === 'currency' && words.includes('cents');
    const isEarned = unit.kind === 'currency' ? 'higher' : undefined;
    return { ...unit, scale: isCents ? 0.01 : unit.scale, better: better ?? (isLower ? 'lower' : isEarned) };
  }
  if (DURATIONS.has(last)) return { ...duration(1, 's'), better: better ?? 'lower' };
  if (last === 'length' && words.includes('session')) return { ...duration(1, 's'), better: 'higher' };
  return { ...PLAIN, better, isAmount };
}

function betterOf(words: readonly string[]): Better | undefined {
  if (words.some((word) => LOWER.has(word))) return 'lower';
  return words.some((word) => HIGHER.has(word)) ? 'higher' : undefined;
}

/**
 * Returns the unit with a name: `ms`, `s`, `bytes`, `kB`, `%`, `ratio`, a currency symbol or an ISO 4217 code. Any other
 * text becomes the symbol of a plain number.
 */
export function unitNamed(text: string): Unit {
  const name = text.trim();
  const lower = name.toLowerCase();
  const known = UNITS.get({ min: 'minutes', h: 'hours', d: 'days' }[lower] ?? lower);
  if (known) return { ...known, better: known.kind === 'duration' || known.kind === 'bytes' ? 'lower' : known.better };
  return { ...PLAIN, symbol: name };
}

/** Returns the unit of an event type's counts: more events and users are better, unless they are errors. */
export function eventUnitOf(type: string): Unit {
  return { ...COUNT, better: betterOf(wordsOf(type)) ?? 'higher' };
}

/**
 * Returns the unit of a statistic of a metric. Whether a count, or a sum of anything but amounts, is good depends on the
 * number of users, so it is left open.
 */
export function unitOfStatistic(unit: Unit, statistic: Statistic): Unit {
  if (statistic === 'count') return COUNT;
  return statistic === 'sum' && !unit.isAmount ? { ...unit, better: undefined } : unit;
}

/** Returns the statistic that says most about a metric: the sum of amounts, the median of other values. */
export function headlineOf(unit: Unit): Statistic {
  return unit.isAmount ? 'sum' : 'p50';
}

/** The units that are set. */
export const UnitsContext = createContext<readonly UnitSetting[]>([]);

/** Returns the unit of a metric; see {@link unitOf}. */
export function useUnitOf(name: string): Unit {
  return unitOf(name, useContext(UnitsContext));
}
