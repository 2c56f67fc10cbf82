import { dirname } from 'node:path';
import type { Logger } from 'pino';
import type { Config } from '../config.ts';
import { readFreeBytes } from '../free-bytes.ts';
import type { QueryClient } from '../query/client.ts';
import { type AlertName, messageOf, type Observation } from './alert.ts';
import { type OnQuery, runInBackground } from './background-queries.ts';
import { type BackupParts, createBackupCheck } from './backup.ts';
import { createDiskCheck } from './disk.ts';
import { createRecordingCheck, type RecordingParts } from './recording.ts';
import { createSilenceCheck } from './silence.ts';
import { alertsPath, loadAlerts, saveAlerts } from './state-file.ts';
import { createThresholdCheck } from './thresholds.ts';
import { type AlertEntry, createTracker } from './tracker.ts';
import { postMessage } from './webhook.ts';

/** How often conditions are checked that need no query, and messages sent. */
const TICK_MS = 10_000;
/** How often conditions are checked that need queries. */
const QUERY_INTERVAL_MS = 60_000;
/** Delay before a message is sent again. Doubles after each failure; up to a quarter less at random. */
const RETRY_DELAY_MS = { initial: 10_000, longest: 600_000 };
/** Longest delay that a receiver can ask for. */
const MAX_RETRY_AFTER_MS = 3600_000;
/** How long closing waits for a message that is being sent after the storage has failed, and for the file otherwise. */
const CLOSE_TIMEOUT_MS = { failed: 2_000, stopped: 500 };

/** The alerts of a running server. They never delay recording: errors are logged. */
export interface Alerts {
  /** The number of firing alerts. */
  firing(): number;
  /** The number of failed deliveries, and of changes that were dropped because too many were waiting. */
  failures(): number;
  /** Reports that the storage has failed, before the server stops. */
  storageFailed(): void;
  /** Replaces the webhook, and sends what is waiting. */
  setWebhook(url: URL): void;
  /** Checks all conditions and sends messages. Called by timers; never runs twice at once. */
  tick(): Promise<void>;
  /** Stops checking and sending. What was not sent is sent after the next start. */
  close(): Promise<void>;
}

/** What alerts are created from. */
export interface AlertParts extends Omit<RecordingParts, 'hasFailed' | 'queries'> {
  readonly config: Pick<
    Config,
    'alertThresholds' | 'alertSilence' | 'databasePath' | 'minFreeBytes' | 'backupEverySeconds'
  >;
  /** ALERT_WEBHOOK. */
  readonly webhook: URL;
  readonly queries: Pick<QueryClient, 'run' | 'health'>;
  readonly onQuery: OnQuery;
  /** Undefined without BACKUP_DIR. */
  readonly schedule: BackupParts['schedule'] | undefined;
  /** The name of the machine. */
  readonly host: string;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  /** A clock that is never set, in milliseconds. */
  readonly monotonic: () => number;
  readonly log: Logger;
}

/** Starts to check the conditions of alerts. The alerts of the last run are continued. */
export function startAlerts(parts: AlertParts): Alerts {
  const alerts = createAlerts(parts);
  const timer = setInterval(() => void alerts.tick(), TICK_MS);
  void alerts.tick();
  return {
    ...alerts,
    close() {
      clearInterval(timer);
      return alerts.close();
    },
  };
}

