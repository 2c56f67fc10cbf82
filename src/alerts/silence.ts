import { ApiError } from '../errors.ts';
import type { NameRule } from '../formats/retention.ts';
import type { Arrivals, QuietSeries, SeriesName } from '../query/arrivals.ts';
import type { FinishedQuery } from '../query/caller.ts';
import type { Observation } from './alert.ts';
import type { QueryCheckParts } from './background-queries.ts';
import { durationText, harmless, nameText } from './text.ts';

/** Users that a name must have, unless it is configured: fewer could raise alerts about names they make up. */
export const MIN_USERS = 10;
/** How far back arrivals are compared, and the time that they must cover, in seconds. */
export const HISTORY_SECONDS = 28 * 86_400;
const MIN_HISTORY_SECONDS = 7 * 86_400;
/**
 * How long a name must be silent at least, and relative to its longest gap. Of random arrivals, one gap in four weeks is longer
 * than all in the four weeks before; 400 arrivals in four weeks exceed 1.5 times the longest gap about once per year:
 * Γ(2.5) / √400 times in four weeks, for exponentially distributed gaps.
 */
const MIN_SILENCE_SECONDS = 3_600;
const GAP_FACTOR = 1.5;
/** How long the server must have run: while it was stopped, nothing arrived. */
const GRACE_SECONDS = 3_600;
/** Alerts at once about names that are not configured: when all are silent, ten messages suffice, and one about the others. */
const MAX_ALERTS = 10;
/** The key of the alert about the others. Never the key of a name, which has a space. */
const OTHERS_KEY = 'others';
/**
 * How long an alert about a name that is not configured can last. A name that does not arrive again in that time is
 * probably no longer in use, and would take the place of another.
 */
const WATCHED_SECONDS = 7 * 86_400;
/** Silent names that are considered, those with the most rows, and how many of them are newly examined per check. */
const MAX_NAMES = 5_000;
const EXAMINED_PER_CHECK = 20;
/**
 * How long no check follows one that listed silent names, relative to the time for which that ran, and at most, in
 * milliseconds: with millions of names, it delays the queries of users.
 */
const PAUSE = { factor: 60, longestMs: 900_000 };
/** Longer names are considered only if they are configured, in UTF-16 code units. */
const MAX_NAME_LENGTH = 200;

/** What the check uses. */
export interface SilenceParts extends QueryCheckParts {
  /** The rules of ALERT_SILENCE: how long a name may be silent; undefined: for any time. */
  readonly rules: readonly NameRule[];
}

/** What is known of the arrivals of a series before it became silent. */
interface Profile extends Arrivals {
  /** The time of its newest row when this was determined. */
  readonly lastAt: number;
}

/**
 * Creates the check for names that are silent for longer than before. One query lists the names that are silent for at least
 * an hour. The arrivals of each are examined once, because they do not change while it is silent.
 *
 * @returns the check, which is given the keys of the firing alerts; undefined if nothing could be determined
 */
