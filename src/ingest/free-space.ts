import { dirname } from 'node:path';
import type { Logger } from 'pino';
import { readFreeBytes } from '../free-bytes.ts';

/** How often the free space is read, in milliseconds. One call of statfs takes a few microseconds. */
const CHECK_INTERVAL_MS = 1_000;
/**
 * How far the free space must rise above the minimum before recording resumes, relative to the minimum. Otherwise recording
 * would stop and resume with every checkpoint of the write-ahead log.
 */
const HYSTERESIS = 0.05;

/** How often a sample is kept for the forecast, how old they get, and the time they must cover, in seconds. */
const SAMPLE_SECONDS = 300;
const FORECAST_SECONDS = 6 * 3600;
const MIN_FORECAST_SECONDS = 600;

/** Free space is low below this multiple of MIN_FREE_BYTES. */
export const LOW_SPACE = 2;

/** Watches the free space on the disk of the database. */
export interface FreeSpace {
  /** Returns whether free space is below twice the minimum: what could be deleted is then not kept any longer. */
  isLow(): boolean;
  /** Returns whether the disk is too full to record. Reads no file: {@link FreeSpace} checks once per second. */
  isShort(): boolean;
  /** Free space below which nothing is recorded. */
  readonly minBytes: number;
  /**
   * Returns after how many seconds the disk will be too full, at the rate at which its free space has shrunk in the last
   * hours; undefined if it has not shrunk, or if there was too little time to tell.
   */
  secondsLeft(): number | undefined;
  /** Stops watching. */
  close(): void;
}

/**
 * Watches the free space on the disk of a database.
 *
 * @param minBytes recording stops below this; 0: it stops only when a commit fails because the disk is full
 * @param onLow called when free space falls below twice the minimum, and again when the disk is too full
 */
export function watchFreeSpace(
  databasePath: string,
  minBytes: number,
  log: Logger,
  onLow: () => void = () => {},
): FreeSpace {
  const folder = dirname(databasePath);
  let bytes: number | undefined;
  let isShort = false;
  let isLow = false;
  const forecast = createForecast(minBytes);

  function check(): void {
    try {
      bytes = readFreeBytes(folder);
    } catch (error) {
      // a disk that cannot be read fails the next commit too, which reports it
      if (bytes !== undefined) log.warn({ err: error }, 'the free disk space cannot be determined');
      bytes = undefined;
      isShort = false;
      isLow = false;
      return;
    }
    forecast.add(performance.now() / 1000, bytes);
    const wasLow = isLow;
    isLow = bytes < LOW_SPACE * minBytes;
    if (isLow && !wasLow) onLow();
    const limits = { free_bytes: bytes, min_free_bytes: minBytes };
    if (!isShort && bytes < minBytes) {
      isShort = true;
      log.error(limits, 'recording has stopped: free disk space is below MIN_FREE_BYTES');
      onLow();
    } else if (isShort && bytes >= minBytes * (1 + HYSTERESIS)) {
      isShort = false;
      log.warn(limits, 'recording has resumed: there is enough free disk space again');
    }
  }

  check();
  const timer = setInterval(check, CHECK_INTERVAL_MS);
  return {
    minBytes,
    isShort: () => isShort,
    isLow: () => isLow,
    secondsLeft: forecast.secondsLeft,
    close: () => clearInterval(timer),
  };
}

/** Predicts when the disk will be too full, from its free space at several times. */
export interface Forecast {
  /** Adds the free space at a time in seconds. Times must ascend. */
  add(seconds: number, bytes: number): void;
  /** As {@link FreeSpace.secondsLeft}. */
  secondsLeft(): number | undefined;
}

/** Creates a forecast that extrapolates the last six hours. */
export function createForecast(minBytes: number): Forecast {
  const samples: { readonly seconds: number; readonly bytes: number }[] = [];
  let latest: { readonly seconds: number; readonly bytes: number } | undefined;
  return {
    add(seconds, bytes) {
      latest = { seconds, bytes };
      if (seconds - (samples.at(-1)?.seconds ?? Number.NEGATIVE_INFINITY) < SAMPLE_SECONDS) return;
      samples.push(latest);
      while (seconds - (samples[0]?.seconds ?? seconds) > FORECAST_SECONDS) samples.shift();
    },
    secondsLeft() {
      const [oldest] = samples;
      if (!oldest || !latest || latest.seconds - oldest.seconds < MIN_FORECAST_SECONDS) return undefined;
      const bytesPerSecond = (oldest.bytes - latest.bytes) / (latest.seconds - oldest.seconds);
      if (bytesPerSecond <= 0) return undefined;
      return Math.max(0, Math.round((latest.bytes - minBytes) / bytesPerSecond));
    },
  };
}
