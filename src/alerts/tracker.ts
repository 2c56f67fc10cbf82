import type { AlertChange, AlertName, Observation } from './alert.ts';

/** How often an alert is repeated while it lasts. */
const REPEAT_MS = 24 * 3600_000;
/** Alerts that are kept. Beyond that, the oldest ended ones are dropped, of which the receiver may not know. */
const MAX_ENTRIES = 500;

/** An alert that is firing, or has ended without the receiver knowing. */
export interface AlertEntry extends AlertChange {
  readonly key: string;
  /** When the receiver last accepted that it is firing, in milliseconds since 1970; null: never. */
  readonly notifiedAt: number | null;
}

/**
 * Which alerts are firing, and what the receiver knows of it. An alert begins with the first observation that its condition
 * is met. It ends once the condition has not been met for as long as its observations say.
 */
export interface Tracker {
  /** Applies what a check has found. Alerts of the same name that it does not mention end at once. */
  apply(alert: AlertName, observations: readonly Observation[]): void;
  /** Returns the next change that the receiver should know of; undefined if it knows all. */
  pending(): AlertEntry | undefined;
  /** Records that the receiver knows of a change. */
  delivered(entry: AlertEntry): void;
  /** Returns the keys of the firing alerts of a name. */
  firingKeys(alert: AlertName): string[];
  /** The number of firing alerts. */
  firing(): number;
  /** The number of changes that were dropped. */
  dropped(): number;
  entries(): readonly AlertEntry[];
}

/**
 * Creates a tracker.
 *
 * @param known the entries of the last run
 * @param now the clock, in milliseconds since 1970
 * @param monotonic a clock that is never set, in milliseconds
 */
export function createTracker(known: readonly AlertEntry[], now: () => number, monotonic: () => number): Tracker {
  const idOf = ({ alert, key }: Pick<AlertEntry, 'alert' | 'key'>) => `${alert} ${key}`;
  const entries = new Map(known.map((entry) => [idOf(entry), entry]));
  /** Since when the conditions of firing alerts are not met, on the monotonic clock. */
  const clearSince = new Map<string, number>();
  let dropped = 0;

  function applyOne(alert: AlertName, observation: Observation): void {
    const { key, isActive, clearAfterSeconds, endReason, summary, details } = observation;
    const id = idOf({ alert, key });
    const entry = entries.get(id);
    if (isActive) {
      clearSince.delete(id);
      const isNew = entry?.status !== 'firing';
      const began = isNew ? { since: entry?.since ?? now(), at: now() } : { since: entry.since, at: entry.at };
      entries.set(id, {
        alert,
        key,
        status: 'firing',
        ...began,
        summary,
        details,
        notifiedAt: entry?.notifiedAt ?? null,
      });
    } else if (isActive === false && entry?.status === 'firing') {
      const since = clearSince.get(id) ?? monotonic();
      clearSince.set(id, since);
      if (monotonic() - since >= clearAfterSeconds * 1000) end(id, entry, endReason);
    }
  }

  function end(id: string, entry: AlertEntry, reason?: string): void {
    clearSince.delete(id);
    const summary = reason === undefined ? entry.summary : `${entry.summary} ${reason}`;
    entries.set(id, { ...entry, status: 'resolved', at: now(), summary });
  }

  function dropOldest(): void {
    const ended = [...entries].filter(([, { status }]) => status === 'resolved').sort(([, a], [, b]) => a.at - b.at);
    for (const [id] of ended.slice(0, Math.max(0, entries.size - MAX_ENTRIES))) {
      entries.delete(id);
      dropped++;
    }
  }

  function isPending({ status, notifiedAt }: AlertEntry): boolean {
    // a clock that was set back must not suppress the repetition
    return status === 'resolved' || notifiedAt === null || Math.abs(now() - notifiedAt) >= REPEAT_MS;
  }

  return {
    apply(alert, observations) {
      const mentioned = new Set(observations.map(({ key }) => key));
      for (const observation of observations) applyOne(alert, observation);
      for (const [id, entry] of entries) {
        if (entry.alert === alert && entry.status === 'firing' && !mentioned.has(entry.key)) end(id, entry);
      }
      dropOldest();
    },
    pending: () => entries.values().find(isPending),
    delivered(entry) {
      const id = idOf(entry);
      const current = entries.get(id);
      if (!current) return;
      if (entry.status === 'firing') entries.set(id, { ...current, notifiedAt: now() });
      else if (current.status === 'resolved') entries.delete(id);
      else entries.set(id, { ...current, since: current.at, notifiedAt: null }); // it has begun again meanwhile
    },
    firingKeys: (alert) => [
      ...entries.values().flatMap((entry) => (entry.alert === alert && entry.status === 'firing' ? [entry.key] : [])),
    ],
    firing: () => entries.values().reduce((count, { status }) => count + Number(status === 'firing'), 0),
    dropped: () => dropped,
    entries: () => [...entries.values()],
  };
}
