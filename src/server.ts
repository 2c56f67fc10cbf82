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
import { createQueryClient } from './query/client.ts';
import type { LogRecord } from './records.ts';
import { openStorage } from './storage/database.ts';
import type { Erased } from './storage/erasure.ts';
import { openUserHash } from './storage/erasure-list.ts';
import { StorageError } from './storage/storage-error.ts';
import { createWriter } from './storage/writer.ts';
import { createLiveTails } from './tail/live-tails.ts';

/** Bytes that an idle user may send at once, whatever RATE_LIMIT_BYTES is. */
const BYTES_BURST = 64 * 1024 ** 2;

/** How much of a user's hash is logged: enough to tell users apart. */
const LOGGED_HASH_BYTES = 8;

/** How long requests under way may take once the server stops, in milliseconds. */
const DRAIN_DEADLINE = 6_000;

/** How often to look whether they are done, in milliseconds. */
const DRAIN_POLL = 5;

/** How often answers past their time are forgotten, in milliseconds. */
const PRUNE_INTERVAL = 60_000;

/** How often the column store takes in new rows when nobody asks, in milliseconds. */
const FOLLOW_INTERVAL = 5_000;

/** In the binary, files are found by their place relative to the entry: this file is beside it. */
const QUERY_WORKER = new URL('./query/worker.ts', import.meta.url);

/** A running server. */
export interface Server {
  readonly url: URL;
  /**
   * Verifies tokens by the keys of a configuration that was read again; nothing else in it takes effect.
   *
   * @param secret the HS256 secret in use, if any
   */
  reloadSecrets(config: Config, secret: string | undefined): Promise<void>;
  /**
   * Takes no new requests, finishes those under way within {@link DRAIN_DEADLINE}, and closes the
   * database.
   */
  stop(): Promise<void>;
  /** As {@link stop}, but leaves the storage as it is: on a failing disk, every further write may make it worse. */
  abandon(): Promise<void>;
}

