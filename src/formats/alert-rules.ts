import { parseDuration } from './duration.ts';
import { splitUnescaped, unescapeText } from './escaped-list.ts';
import { type NameRule, parseNameRules } from './retention.ts';

/** What a threshold can be about: the statistics of a series. */
const AGGREGATES = ['count', 'sum', 'avg', 'min', 'max', 'p50', 'p95', 'p99'] as const;
export type Aggregate = (typeof AGGREGATES)[number];

/** A statistic of a metric, or the number of events of a type, and the limit beyond which it raises an alert. */
export interface AlertThreshold {
  /** As in records.ts. */
  readonly kind: 'metric' | 'analytics';
  /** The metric name or event type. */
  readonly name: string;
  /** For events, only `count`. */
  readonly aggregate: Aggregate;
  /** On which side of the limit the alert is. */
  readonly side: 'above' | 'below';
  readonly limit: number;
  /** The statistic covers the rows that happened in this time before now. */
  readonly windowSeconds: number;
}

/** Each threshold is up to one query per minute. */
const MAX_THRESHOLDS = 100;
const WINDOW_SECONDS = { shortest: 60, longest: 30 * 86_400 };
const THRESHOLD_FORM =
  'should be rules such as checkout_ms:p95>2000/15m or type:signup:count<1/1h; in names, write \\, for a comma and \\: for a colon';
/** Shortest time of a silence rule: they are checked once per minute. */
const MIN_SILENCE_SECONDS = 60;
const SILENCE_FORM = 'should be rules such as metric:heartbeat=10m,type:signup=6h,type:debug=off';
const CONDITION = new RegExp(`^(${AGGREGATES.join('|')})([<>])(-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)/(\\d+[smhd])$`, 'i');

/**
 * Parses comma-separated thresholds: `NAME:AGGREGATE>LIMIT/WINDOW` for a metric, or `type:TYPE:count<LIMIT/WINDOW` for the
 * events of a type. `metric:` may come before a name. In a name, `\,`, `\:` and `\\` stand for a comma, a colon and a
 * backslash.
 *
 * @throws {Error} with the first problem. The message contains no names
 */
export function parseThresholds(text: string): AlertThreshold[] {
  const rules = splitUnescaped(text, ',');
  if (rules.length > MAX_THRESHOLDS) throw new Error(`should have at most ${MAX_THRESHOLDS} rules`);
  const thresholds = rules.map((rule, i) => parseThreshold(rule.trim(), i + 1));
  const seen = new Set<string>();
  thresholds.forEach((threshold, i) => {
    const key = JSON.stringify(threshold);
    if (seen.has(key)) throw new Error(`has the same rule twice (rule ${i + 1})`);
    seen.add(key);
  });
  return thresholds;
}

function parseThreshold(text: string, number: number): AlertThreshold {
  const problem = (message: string) => new Error(`${message} (rule ${number})`);
  const parts = splitUnescaped(text, ':');
  const [prefix, escaped = '', condition = ''] = parts.length === 3 ? parts : ['metric', ...parts];
  const match = CONDITION.exec(condition);
  if (parts.length < 2 || parts.length > 3 || (prefix !== 'metric' && prefix !== 'type') || !match)
    throw problem(THRESHOLD_FORM);
  const name = unescapeText(escaped, ',:');
  if (name === undefined) throw problem('has a backslash that should be written as two');
  const [, aggregateText = '', sign, digits, duration = ''] = match;
  const aggregate = aggregateText.toLowerCase() as Aggregate; // the pattern allows no other word
  const limit = Number(digits);
  if (!Number.isFinite(limit)) throw problem('has a number that is too large');
  if (prefix === 'metric' && name === '') throw problem('names no metric');
  if (prefix === 'type' && aggregate !== 'count') throw problem('has an aggregate of events, which only have a count');
  if (aggregate === 'count' && sign === '<' && limit <= 0)
    throw problem('expects a count below 0, which never happens');
  return {
    kind: prefix === 'metric' ? 'metric' : 'analytics',
    name,
    aggregate,
    side: sign === '>' ? 'above' : 'below',
    limit,
    windowSeconds: parseWindow(duration, problem),
  };
}

function parseWindow(text: string, problem: (message: string) => Error): number {
  const { shortest, longest } = WINDOW_SECONDS;
  let seconds: number;
  try {
    seconds = parseDuration(text);
  } catch (error) {
    throw problem(`has a window that ${(error as Error).message}`);
  }
  if (seconds < shortest || seconds > longest) throw problem('has a window that should be from 1m to 30d');
  return seconds;
}

/**
 * Parses how long names may be silent: `metric:NAME=10m` or `type:TYPE=6h`, or `off` for any time, in the syntax of retention
 * rules.
 *
 * @throws {Error} with the first problem. The message contains no names
 */
export function parseSilenceRules(text: string): NameRule[] {
  const rules = parseNameRules(text, SILENCE_FORM);
  rules.forEach(({ seconds = MIN_SILENCE_SECONDS }, i) => {
    if (seconds < MIN_SILENCE_SECONDS) throw new Error(`has a rule whose time should be at least 1m (rule ${i + 1})`);
  });
  return rules;
}

/**
 * Parses the URL of a webhook.
 *
 * @throws {Error} with a message that does not contain the URL
 */
export function parseWebhook(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text)) throw new Error('should be an http or https URL');
  if (url.username !== '' || url.password !== '') {
    throw new Error('should not contain a user name or a password; tokens belong in its path or query');
  }
  return url;
}
