/*
 * The server's clock. Rows have its times, so that "now" is what it says: the clock of this machine may be wrong. The
 * server names the second of each response in `Date`.
 */

/** A step of the clock that is worth asking everything again, in milliseconds: above what seconds blur. */
const STEP = 2_000;

/** How far the server's clock is ahead of this machine's, in milliseconds: at most, by the responses so far. */
let ahead: number | undefined;

const listeners = new Set<() => void>();

/**
 * Returns the time of the server's clock: up to a second late, never early, so that a range that ends now has the rows
 * stored before.
 */
export function serverNow(): Date {
  return new Date(Date.now() + (ahead ?? 0));
}

/**
 * Learns the server's clock from a response.
 *
 * @param sentAt when the request was sent, by this machine's clock
 */
export function learnClock(headers: Headers, sentAt: number): void {
  const second = Date.parse(headers.get('date') ?? '');
  if (Number.isNaN(second)) return;
  const before = ahead ?? 0;
  // the response was made between the two, within that second
  const [least, most] = [second - Date.now(), second + 1000 - sentAt];
  if (ahead === undefined || most < ahead || least > ahead) ahead = most;
  if (Math.abs(ahead - before) >= STEP) for (const listener of listeners) listener();
}

/** Calls a function whenever the clock is found to have been wrong. Returns what ends that. */
export function onClockStep(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
