/** How far a clock may be ahead before its timestamps are corrected, in milliseconds. */
const TOLERANCE_MS = 60_000;
/** How far timestamps may be ahead of the clock so that they increase, in microseconds. */
const MAX_LEAD_US = 1_000_000;
/** What follows an item in JSON if the product set its time. */
export const GIVEN_TIMESTAMP = ' ';
/** The time at the end of an item, if the client set it. */
const OWN_TIMESTAMP = /[^"]{27}(?="}$)/;

/** Gives the timestamps of items. */
export interface Clock {
  /** Returns the present time in RFC 3339. Each is later than the one before, unless the clock was set back. */
  now(): string;
  /**
   * Learns how far the server's clock is ahead of this one, in milliseconds. If this clock is more than a minute ahead,
   * the server's is used from then on: the server rejects timestamps in the future.
   */
  compare(serverAheadMs: number): void;
  /** Returns an item with its timestamp corrected if that is in the future, and the product has not set it. */
  correct(item: string): string;
}

/** Creates a clock. */
export function createClock(): Clock {
  let offsetMs = 0;
  let lastUs = 0;
  return {
    now() {
      const nowUs = (Date.now() + offsetMs) * 1000;
      const lead = lastUs - nowUs;
      lastUs = lead >= 0 && lead < MAX_LEAD_US ? lastUs + 1 : nowUs;
      return withMicroseconds(Math.floor(lastUs / 1000), `${1000 + (lastUs % 1000)}`.slice(1));
    },
    compare(serverAheadMs) {
      const neededMs = Math.min(serverAheadMs, 0);
      // not for every response: latency differs, and times must not go back
      if (Math.abs(neededMs - offsetMs) > TOLERANCE_MS) offsetMs = neededMs;
    },
    correct: (item) =>
      item.replace(OWN_TIMESTAMP, (time) => {
        const ms = Date.parse(time);
        return ms > Date.now() + offsetMs ? withMicroseconds(ms + offsetMs, time.slice(23, 26)) : time;
      }),
  };
}

/** Returns a time in RFC 3339, given in milliseconds since 1970 and three more digits. */
function withMicroseconds(ms: number, digits: string): string {
  return new Date(ms).toISOString().replace('Z', `${digits}Z`);
}
