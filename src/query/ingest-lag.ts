import type { IngestLag } from './engine.ts';

/** The ingest lag, known without asking the query worker, which may be busy or restarting. */
export interface LagTracker {
  /** Adds rows that were just committed. Called for each commit, so it must be cheap. */
  committed(rows: number): void;
  /** Replaces the estimate by what the query worker has measured. */
  measured(lag: IngestLag): void;
  /** Returns the lag as last measured, with the rows committed and the time passed since then. */
  current(): IngestLag;
}

/**
 * Creates a {@link LagTracker}. Rows that the worker has applied since the last measurement still count, so between two
 * measurements the lag can be too high. It misses only the rows committed while a measurement was on its way.
 *
 * @param now returns a monotonic time, in milliseconds
 */
export function createLagTracker(now: () => number): LagTracker {
  let rows = 0;
  let oldestAt = 0;
  return {
    committed(count) {
      if (rows === 0) oldestAt = now();
      rows += count;
    },
    measured(lag) {
      rows = lag.rows;
      oldestAt = now() - lag.seconds * 1000;
    },
    current: () => ({ rows, seconds: rows === 0 ? 0 : (now() - oldestAt) / 1000 }),
  };
}