/**
 * Opens the parts in order, each made for the next, and listens.
 *
 * @param secret the HS256 secret in use, if any
 * @param droppedLines how many lines of the log have been dropped
 * @param onFailing called when the storage is broken, so that going on would lose records
 * @throws when the database cannot be opened or the address cannot be listened on; nothing stays open
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
    hashUser = openUserHash(config.databasePath); // the query worker needs its key, and would fail later
  } catch (error) {
    storage.close();
    throw error;
  }
  if (storage.log && storage.log.dropped > 0) {
    const { committed, dropped } = storage.log;
    log.warn({ committed, dropped }, 'frames at the end of the write-ahead log did not verify and were dropped');
  }
  let recording: CommitQueue | undefined;
  const queries = createQueryClient({
    path: config.databasePath,
    worker: QUERY_WORKER,
    timeoutMs: config.queryTimeoutMs,
    maxResultBytes: config.maxResultBytes,
    idleTimeoutMs: config.idleTimeoutSeconds * 1000,
    onDamaged(reason) {
      log.fatal(
        { err: reason },
        'the database is damaged: recording has stopped. Restore a backup, or run "rawlog verify"',
      );
      recording?.halt(new StorageError('corrupt', reason));
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
    const queue = createCommitQueue(
      writer,
      ledger,
      queueBounds,
      (storageError) => {
        log.fatal({ err: storageError }, 'the storage is failing');
        onFailing();
      },
      publish,
    );
    recording = queue;
    observe(metrics, { ledger, queue, tails, droppedLines, databasePath: config.databasePath });
    const { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser, rateLimit, rateLimitBytes } = config;
    const shortHash = (userId: string) => hashUser(userId).toString('hex', 0, LOGGED_HASH_BYTES);
    const app = createApp({
      access: {
        verify: access.verify,
        failedLogins: createRateLimit('failed-authentication', config.authFailureLimit, 0, monotonic),
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
        stamper: createStamper(createIdSource(now, writer.lastSeq()), now, config.maxClockSkew),
        userNames,
        ledger,
        rejections,
        rows: createRateLimit('rows', rateLimit, maxBatchItems, monotonic),
        bytes: createRateLimit('bytes', rateLimitBytes, Math.max(BYTES_BURST, maxBodyBytes), monotonic),
        actAs: createActAsLog(log, shortHash, metrics.actAs, monotonic),
      },
      reading: { queries, tails },
      erase,
      metrics,
      settings: {
        limits: { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser, rateLimit, rateLimitBytes },
        queueBounds,
        databasePath: config.databasePath,
        idleTimeoutSeconds: config.idleTimeoutSeconds,
      },
      isOpen: () => stopping === undefined,
      log,
    });
    const { host: hostname, port, idleTimeoutSeconds } = config;
    const listener = listen(app, { hostname, port, idleTimeoutSeconds }, log);
    observeConnections(metrics, listener);
    const pruning = setInterval(() => {
      try {
        deleteExpiredCodes(writer, now);
      } catch (error) {
        log.warn({ err: error }, 'used sign-in codes could not be deleted; the next attempt follows');
      }
      expireResponses(writer, now, () => stopping === undefined).catch((error: unknown) => {
        log.warn({ err: error }, 'cached responses could not be expired; the next attempt follows');
      });
    }, PRUNE_INTERVAL);
    const following = setInterval(() => void follow(), FOLLOW_INTERVAL);
    let isFollowing = false;
    /** Restarts of the query worker before the one that has finished what was begun before it. */
    let resumedAt: number | undefined;
    void follow();

    return {
      url: listener.url,
      reloadSecrets: access.reload,
      async stop() {
        stopping ??= drain();
        await stopping;
        await queries.close();
        if (queries.health().isDamaged) throw new Error('the database is damaged: it was left as it is');
        await queue.close();
        storage.close();
      },
      async abandon() {
        stopping ??= drain();
        await stopping;
        await queries.close();
      },
    };

    /** Erases a user: every row of a request that was received before, and everything derived from them. */
    async function erase(userId: string): Promise<Erased> {
      // requests are committed in the order of their IDs: behind this commit, none of them is still waiting
      await queue.store([], 0);
      const erased = await queries.maintain('erase', userId);
      noteErased(erased);
      storage.noteLog(); // it has begun the write-ahead log again
      rejections.removeUser(userId);
      userNames.invalidate(userId);
      return erased;
    }

    function noteErased({ metrics, analytics }: Erased): void {
      ledger.deleted(metrics + analytics);
    }

    /** Lets the column store take in what is new, piece by piece; once at a time. */
    async function follow(): Promise<void> {
      if (isFollowing) return;
      isFollowing = true;
      try {
        const { restarts } = queries.health();
        if (resumedAt !== restarts) noteErased(await queries.maintain('resume', undefined));
        resumedAt = restarts;
        await queries.maintain('catchUp', undefined);
        storage.noteLog();
      } catch (error) {
        if (stopping === undefined)
          log.warn({ err: error }, 'the column store could not follow; the next attempt does');
      } finally {
        isFollowing = false;
      }
    }

    /** Shows records to those who look on. Whatever goes wrong with that, recording goes on. */
    function publish(records: readonly LogRecord[]): void {
      try {
        tails.publish(records);
      } catch (error) {
        log.error({ err: error }, 'records could not be shown to those who look on');
      }
    }

    async function drain(): Promise<void> {
      clearInterval(pruning);
      clearInterval(following);
      tails.close();
      listener.stop();
      for (const deadline = performance.now() + DRAIN_DEADLINE; listener.pendingRequests() > 0; ) {
        if (performance.now() >= deadline) break;
        await Bun.sleep(DRAIN_POLL);
      }
      await listener.close();
    }
  } catch (error) {
    await queries.close();
    storage.close();
    throw error;
  }
}
