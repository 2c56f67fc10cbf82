import type { Observation } from './alert.ts';
import { durationText } from './text.ts';

/** How often the free space is sampled, and how long samples are kept, in seconds. */
const SAMPLE_SECONDS = 600;
const KEPT_SECONDS = 86_400;
/** Samples that a trend needs: those of an hour. */
const MIN_SAMPLES = 7;
/** The alert fires if the disk will be full within a week, and is resolved once it will not be within eight days. */
const FIRES_BELOW_SECONDS = 7 * 86_400;
const RESOLVED_ABOVE_SECONDS = 8 * 86_400;
/**
 * How far a trend is extrapolated, relative to the time that its samples cover: six hours of samples for a week. Otherwise an
 * import of an hour would look like a disk that fills up.
 */
const MAX_EXTRAPOLATION = 28;

/** What the check reads. */
export interface DiskParts {
  /** Returns the free space on the disk of the database, in bytes. Called once per sample. */
  readonly freeBytes: () => number;
  /** Free space below which nothing is recorded. */
  readonly minFreeBytes: number;
  /** A clock that is never set, in milliseconds. */
  readonly monotonic: () => number;
}

/** Free space at a time. */
interface Sample {
  readonly seconds: number;
  readonly bytes: number;
}

/**
 * Creates the check whether the disk fills up within a week, at the median rate of the last day: that is the median of the
 * slopes between all pairs of samples (Theil–Sen estimator). It ignores jumps, such as those of a backup, an export or a
 * pruning, as long as fewer than 29 % of the samples are affected.
 */
export function createDiskCheck({ freeBytes, minFreeBytes, monotonic }: DiskParts): () => Observation[] {
  const samples: Sample[] = [];
  let observation: Observation = observe(undefined);

  function observe(seconds: number | undefined): Observation {
    const latest = samples.at(-1);
    const span = (latest?.seconds ?? 0) - (samples[0]?.seconds ?? 0);
    const within = Math.min(FIRES_BELOW_SECONDS, MAX_EXTRAPOLATION * span);
    const isKnown = samples.length >= MIN_SAMPLES;
    const left = seconds ?? Number.POSITIVE_INFINITY;
    return {
      key: '',
      // neither between the two limits, nor beyond what the trend can tell
      isActive: !isKnown ? undefined : left < within ? true : left >= RESOLVED_ABOVE_SECONDS ? false : undefined,
      clearAfterSeconds: 3_600,
      summary:
        seconds === undefined
          ? ''
          : `The disk of the database will be full in ${durationText(seconds)}: recording stops below MIN_FREE_BYTES.`,
      details: {
        free_bytes: latest?.bytes ?? null,
        min_free_bytes: minFreeBytes,
        full_in_seconds: seconds === undefined ? null : Math.round(seconds),
      },
    };
  }

  return () => {
    const seconds = monotonic() / 1000;
    if (seconds - (samples.at(-1)?.seconds ?? Number.NEGATIVE_INFINITY) >= SAMPLE_SECONDS) {
      samples.push({ seconds, bytes: freeBytes() });
      while (seconds - (samples[0]?.seconds ?? seconds) > KEPT_SECONDS) samples.shift();
      observation = observe(secondsUntilFull(samples, minFreeBytes));
    }
    return [observation];
  };
}

/** Returns after how many seconds the free space reaches the minimum; undefined if it does not shrink. */
function secondsUntilFull(samples: readonly Sample[], minFreeBytes: number): number | undefined {
  const latest = samples.at(-1);
  if (!latest || samples.length < 2) return undefined;
  const slopes = new Float64Array((samples.length * (samples.length - 1)) / 2);
  let at = 0;
  for (const [i, a] of samples.entries()) {
    for (const b of samples.slice(i + 1)) slopes[at++] = (b.bytes - a.bytes) / (b.seconds - a.seconds);
  }
  slopes.sort();
  const median = slopes[slopes.length >> 1] as number;
  return median < 0 ? Math.max(0, (latest.bytes - minFreeBytes) / -median) : undefined;
}
