import type { Logger } from 'pino';
import { createApp } from './app.ts';
import { createAccess } from './auth/access.ts';
import type { Config } from './config.ts';
import { createActAsLog } from './http/act-as-log.ts';
import { listen } from './http/listener.ts';
import { createMetrics, observe, observeConnections } from './http/metrics.ts';
import { type CommitQueue, createCommitQueue } from './ingest/commit-queue.ts';
import { createIdempotency, expireResponses } from './ingest/idempotency.ts';
import { createIdSource } from './ingest/ids.ts';
import { createLedger } from './ingest/ledger.ts';
import { createRateLimit } from './ingest/rate-limit.ts';
import { createRejections } from './ingest/rejections.ts';
import { createReservations } from './ingest/reservations.ts';
import { createStamper } from './ingest/stamper.ts';
import { createUsedCodes, deleteExpiredCodes } from './ingest/used-codes.ts';
import { createUserNames } from './ingest/user-names.ts';
import { createQueryClient, type MaintenanceResult } from './query/client.ts';
import type { DeletionQuery, Maintenance } from './query/engine.ts';
import type { LogRecord } from './records.ts';
import { openStorage } from './storage/database.ts';
import type { ErasedRows } from './storage/erasure.ts';
import { openUserHash } from './storage/erasure-list.ts';
import { DELETED } from './storage/ledger.ts';
import { StorageError, toStorageError } from './storage/storage-error.ts';
import { createWriter } from './storage/writer.ts';
import { createLiveTails } from './tail/live-tails.ts';

/** Minimum burst of the byte limit per user, however low RATE_LIMIT_BYTES is. */
const BURST_BYTES = 64 * 1024 ** 2;

/** Logged length of a user's hash, enough to distinguish users. */
const LOGGED_HASH_BYTES = 8;

/** How long requests in progress may take to finish once the server stops. */
const DRAIN_TIMEOUT_MS = 6_000;

/** How often a stopping server checks whether all requests have finished. */
const DRAIN_POLL_MS = 5;

/** How often expired cached responses and sign-in codes are deleted. */
const PRUNE_INTERVAL_MS = 60_000;

/** How often the column store catches up, even if there are no queries. */
const CATCH_UP_INTERVAL_MS = 5_000;

/** The binary locates files relative to its entry point, which is in the same folder as this file. */
const QUERY_WORKER = new URL('./query/worker.ts', import.meta.url);

/** A running server. */
export interface Server {
  readonly url: URL;
  /**
   * Replaces the keys and secrets with those of a reloaded configuration. Its other settings have no effect.
   *
   * @param secret the HS256 secret in use, if any
   */
  reloadSecrets(config: Config, secret: string | undefined): Promise<void>;
  /**
   * Stops accepting requests, finishes those in progress within {@link DRAIN_TIMEOUT_MS}, and closes the database.
   */
  stop(): Promise<void>;
  /** Stops like {@link stop}, but does not write to the database: on a failing disk, any write could do more damage. */
  abandon(): Promise<void>;
}

/**
 * Opens the database, starts the query worker and the commit queue, and listens.
 *
 * @param secret the HS256 secret in use, if any
 * @param droppedLines returns the number of dropped log lines
 * @param onFailing called when the storage has failed; the process should then exit
 * @throws {Error} if the database cannot be opened, or the server cannot listen on the address; nothing stays open
 */
