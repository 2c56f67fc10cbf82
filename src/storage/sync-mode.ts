/** How the write-ahead log is synced: on the main thread, or in a thread of the thread pool. */
export type SyncMode = 'inline' | 'thread';

/** Median time of an fsync up to which it runs on the main thread, in milliseconds. */
const INLINE_MS = 0.5;
/** Median time below which fsyncs move back to the main thread: less than {@link INLINE_MS}, so that the mode is stable. */
const RETURN_MS = 0.4;
/** Total time of the considered fsyncs above which they leave the main thread even if the median is low, in milliseconds. */
const TOTAL_LIMIT_MS = 32;
/** Number of fsyncs whose times are considered. */
const WINDOW = 16;
/** Number of probes after which fsyncs may move back to the main thread. */
const PROBES = 5;
/** Time between two probes, in milliseconds. */
const PROBE_INTERVAL_MS = 1_000;
/**
 * Time that the fastest fsync in a thread since the last probe may take for another probe to run, in milliseconds. It
 * bounds how long a probe is expected to block the main thread.
 */
const PROBE_LIMIT_MS = 2;

/**
 * Chooses how the write-ahead log is synced, by how long that takes.
 *
 * An fsync in a thread takes 20 to 40 µs more of CPU time than one on the main thread, and while the main thread is
 * busy, a shared core delays its result by a millisecond or more. On the main thread, it blocks all requests for as long
 * as the disk takes. So it runs there only on disks that take about half a millisecond or less.
 */
export interface SyncModeChooser {
  /** Returns the mode of the next sync. In the mode `thread`, it may be `inline` about once per second, as a probe. */
  next(): SyncMode;
  /** Adds the time of a sync on the main thread. */
  inlineTook(ms: number): void;
  /** Adds the time of a sync in a thread, including the wait for the main thread. */
  threadTook(ms: number): void;
  /** Returns the mode, and the median time of the last fsyncs that were measured on the main thread. */
  current(): { readonly mode: SyncMode; readonly medianMs: number };
}

/**
 * Creates a {@link SyncModeChooser}. It starts with the mode `inline`; a few syncs before the first request decide.
 *
 * @param now returns the time of a monotonic clock in milliseconds
 */
export function createSyncModeChooser(now: () => number): SyncModeChooser {
  let mode: SyncMode = 'inline';
  let times: number[] = [];
  let fastestInThread = Number.POSITIVE_INFINITY;
  let probedAt = Number.NEGATIVE_INFINITY;
  let lastMedian = 0;

  function leaveMainThread(): void {
    mode = 'thread';
    times = [];
    restartProbing();
  }

  function restartProbing(): void {
    probedAt = now();
    fastestInThread = Number.POSITIVE_INFINITY;
  }

  return {
    next() {
      if (mode === 'inline') return 'inline';
      return fastestInThread <= PROBE_LIMIT_MS && now() - probedAt >= PROBE_INTERVAL_MS ? 'inline' : 'thread';
    },
    inlineTook(ms) {
      times.push(ms);
      if (times.length > (mode === 'inline' ? WINDOW : PROBES)) times.shift();
      lastMedian = medianOf(times);
      if (mode === 'inline') {
        const sum = times.reduce((total, time) => total + time, 0);
        if (sum > TOTAL_LIMIT_MS || (times.length >= PROBES && lastMedian > INLINE_MS)) leaveMainThread();
      } else {
        restartProbing();
        if (times.length === PROBES && lastMedian < RETURN_MS) {
          mode = 'inline';
          times = [];
        }
      }
    },
    threadTook(ms) {
      fastestInThread = Math.min(fastestInThread, ms);
    },
    current: () => ({ mode, medianMs: lastMedian }),
  };
}

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
