/*
 * The server's clock. Row timestamps come from it, so it defines "now"; the local clock may be wrong. Estimated from
 * the `Date` header of responses, which has a resolution of one second.
 */

/** Smallest clock correction that refreshes the page, in milliseconds. Larger than the resolution of `Date`. */
const MIN_STEP_MS = 2_000;

/** Upper bound of the server clock's lead over the local clock, in milliseconds, from the responses so far. */
let aheadMs: number | undefined;

const listeners = new Set<() => void>();

/**
 * Returns an estimate of the server's time. It is up to a second fast and never slow, so a range that ends now includes
 * every row stored so far.
 */
export function serverNow(): Date {
  return new Date(Date.now() + (aheadMs ?? 0));
}

/**
 * Updates the estimate of the server's clock from a response.
 *
 * @param sentAt when the request was sent, in local time
 */
export function syncClock(headers: Headers, sentAt: number): void {
  const second = Date.parse(headers.get('date') ?? '');
  if (Number.isNaN(second)) return;
  const previous = aheadMs ?? 0;
  // the server set `Date` between sending and now, within that second
  const [min, max] = [second - Date.now(), second + 1000 - sentAt];
  if (aheadMs === undefined || max < aheadMs || min > aheadMs) aheadMs = max;
  if (Math.abs(aheadMs - previous) >= MIN_STEP_MS) for (const listener of listeners) listener();
}

/** Calls a function whenever the clock is corrected by a large step. Returns a function that unsubscribes it. */
export function onClockStep(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