export async function startServer(
  config: Config,
  secret: string | undefined,
  log: Logger,
  droppedLines: () => number,
  onFailing: () => void,
): Promise<Server> {
  const now = Date.now;
  const monotonic = () => performance.now();
  const access = await createAccess(config, secret, log);
  const storage = openStorage(config.databasePath);
  let hashUser: ReturnType<typeof openUserHash>;
  try {
    hashUser = openUserHash(config.databasePath); // fails early: the query worker needs the same key
  } catch (error) {
    storage.close();
    throw error;
  }
  if (storage.walReport && storage.walReport.dropped > 0) {
    const { committed, dropped } = storage.walReport;
    log.warn({ committed, dropped }, 'invalid frames at the end of the write-ahead log were dropped');
  }
  let openQueue: CommitQueue | undefined;
  /** Reports that the disk has failed, whether a commit or a query noticed it. */
  function fail(storageError: StorageError): void {
    log.fatal({ err: storageError }, 'the storage has failed: the server is stopping');
    onFailing();
  }
  const queries = createQueryClient({
    path: config.databasePath,
    worker: QUERY_WORKER,
    timeoutMs: config.queryTimeoutMs,
    maxResultBytes: config.maxResultBytes,
    idleTimeoutMs: config.idleTimeoutSeconds * 1000,
    onDamaged(reason) {
      openQueue?.halt(new StorageError('corrupt', reason));
      // a disk that has failed can return anything: then the process must exit, as when a commit notices it
      Promise.try(storage.sync).then(
        () =>
          log.fatal(
            { err: reason },
            'the database is damaged: recording has stopped. Run "rawlog verify" to list the damage, or restore a backup',
          ),
        (error: unknown) => {
          if (stopping === undefined) fail(toStorageError(error)); // stopping closes the write-ahead log
        },
      );
    },
    log,
  });
  const tails = createLiveTails(now, config.idleTimeoutSeconds);
  let stopping: Promise<void> | undefined;
  try {
    const metrics = createMetrics();
    const writer = createWriter(storage, metrics.commit);
    const ledger = createLedger(writer.counts());
    const rejections = createRejections(now);
    const userNames = createUserNames(writer, storage.hash, config.maxNamesPerUser);
    const queueBounds = { rows: config.maxQueueRows, bytes: config.maxQueueBytes };
    const queue = createCommitQueue(writer, ledger, queueBounds, fail, publish);
    openQueue = queue;
    observe(metrics, { ledger, queue, tails, droppedLines, databasePath: config.databasePath });
    const { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser, rateLimit, rateLimitBytes } = config;
    const shortHash = (userId: string) => hashUser(userId).toString('hex', 0, LOGGED_HASH_BYTES);
    const app = createApp({
      access: {
        verify: access.verify,
        failedAuthentications: createRateLimit('failed-authentication', config.authFailureLimit, 0, monotonic),
        metricsToken: access.metricsToken,
        signingSecret: access.signingSecret,
        jwt: config.jwt,
        usedCodes: createUsedCodes(writer, queue),
        now,
        acceptedBySecret: access.acceptedBySecret,
        corsOrigins: config.corsOrigins,
        trustedProxies: config.trustedProxies,
      },
      ingest: {
        queue,
        reservations: createReservations(queue, queueBounds, config.maxBodyBytes),
        idempotency: createIdempotency(writer, now),
        stamper: createStamper(createIdSource(now, writer.lastSeq()), now, config.maxClockSkewUs),
        userNames,
        ledger,
        rejections,
        rows: createRateLimit('rows', rateLimit, maxBatchItems, monotonic),
        bytes: createRateLimit('bytes', rateLimitBytes, Math.max(BURST_BYTES, maxBodyBytes), monotonic),
        actAs: createActAsLog(log, shortHash, metrics.actAs, monotonic),
      },
      reading: { queries, tails },
      removal: { erase, deleteRecords },
      metrics,
      settings: {
        limits: { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser, rateLimit, rateLimitBytes },
        queueBounds,
        databasePath: config.databasePath,
        syncStatus: storage.syncStatus,
        idleTimeoutSeconds: config.idleTimeoutSeconds,
      },
      isOpen: () => stopping === undefined,
      log,
    });
    const { host: hostname, port, idleTimeoutSeconds } = config;
    const listener = listen(app, { hostname, port, idleTimeoutSeconds }, log);
    observeConnections(metrics, listener);
    const pruneTimer = setInterval(() => {
      try {
        deleteExpiredCodes(writer, now);
      } catch (error) {
        log.warn({ err: error }, 'expired sign-in codes could not be deleted; retrying in a minute');
      }
      expireResponses(writer, now, () => stopping === undefined).catch((error: unknown) => {
        log.warn({ err: error }, 'expired cached responses could not be deleted; retrying in a minute');
      });
    }, PRUNE_INTERVAL_MS);
    const catchUpTimer = setInterval(() => {
      void catchUp();
      // so that "rawlog status", which reads the file, counts rejections of a server that stores nothing
      if (ledger.hasUnwritten()) queue.store([], 0).catch(() => {}); // the next commit writes them, and reports errors
    }, CATCH_UP_INTERVAL_MS);
    let isCatchingUp = false;
    /** Restart count of the query worker when it last resumed interrupted maintenance. */
    let resumedAtRestart: number | undefined;
    void catchUp();

    return {
      url: listener.url,
      reloadSecrets: access.reload,
      async stop() {
        stopping ??= drain();
        await stopping;
        await queries.close();
        if (queries.health().isDamaged) throw new Error('the database is damaged and was not written to');
        await queue.close();
        storage.close();
      },
      async abandon() {
        stopping ??= drain();
        await stopping;
        await queries.close();
      },
    };

    /** Erases all rows of a user that were received before the call, and everything derived from them. */
    async function erase(userId: string): Promise<ErasedRows> {
      const erased = await removeRows('erase', userId);
      rejections.removeUser(userId);
      userNames.invalidate(userId);
      return erased;
    }

    /** Deletes, or only counts, all records that match a filter and were received before the call. */
    async function deleteRecords(query: DeletionQuery, isDryRun: boolean): Promise<number> {
      return removeRows(isDryRun ? 'countMatching' : 'delete', query);
    }

    /** Runs maintenance that deletes rows received before the call. If it fails, the next catch-up finishes it. */
    async function removeRows<Name extends 'erase' | 'delete' | 'countMatching'>(
      name: Name,
      argument: Parameters<Maintenance[Name]>[0],
    ): Promise<MaintenanceResult<Name>> {
      // requests commit in the order of their IDs: once this resolves, all earlier ones are committed
      await queue.store([], 0);
      try {
        const result = await queries.maintain(name, argument);
        recordRemoval();
        return result;
      } catch (error) {
        resumedAtRestart = undefined;
        throw error;
      }
    }

    /** Updates the state that erasures and deletions have changed. */
    function recordRemoval(): void {
      ledger.setDeleted(new Map(writer.counts()).get(DELETED) ?? 0);
      storage.stampWal(); // the write-ahead log may have been restarted
    }

    /** Applies new rows to the column store in batches, until no work is left. Never runs twice at once. */
    async function catchUp(): Promise<void> {
      if (isCatchingUp) return;
      isCatchingUp = true;
      try {
        const { restarts } = queries.health();
        if (resumedAtRestart !== restarts) {
          await queries.maintain('resume', undefined);
          resumedAtRestart = restarts;
          recordRemoval();
        }
        let hasMore: boolean;
        do {
          hasMore = await queries.maintain('catchUp', undefined);
          storage.stampWal();
        } while (hasMore && stopping === undefined);
      } catch (error) {
        if (stopping === undefined) {
          log.warn({ err: error }, 'the column store could not catch up; retrying in 5 seconds');
        }
      } finally {
        isCatchingUp = false;
      }
    }

    /** Publishes committed records to live-tail subscribers. Errors never affect recording. */
    function publish(records: readonly LogRecord[]): void {
      try {
        tails.publish(records);
      } catch (error) {
        log.error({ err: error }, 'records could not be published to live tails');
      }
    }

    async function drain(): Promise<void> {
      clearInterval(pruneTimer);
      clearInterval(catchUpTimer);
      tails.close();
      listener.stop();
      for (const deadline = performance.now() + DRAIN_TIMEOUT_MS; listener.pendingRequests() > 0; ) {
        if (performance.now() >= deadline) break;
        await Bun.sleep(DRAIN_POLL_MS);
      }
      await listener.close();
    }
  } catch (error) {
    await queries.close();
    storage.close();
    throw error;
  }
}
