import { parseDuration } from './duration.ts';
import { splitUnescaped, unescapeText } from './escaped-list.ts';

/** As in records.ts. */
type Kind = 'metric' | 'analytics';

/** A time for one metric or event type. */
export interface NameRule {
  readonly kind: Kind;
  /** The metric name or event type. */
  readonly name: string;
  /** Undefined for `off`. As retention: records are kept forever. */
  readonly seconds: number | undefined;
}

/** How long records are kept, by their `timestamp`. */
export interface Retention {
  /** For names without a rule. Undefined: forever. */
  readonly seconds: number | undefined;
  readonly rules: readonly NameRule[];
}

/** Prefixes of rules, by kind. The texts of `type:` rules are event types. */
const KINDS_BY_PREFIX: Readonly<Record<string, Kind>> = { metric: 'metric', type: 'analytics' };
const MAX_DAYS = 36_500;
/** The form of retention rules, for error messages. */
const RETENTION_FORM = 'should be rules such as metric:page_load_time=30d,type:debug=7d';

/**
 * Parses a number of days.
 *
 * @returns seconds
 * @throws {Error} unless it is a whole number from 1 to 36,500
 */
export function parseDays(text: string): number {
  const days = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(days >= 1 && days <= MAX_DAYS)) throw new Error(`should be a whole number of days from 1 to ${MAX_DAYS}`);
  return days * 86_400;
}

/**
 * Parses comma-separated retention rules: `metric:NAME=30d` or `type:TYPE=7d`, with a duration or `off` to keep records
 * forever. In a name, `\,`, `\=` and `\\` stand for a comma, an equals sign and a backslash.
 *
 * @throws {Error} with the first problem. The message contains no names
 */
export function parseRetentionRules(text: string): NameRule[] {
  return parseNameRules(text, RETENTION_FORM);
}

/**
 * Parses rules for names in the syntax of {@link parseRetentionRules}.
 *
 * @param form completes the message for a text of another form: "should be rules such as …"
 * @throws {Error} with the first problem. The message contains no names
 */
export function parseNameRules(text: string, form: string): NameRule[] {
  const rules = splitUnescaped(text, ',').map((rule, i) => parseRule(rule, i + 1, form));
  const seen = new Set<string>();
  rules.forEach(({ kind, name }, i) => {
    const key = `${kind} ${name}`;
    if (seen.has(key)) throw new Error(`has a second rule for the same name (rule ${i + 1})`);
    seen.add(key);
  });
  return rules;
}

function parseRule(text: string, number: number, form: string): NameRule {
  const [left = '', right, ...rest] = splitUnescaped(text, '=');
  const match = /^\s*(metric|type):(.*)$/su.exec(left);
  if (!match || right === undefined || rest.length > 0) {
    throw new Error(`${form}; in names, write \\, for a comma and \\= for an equals sign (rule ${number})`);
  }
  const [, prefix = '', escaped = ''] = match;
  const kind = KINDS_BY_PREFIX[prefix] as Kind; // the pattern allows no other prefix
  const name = unescapeName(escaped, number);
  if (kind === 'metric' && name === '') throw new Error(`names no metric (rule ${number})`);
  const duration = right.trim();
  if (duration === 'off') return { kind, name, seconds: undefined };
  try {
    return { kind, name, seconds: parseRetentionTime(duration) };
  } catch (error) {
    throw new Error(`has a rule whose time ${(error as Error).message}, or off (rule ${number})`);
  }
}

/**
 * Parses how long records are kept, such as `30d`.
 *
 * @returns seconds
 * @throws {Error} if the text is malformed or zero
 */
export function parseRetentionTime(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === 0) throw new Error('should be above 0');
  return seconds;
}

function unescapeName(escaped: string, number: number): string {
  const name = unescapeText(escaped, ',=');
  if (name === undefined) throw new Error(`has a backslash that should be written as two (rule ${number})`);
  return name;
}

/**
 * Returns the time before which records of a name are deleted, in microseconds since 1970; undefined if they are kept
 * forever.
 *
 * @param now milliseconds since 1970
 */
export function expiryOf({ seconds, rules }: Retention, kind: Kind, name: string, now: number): number | undefined {
  const rule = rules.find((one) => one.kind === kind && one.name === name);
  const kept = rule ? rule.seconds : seconds;
  return kept === undefined ? undefined : (now - kept * 1000) * 1000;
}

/** Returns whether any record is ever deleted. */
export function isLimited({ seconds, rules }: Retention): boolean {
  return seconds !== undefined || rules.some((rule) => rule.seconds !== undefined);
}

/**
 * Returns the longest time that any record is kept, in seconds; undefined if some are kept forever.
 */
export function longestKept({ seconds, rules }: Retention): number | undefined {
  const times = [seconds, ...rules.map((rule) => rule.seconds)];
  const limited = times.filter((time) => time !== undefined);
  return limited.length < times.length ? undefined : Math.max(...limited);
}