/** As {@link startAlerts}, without timers. */
export function createAlerts(parts: AlertParts): Alerts {
  const { config, queries, schedule, host, now, monotonic, log } = parts;
  const { databasePath, minFreeBytes } = config;
  const path = alertsPath(databasePath);
  const tracker = createTracker(loadKnown(), now, monotonic);
  const closing = new AbortController();
  const startedAt = monotonic();
  let webhook = parts.webhook;
  let hasFailed = false;
  /** The checks and deliveries in progress. */
  let checking: Promise<void> | undefined;
  let delivering: Promise<void> | undefined;
  let nextQueriesAt = Number.NEGATIVE_INFINITY;
  let nextDeliveryAt = Number.NEGATIVE_INFINITY;
  let failedInRow = 0;
  let failures = 0;
  /** The writes of the file, one after another, and what ends the wait for them if the disk has failed. */
  let saving = Promise.resolve();
  let stopWaiting = () => {};
  /** The content of the file, to write it only when it changes. */
  let saved = JSON.stringify(tracker.entries().map(persistentPart));

  const isStopping = () => closing.signal.aborted;
  const uptimeSeconds = () => (monotonic() - startedAt) / 1000;
  const run = runInBackground(queries, closing.signal, parts.onQuery);
  const shared = { run, isStopping, uptimeSeconds, now, monotonic, log };
  const checkRecording = createRecordingCheck({ ...parts, hasFailed: () => hasFailed });
  const checkDisk = createDiskCheck({ freeBytes: () => readFreeBytes(dirname(databasePath)), minFreeBytes, monotonic });
  const checkBackup =
    schedule && createBackupCheck({ schedule, everySeconds: config.backupEverySeconds, now, uptimeSeconds });
  const checkThresholds = createThresholdCheck({ ...shared, thresholds: config.alertThresholds });
  const checkSilence = createSilenceCheck({ ...shared, rules: config.alertSilence });

  function loadKnown(): AlertEntry[] {
    try {
      return loadAlerts(path);
    } catch (error) {
      log.warn({ err: error }, 'the alerts of the last run could not be read: those that still last are sent again');
      return [];
    }
  }

  /** Checks the conditions that need no query. Never throws: timers and the failure of the storage call it. */
  function checkState(): void {
    attempt('recording', checkRecording);
    if (hasFailed) return; // the disk may not respond
    attempt('backup', () => checkBackup?.() ?? []);
    attempt('disk', checkDisk);
  }

  function attempt(alert: AlertName, check: () => Observation[]): void {
    try {
      tracker.apply(alert, check());
    } catch (error) {
      log.error({ err: error, alert }, 'the condition of an alert cannot be checked; retrying in ten seconds');
    }
  }

  async function checkQueries(): Promise<void> {
    if (monotonic() < nextQueriesAt || queries.health().isDamaged) return;
    nextQueriesAt = monotonic() + QUERY_INTERVAL_MS;
    const thresholds = await checkThresholds();
    if (!isStopping()) tracker.apply('threshold', thresholds);
    const silence = await checkSilence(tracker.firingKeys('silence'));
    if (!isStopping() && silence) tracker.apply('silence', silence);
  }

  /** Saves the alerts if they have changed. Waits for a disk only if it has not failed: it may never respond. */
  function save(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    stopWaiting = resolve;
    saving = saving.then(writeChanges).then(resolve);
    if (hasFailed) resolve();
    return promise;
  }

  /** Writes the file if the alerts have changed. If that fails, the server continues, and a restart may repeat messages. */
  async function writeChanges(): Promise<void> {
    const entries = tracker.entries();
    const content = JSON.stringify(entries.map(persistentPart));
    if (content === saved) return;
    try {
      await saveAlerts(path, entries);
      saved = content;
    } catch (error) {
      log.warn({ err: error }, 'the alerts could not be saved: after a restart, messages may be repeated');
    }
  }

  /** Sends what the receiver does not know, one message after another. */
  async function deliver(): Promise<void> {
    await save(); // so that a restart continues these alerts
    for (let entry = tracker.pending(); entry && !isStopping() && monotonic() >= nextDeliveryAt; ) {
      const failure = await postMessage(webhook, messageOf(entry, host), closing.signal);
      if (isStopping() && failure) return;
      if (failure) {
        const backoff = Math.min(RETRY_DELAY_MS.initial * 2 ** failedInRow++, RETRY_DELAY_MS.longest);
        const asked = Math.min((failure.retryAfterSeconds ?? 0) * 1000, MAX_RETRY_AFTER_MS);
        const delay = Math.max(backoff * (1 - Math.random() / 4), asked);
        nextDeliveryAt = monotonic() + delay;
        failures++;
        const { reason } = failure;
        log.warn({ host: webhook.host, reason, retry_in_ms: Math.round(delay) }, 'an alert could not be delivered');
        return;
      }
      failedInRow = 0;
      tracker.delivered(entry);
      log.info({ host: webhook.host, alert: entry.alert, status: entry.status }, 'an alert was delivered');
      await save();
      entry = tracker.pending();
    }
  }

  function reportError(error: unknown): void {
    log.error({ err: error }, 'alerts could not be checked or sent; retrying in ten seconds');
  }

  function startDelivery(): Promise<void> {
    delivering ??= deliver()
      .catch(reportError)
      .finally(() => {
        delivering = undefined;
      });
    return delivering;
  }

  async function check(): Promise<void> {
    checkState();
    const delivery = startDelivery(); // queries may take long
    await checkQueries();
    await delivery;
    await startDelivery();
  }

  return {
    firing: tracker.firing,
    failures: () => failures + tracker.dropped(),
    storageFailed() {
      hasFailed = true;
      checkState();
      stopWaiting();
      void startDelivery();
    },
    setWebhook(url) {
      webhook = url;
      nextDeliveryAt = Number.NEGATIVE_INFINITY;
      if (!isStopping()) void startDelivery();
    },
    tick() {
      if (isStopping()) return Promise.resolve();
      if (checking) {
        checkState(); // a long query must not delay what needs none
        return startDelivery();
      }
      checking = check()
        .catch(reportError)
        .finally(() => {
          checking = undefined;
        });
      return checking;
    },
    async close() {
      if (hasFailed && delivering) await Promise.race([delivering, Bun.sleep(CLOSE_TIMEOUT_MS.failed)]);
      closing.abort();
      await Promise.race([Promise.allSettled([checking, delivering, saving]), Bun.sleep(CLOSE_TIMEOUT_MS.stopped)]);
    },
  };
}

/** Returns what makes it worth saving an entry; the rest changes with every check. */
function persistentPart({ alert, key, status, since, notifiedAt }: AlertEntry) {
  return [alert, key, status, since, notifiedAt];
}
