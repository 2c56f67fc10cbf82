import type { AlertThreshold } from '../formats/alert-rules.ts';
import type { Counts, Series } from '../responses.ts';
import type { Observation } from './alert.ts';
import type { QueryCheckParts } from './background-queries.ts';
import { durationText, harmless, nameText } from './text.ts';

/** How often a threshold is checked, in seconds: more rarely the longer its window, by this fraction of it. */
const INTERVAL_SECONDS = { shortest: 60, longest: 900 };
const CHECKS_PER_WINDOW = 60;
/** How long a threshold must not have been crossed before the alert is resolved: its window, within these limits. */
const CLEAR_SECONDS = { shortest: 300, longest: 3_600 };
/** How long the server must have run before few rows mean something: while it was stopped, none arrived. */
const MAX_GRACE_SECONDS = 3_600;

/** What the check uses. */
export interface ThresholdParts extends QueryCheckParts {
  readonly thresholds: readonly AlertThreshold[];
}

/** Creates the check of the configured thresholds. It runs one query per threshold, one after another. */
export function createThresholdCheck(parts: ThresholdParts): () => Promise<Observation[]> {
  const { thresholds, run, isStopping, uptimeSeconds, now, monotonic, log } = parts;
  /** When each threshold is due, on the monotonic clock. */
  const dueAt = thresholds.map(() => Number.NEGATIVE_INFINITY);

  /** Returns the statistic; null if there are no rows that have it, undefined if it cannot be determined. */
  async function readValue(threshold: AlertThreshold): Promise<number | null | undefined> {
    const { kind, name, aggregate, windowSeconds } = threshold;
    const to = now() * 1000;
    const range = { from: to - windowSeconds * 1e6, to, interval: undefined, zone: 'UTC' };
    const query = { name, ...range, user: undefined, top: undefined };
    const text = await run(kind === 'metric' ? 'series' : 'counts', query);
    if (text === undefined) return undefined;
    const result = JSON.parse(text) as Series & Counts; // of which only fields of the kind are read
    return result[aggregate];
  }

  async function check(threshold: AlertThreshold, i: number, startedAt: number): Promise<Observation> {
    const { side, limit, windowSeconds } = threshold;
    let value: number | null | undefined;
    if (startedAt >= (dueAt[i] as number) && !isStopping()) {
      dueAt[i] = startedAt + 1000 * clamp(windowSeconds / CHECKS_PER_WINDOW, INTERVAL_SECONDS);
      try {
        value = await readValue(threshold);
      } catch (error) {
        if (!isStopping()) log.warn({ err: error, rule: i + 1 }, 'a rule of ALERT_THRESHOLDS could not be checked');
      }
    }
    return observe(threshold, value, isCrossed());

    function isCrossed(): boolean | undefined {
      if (value === undefined) return undefined;
      if (value === null) return false;
      if (side === 'above') return value > limit;
      if (value >= limit) return false;
      return uptimeSeconds() >= Math.min(windowSeconds, MAX_GRACE_SECONDS) ? true : undefined;
    }
  }

  return async () => {
    const observations: Observation[] = [];
    const startedAt = monotonic();
    for (const [i, threshold] of thresholds.entries()) observations.push(await check(threshold, i, startedAt));
    return observations;
  };
}

function observe(
  threshold: AlertThreshold,
  value: number | null | undefined,
  isActive: boolean | undefined,
): Observation {
  const { kind, name, aggregate, side, limit, windowSeconds } = threshold;
  const subject = kind === 'metric' ? `The ${aggregate} of the metric` : 'The number of events of the type';
  const window = durationText(windowSeconds);
  return {
    key: JSON.stringify([kind, name, aggregate, side, limit, windowSeconds]),
    isActive,
    clearAfterSeconds: clamp(windowSeconds, CLEAR_SECONDS),
    summary: `${subject} ${nameText(name)} in the last ${window} is ${value}, which is ${side} ${limit}.`,
    details: {
      ...{ kind, name: harmless(name), aggregate, side, limit },
      ...{ window_seconds: windowSeconds, value: value ?? null },
    },
  };
}

function clamp(
  seconds: number,
  { shortest, longest }: { readonly shortest: number; readonly longest: number },
): number {
  return Math.min(Math.max(seconds, shortest), longest);
}