export function createSilenceCheck(
  parts: SilenceParts,
): (firingKeys: readonly string[]) => Promise<Observation[] | undefined> {
  const { rules, run, isStopping, uptimeSeconds, now, monotonic, log } = parts;
  const ruleByKey = new Map(rules.map((rule) => [keyOf(rule), rule]));
  let profiles = new Map<string, Profile>();
  let nextAt = Number.NEGATIVE_INFINITY;

  function planNext({ ranMs = 0 }: FinishedQuery): void {
    nextAt = monotonic() + Math.min(PAUSE.factor * ranMs, PAUSE.longestMs);
  }

  async function check(firingKeys: readonly string[]): Promise<Observation[] | undefined> {
    const nowUs = now() * 1000;
    const limited = rules.filter(({ seconds }) => seconds !== undefined);
    const named = new Map([...limited.map(nameOf), ...firingKeys.flatMap(parseKey)].map((one) => [keyOf(one), one]));
    const query = {
      from: nowUs - HISTORY_SECONDS * 1e6,
      to: nowUs - MIN_SILENCE_SECONDS * 1e6,
      ...{ limit: MAX_NAMES, maxNameLength: MAX_NAME_LENGTH, named: [...named.values()] },
    };
    const text = await run('quiet', query, planNext);
    if (text === undefined) return undefined;
    const quiet = new Map((JSON.parse(text) as QuietSeries[]).map((series) => [keyOf(series), series]));
    const configured = limited.map((rule) => observeConfigured(rule, quiet.get(keyOf(rule)), nowUs));
    const firing = new Set(firingKeys);
    const others = await observeOthers(
      [...quiet].filter(([key]) => !ruleByKey.has(key)),
      firing,
      nowUs,
    );
    const lasting = others.filter(({ key }) => firing.has(key));
    const begun = others.filter(({ key }) => !firing.has(key));
    const room = Math.max(0, MAX_ALERTS - lasting.filter(({ isActive }) => isActive !== false).length);
    const left = Math.max(0, begun.length - room);
    return [...configured, ...lasting, ...begun.slice(0, room), observeLeft(left, uptimeSeconds() < GRACE_SECONDS)];
  }

  function observeConfigured(rule: NameRule, series: QuietSeries | undefined, nowUs: number): Observation {
    const { seconds: limit = 0 } = rule; // rules without one are left out
    const uptime = uptimeSeconds();
    const silence = series ? (nowUs - series.lastAt) / 1e6 : uptime;
    const hasGrace = uptime < Math.min(limit, GRACE_SECONDS);
    return observe(rule, series, silence, limit, silence <= limit ? false : hasGrace ? undefined : true);
  }

  /** Observes names without a rule. Examines a few of those that were not examined yet. */
  async function observeOthers(
    quiet: readonly (readonly [key: string, series: QuietSeries])[],
    firing: ReadonlySet<string>,
    nowUs: number,
  ): Promise<Observation[]> {
    const known = new Map<string, Profile>();
    const observations: Observation[] = [];
    let examined = 0;
    for (const [key, series] of quiet) {
      const silence = (nowUs - series.lastAt) / 1e6;
      let profile = profiles.get(key);
      if (profile?.lastAt !== series.lastAt) profile = undefined;
      if (!profile && silence > MIN_SILENCE_SECONDS && examined < EXAMINED_PER_CHECK && !isStopping()) {
        examined++;
        profile = await examine(series);
      }
      if (profile) known.set(key, profile);
      const limit = Math.max(MIN_SILENCE_SECONDS, GAP_FACTOR * (profile?.longestGapSeconds ?? 0));
      const isSilent = silence > limit;
      const isExpected = !profile || profile.users < MIN_USERS || historySeconds(series) < MIN_HISTORY_SECONDS;
      const isUnclear = isSilent && (!profile || uptimeSeconds() < GRACE_SECONDS);
      const isOver = silence > limit + WATCHED_SECONDS;
      const isActive = isUnclear ? undefined : isSilent && !isExpected && !isOver;
      if (!isActive && !firing.has(key)) continue;
      const endReason = isOver ? 'It is no longer watched until a row arrives.' : undefined;
      observations.push({ ...observe(series, series, silence, limit, isActive), endReason });
    }
    profiles = known;
    return observations;
  }

  async function examine({ kind, name, lastAt }: QuietSeries): Promise<Profile | undefined> {
    const to = lastAt + 1;
    try {
      const text = await run('arrivals', { kind, name, from: to - HISTORY_SECONDS * 1e6, to, maxUsers: MIN_USERS });
      return text === undefined ? undefined : { ...(JSON.parse(text) as Arrivals), lastAt };
    } catch (error) {
      if (!isStopping()) log.warn({ err: error }, 'the arrivals of a name could not be examined for alerts');
      // not again before its next row: what took too long once takes as long again
      const isTooLarge = error instanceof ApiError && error.code === 'query_too_large';
      return isTooLarge ? { users: 0, longestGapSeconds: 0, lastAt } : undefined;
    }
  }

  return async (firingKeys) => {
    if (monotonic() < nextAt) return undefined;
    try {
      return await check(firingKeys);
    } catch (error) {
      if (!isStopping()) log.warn({ err: error }, 'names could not be checked for silence');
      return undefined;
    }
  };
}

function observe(
  name: SeriesName,
  series: QuietSeries | undefined,
  silence: number,
  limit: number,
  isActive: boolean | undefined,
): Observation {
  const subject = name.kind === 'metric' ? 'The metric' : 'The event type';
  const lastAt = series ? new Date(series.lastAt / 1000).toISOString() : null;
  return {
    key: keyOf(name),
    isActive,
    clearAfterSeconds: 0,
    summary: `${subject} ${nameText(name.name)} has been silent for ${durationText(silence)}; expected at most ${durationText(limit)}.`,
    details: {
      ...{ kind: name.kind, name: harmless(name.name), last_at: lastAt },
      ...{ silent_seconds: Math.round(silence), limit_seconds: Math.round(limit) },
    },
  };
}

/** Observes how many names are silent that raise no alert because too many others do. */
function observeLeft(names: number, hasGrace: boolean): Observation {
  return {
    key: OTHERS_KEY,
    isActive: names > 0 || (hasGrace ? undefined : false),
    clearAfterSeconds: 0,
    summary: `At most ${MAX_ALERTS} alerts about silent names last at once. Names beyond that: ${names}.`,
    details: { names },
  };
}

/** Returns the time between the oldest and the newest row of a series. */
function historySeconds({ firstAt, lastAt }: QuietSeries): number {
  return (lastAt - firstAt) / 1e6;
}

function nameOf({ kind, name }: SeriesName): SeriesName {
  return { kind, name };
}

function keyOf({ kind, name }: SeriesName): string {
  return `${kind} ${name}`;
}

/** Parses a key of {@link keyOf}. Returns nothing for a key of another form, which only a modified file contains. */
function parseKey(key: string): SeriesName[] {
  const [, kind, name] = /^(metric|analytics) (.*)$/su.exec(key) ?? [];
  return kind === undefined || name === undefined ? [] : [{ kind: kind as SeriesName['kind'], name }];
}
