import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { S3Access } from '../formats/s3.ts';
import { openBackupStore } from './backup-store.ts';
import type { BackupOutcome, BackupTask } from './worker.ts';

/** Longest delay of a timer, in milliseconds; longer waits consist of several. */
const MAX_DELAY_MS = 3_600_000;
/** Delay before a failed backup is tried again, in milliseconds. Doubles after each failure. */
const RETRY_DELAY_MS = { initial: 60_000, max: 3_600_000 };
/** Time that the worker has to cancel a backup when the server stops, in milliseconds. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Scheduled backups of a running server. Errors are logged and never affect recording. */
export interface BackupSchedule {
  /** Returns when the newest backup was taken, in milliseconds since 1970; undefined if there is none. */
  lastAt(): number | undefined;
  /** BACKUP_EVERY, in seconds. */
  readonly everySeconds: number;
  /** Returns when the next backup is due, or a failed one is tried again, in milliseconds since 1970; now if one is made. */
  nextAt(): number;
  /** Returns how many times in a row a backup has failed since the last one that succeeded. */
  failures(): number;
  /** Stops the schedule, and cancels a backup that is being made. */
  close(): Promise<void>;
}

/** Options of {@link startBackups}. */
export interface ScheduleOptions extends Omit<BackupTask, 'canceled' | 's3'> {
  /** Returns how to reach S3, which may change. */
  readonly s3: () => S3Access;
  /** The URL of the worker's file. */
  readonly worker: URL;
  readonly everySeconds: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  readonly log: Logger;
}

/**
 * Starts making backups. The first one is due if the newest in BACKUP_DIR is older than the interval, so restarts neither
 * skip nor repeat backups. Until BACKUP_DIR was listed, nothing is known about the newest one.
 */
export function startBackups({ worker: url, everySeconds, now, log, s3, ...task }: ScheduleOptions): BackupSchedule {
  const canceled = new SharedArrayBuffer(4);
  let last: number | undefined;
  let isListed = false;
  let failures = 0;
  let failedAt = 0;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let running: Promise<void> | undefined;
  let worker: Worker | undefined;
  let isClosed = false;

  /** Returns how long to wait for the next backup, in milliseconds. */
  function delay(): number {
    if (failures > 0) {
      const retryDelay = Math.min(RETRY_DELAY_MS.initial * 2 ** (failures - 1), RETRY_DELAY_MS.max);
      return failedAt + retryDelay - performance.now();
    }
    // a clock that was set back must not suspend backups
    return last === undefined || last > now() ? 0 : last + everySeconds * 1000 - now();
  }

  function schedule(): void {
    if (isClosed) return;
    const wait = delay();
    timer = setTimeout(
      () => {
        if (delay() > 0) schedule();
        else running = run().finally(schedule);
      },
      Math.min(Math.max(0, wait), MAX_DELAY_MS),
    );
  }

  async function run(): Promise<void> {
    const outcome = isListed ? await runWorker() : await list();
    if (outcome === undefined) failures = 0;
    else if ('stored' in outcome) {
      failures = 0;
      last = outcome.stored.takenAt;
      const { deleted, undeletable, milliseconds } = outcome;
      log.info({ file: outcome.stored.path, deleted, ms: milliseconds }, 'backup stored');
      if (undeletable > 0) log.warn({ count: undeletable }, 'old backups could not be deleted');
    } else if (!isClosed) {
      failures++;
      failedAt = performance.now();
      log.error({ reason: outcome.failed, retry_in_ms: Math.round(delay()) }, 'the backup failed');
    }
  }

  /** Finds the newest backup. Returns only why it cannot be found. */
  async function list(): Promise<Extract<BackupOutcome, { failed: string }> | undefined> {
    try {
      last = (await openBackupStore(task.backupDir, s3()).list()).at(-1)?.takenAt;
      isListed = true;
      return undefined;
    } catch (error) {
      return { failed: `BACKUP_DIR cannot be read: ${(error as Error).message}` }; // neither throws anything else
    }
  }

  function runWorker(): Promise<BackupOutcome> {
    const { promise, resolve } = Promise.withResolvers<BackupOutcome>();
    let deadline: ReturnType<typeof setTimeout> | undefined;
    let outcome: BackupOutcome = { failed: 'the backup worker exited' };
    const started = new Worker(url, { workerData: { ...task, s3: s3(), canceled } satisfies BackupTask });
    worker = started;
    started.on('message', (message: BackupOutcome) => {
      outcome = message;
      // requests to S3 that were given up would keep the thread alive for minutes
      deadline = setTimeout(() => void started.terminate(), CLOSE_TIMEOUT_MS);
    });
    started.on('error', (error: Error) => {
      outcome = { failed: error.message };
    });
    started.on('exit', () => {
      clearTimeout(deadline);
      worker = undefined;
      resolve(outcome);
    });
    return promise;
  }

  schedule();
  return {
    lastAt: () => last,
    everySeconds,
    nextAt: () => now() + Math.max(0, delay()),
    failures: () => failures,
    async close() {
      isClosed = true;
      clearTimeout(timer);
      Atomics.store(new Int32Array(canceled), 0, 1);
      const deadline = setTimeout(() => void worker?.terminate(), CLOSE_TIMEOUT_MS);
      await Promise.race([running, Bun.sleep(2 * CLOSE_TIMEOUT_MS)]);
      clearTimeout(deadline);
    },
  };
}
