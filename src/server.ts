import { randomUUID } from 'node:crypto';
import { hostname as machineName } from 'node:os';
import type { Logger } from 'pino';
import { version } from '../package.json' with { type: 'json' };
import { type Alerts, startAlerts } from './alerts/alerts.ts';
import { createApp } from './app.ts';
import { createAccess } from './auth/access.ts';
import type { Secrets } from './auth/secrets.ts';
import { openErasureLog } from './backup/erasure-logs.ts';
import { type BackupSchedule, startBackups } from './backup/schedule.ts';
import { openWithUpgradeBackup } from './backup/upgrade-backup.ts';
import type { Config } from './config.ts';
import { createControlHandlers } from './control/handlers.ts';
import { type ControlHandlers, type ControlListener, listenForCommands } from './control/listener.ts';
import { createDemo } from './demo/demo-process.ts';
import { createForwardingClient, type ForwardingClient } from './forwarding/client.ts';
import { readNodeId } from './forwarding/node-id.ts';
import { lagBehind } from './forwarding/query-lag.ts';
import { createActAsLog } from './http/act-as-log.ts';
import { createChartDrawing } from './http/board-charts.ts';
import { listen } from './http/listener.ts';
import { createMetrics, observe, observeConnections } from './http/metrics.ts';
import { listenWithReceivers } from './http/receiving-app.ts';
import { operatorStatus } from './http/routes/administration.ts';
import { createSharedCharts } from './http/shared-charts.ts';
import { createSlowQueryLog } from './http/slow-query-log.ts';
import { createTracing, type Tracing } from './http/tracing.ts';
import { type CommitQueue, createCommitQueue } from './ingest/commit-queue.ts';
import { watchFreeSpace } from './ingest/free-space.ts';
import { createIdempotency, expireResponses } from './ingest/idempotency.ts';
import { createIdSource } from './ingest/ids.ts';
import { createLedger } from './ingest/ledger.ts';
import { createRateLimit } from './ingest/rate-limit.ts';
import { createRejections } from './ingest/rejections.ts';
import { createReservations } from './ingest/reservations.ts';
import { createStamper } from './ingest/stamper.ts';
import { createUsedCodes, deleteExpiredCodes } from './ingest/used-codes.ts';
import { createUserNames } from './ingest/user-names.ts';
import { createMaintenance, type ServerMaintenance } from './maintenance.ts';
import { createQueryClient } from './query/client.ts';
import { createLagTracker } from './query/ingest-lag.ts';
import { openPeerTable } from './receiving/peers.ts';
import { type ReceivedHandler, type Receivers, startReceivers } from './receiving/receivers.ts';
import type { LogRecord } from './records.ts';
import { openAnnotationStore } from './storage/annotation-store.ts';
import { openAuditLog } from './storage/audit-log.ts';
import { openBoardLinkStore } from './storage/board-link-store.ts';
import { openBoardStore } from './storage/board-store.ts';
import { fingerprintOf, openUserHash, readErasureKey, type UserHash } from './storage/erasure-list.ts';
import { readErasedUsers } from './storage/sink-erasures.ts';
import { StorageError, toStorageError } from './storage/storage-error.ts';
import { openUnitStore } from './storage/unit-store.ts';
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

/** Requests per link to a shared board. */
const LINK_REQUESTS = { amount: 10, window: 1 };

/** How often expired cached responses and sign-in codes are deleted. */
const PRUNE_INTERVAL_MS = 60_000;

/** How often the column store catches up, even if there are no queries. */
const CATCH_UP_INTERVAL_MS = 5_000;

/** The binary locates files relative to its entry point, which is in the same folder as this file. */
const QUERY_WORKER = new URL('./query/worker.ts', import.meta.url);
const CLICKHOUSE_WORKER = new URL('./query/clickhouse/worker.ts', import.meta.url);
const BACKUP_WORKER = new URL('./backup/worker.ts', import.meta.url);
const FORWARDING_WORKER = new URL('./forwarding/worker.ts', import.meta.url);
const RECEIVER_WORKER = new URL('./receiving/worker.ts', import.meta.url);

/** A running server. */
export interface Server {
  readonly url: URL;
  /**
   * Replaces the keys and secrets with those of a reloaded configuration. Its other settings have no effect.
   */
  reloadSecrets(config: Config, secrets: Secrets): Promise<void>;
  /** Stops accepting connections. Requests in progress continue, until {@link stop}. */
  stopListening(): void;
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
 * @param droppedLines returns the number of dropped log lines
 * @param onFailing called when the storage has failed; the process should then exit
 * @throws {Error} if the database cannot be opened, or the server cannot listen on the address; nothing stays open
 */
export async function startServer(
  config: Config,
  secrets: Secrets,
  log: Logger,
  droppedLines: () => number,
  onFailing: () => void,
): Promise<Server> {
  const now = Date.now;
  const monotonic = () => performance.now();
  const tracing = await startTracing(config.traces, log);
  const access = await createAccess(config, secrets, log);
  const storage = await openWithUpgradeBackup(
    config.databasePath,
    {
      onCompaction: () =>
        log.warn('compacting the database, because an erasure or a deletion is waiting for it; this takes minutes'),
    },
    {
      ...{ backupDir: config.backupDir, minFreeBytes: config.minFreeBytes, version },
      onBegin: (folder) => log.info({ folder }, 'backing up the database before the migration, which changes its data'),
      onStored: (file) => log.info({ file }, 'the database was backed up before the migration'),
    },
  );
  let hashUser: UserHash;
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
  if (storage.compactionError !== undefined) {
    log.error({ err: storage.compactionError }, 'the database could not be compacted; erasures remain pending');
  }
  let openQueue: CommitQueue | undefined;
  /** Reports that the disk has failed, whether a commit or a query noticed it. */
  function fail(storageError: StorageError): void {
    void forwarding?.abandon(); // it must not write to the database any more
    log.fatal({ err: storageError }, 'the storage has failed: the server is stopping');
    alerts?.storageFailed();
    onFailing();
  }
  const lag = createLagTracker(monotonic);
  const queries = createQueryClient({
    path: config.databasePath,
    databaseFile: storage.file,
    worker: QUERY_WORKER,
    timeoutMs: config.queryTimeoutMs,
    maxResultBytes: config.maxResultBytes,
    idleTimeoutMs: config.idleTimeoutSeconds * 1000,
    onDamaged(reason) {
      openQueue?.halt(new StorageError('corrupt', reason));
      void forwarding?.abandon();
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
    onLag: lag.measured,
    log,
  });
  let { queryUrl, forwardUrls } = config;
  // without QUERY_URL, all queries run in the embedded engine; maintenance and alerts always do
  const engine = config.queryUrl
    ? createQueryClient({
        queryUrl: config.queryUrl.href,
        worker: CLICKHOUSE_WORKER,
        timeoutMs: config.queryTimeoutMs,
        maxResultBytes: config.maxResultBytes,
        idleTimeoutMs: config.idleTimeoutSeconds * 1000,
        forwardingLag: () => lagBehind(queryUrl, forwardUrls, forwarding?.statuses()),
        erased: () => readErasedUsers(storage.client, 'clickhouse'),
        log,
      })
    : queries;
  let { s3 } = config;
  const erasureLog =
    config.backupDir === undefined
      ? undefined
      : openErasureLog(config.backupDir, () => s3, config.databasePath, storage.client);
  const tails = createLiveTails(now, config.idleTimeoutSeconds, config.queryUrl !== undefined);
  let maintenance: ServerMaintenance | undefined;
  const freeSpace = watchFreeSpace(config.databasePath, config.minFreeBytes, log, () => maintenance?.reclaimSoon());
  let stopping: Promise<void> | undefined;
  let backups: BackupSchedule | undefined;
  let forwarding: ForwardingClient | undefined;
  let control: ControlListener | undefined;
  let alerts: Alerts | undefined;
  let receivers: Receivers | undefined;
  try {
    const metrics = createMetrics();
    const writer = createWriter(storage, (rows, seconds, syncSeconds) => {
      try {
        lag.committed(rows);
        metrics.commit(rows, seconds, syncSeconds);
        tracing?.commit(rows, seconds, syncSeconds);
      } catch (error) {
        // the rows are on disk: their requests must not fail
        log.error({ err: error }, 'a commit could not be measured');
      }
    });
    const ledger = createLedger(writer.counts());
    const rejections = createRejections(now);
    const userNames = createUserNames(writer, storage.hash, config.maxNamesPerUser);
    const queueBounds = { rows: config.maxQueueRows, bytes: config.maxQueueBytes };
    const queue = createCommitQueue(writer, ledger, queueBounds, fail, publish);
    openQueue = queue;
    const lastBackupAt = () => backups?.lastAt();
    forwarding = createForwardingClient({
      path: config.databasePath,
      urls: config.forwardUrls,
      nodeId: () => readNodeId(config.nodeId, config.databasePath),
      s3,
      worker: FORWARDING_WORKER,
      onSaved: stampWal,
      log,
    });
    const { statuses: sinks } = forwarding;
    observe(metrics, {
      ...{ ledger, queue, tails, droppedLines, lastBackupAt, databasePath: config.databasePath, freeSpace, queries },
      ...{ lag, retention: config.retention, sinks },
      alerts: { firing: () => alerts?.firing() ?? 0, failures: () => alerts?.failures() ?? 0 },
    });
    const { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser, isAllowedName } = config;
    const { rateLimit, rateLimitBytes } = config;
    const sizes = { maxBodyBytes, maxBatchItems, maxResultBytes, maxNamesPerUser };
    const limits = { ...sizes, isAllowedName, rateLimit, rateLimitBytes };
    const { databasePath } = config;
    const { syncStatus } = storage;
    const { acceptedBySecret } = access;
    const nextId = createIdSource(now, writer.lastSeq());
    const audit = openAuditLog(databasePath, hashUser, now, (error) => {
      log.error({ err: error }, 'an entry could not be written to the audit log');
    });
    const onActAs = (admin: string, user: string) => {
      metrics.actAs();
      audit.actAs(admin, user);
    };
    const hashForLog = (userId: string) => hashUser(userId).toString('hex', 0, LOGGED_HASH_BYTES);
    const slowQueries = createSlowQueryLog(log, config.slowQueryMs, hashForLog);
    const drawChart = createChartDrawing({ engine, metrics, slowQueries, maxResultBytes, now });
    const sharedCharts = createSharedCharts(drawChart);
    const links = openBoardLinkStore(storage.client);
    maintenance = createMaintenance({
      ...{ queries, queue, writer, ledger, rejections, userNames, audit, freeSpace, log, now, monotonic },
      ...{ storage, databasePath, erasureLog, retention: config.retention, sinks },
      onRemoved: sharedCharts.clear,
      isStopping: () => stopping !== undefined,
    });
    const { erase, deleteRecords, catchUp, maintainSpace } = maintenance;
    const demo = createDemo({ dataDir: config.dataDir, minFreeBytes: config.minFreeBytes, log });
    let receivingPort = () => 0;
    const peers = config.receivers > 1 ? openPeerTable() : undefined;
    const receiving = peers && { peers, received: new Map<string, ReceivedHandler>(), port: () => receivingPort() };
    const app = createApp({
      access: {
        verify: access.verify,
        failedAuthentications: createRateLimit('failed-authentication', config.authFailureLimit, 0, monotonic),
        metricsToken: access.metricsToken,
        issuers: access.issuers,
        jwt: config.jwt,
        usedCodes: createUsedCodes(writer, queue),
        now,
        acceptedBySecret,
        hashUser,
        corsOrigins: config.corsOrigins,
        trustedProxies: config.trustedProxies,
      },
      ingest: {
        queue: tracing ? tracing.commitQueue(queue) : queue,
        freeSpace,
        reservations: createReservations(queue, queueBounds, config.maxBodyBytes),
        idempotency: createIdempotency(writer, now),
        stamper: createStamper(nextId, now, config.maxClockSkewUs, config.maxTimestampAgeUs),
        userNames,
        ledger,
        rejections,
        rows: createRateLimit('rows', rateLimit, maxBatchItems, monotonic),
        bytes: createRateLimit('bytes', rateLimitBytes, Math.max(BURST_BYTES, maxBodyBytes), monotonic),
        actAs: createActAsLog(log, hashForLog, onActAs, monotonic),
      },
      reading: { queries, engine, slowQueries, tails },
      boards: {
        ...{ boards: openBoardStore(storage.client), links, drawChart, sharedCharts, audit },
        linkRequests: createRateLimit('shared-link', LINK_REQUESTS, 0, monotonic),
        annotations: openAnnotationStore(storage.client),
        units: openUnitStore(storage.client),
      },
      removal: { erase, deleteRecords, hashForLog },
      demo,
      metrics,
      tracing,
      settings: {
        ...{ limits, queueBounds, databasePath, syncStatus },
        idleTimeoutSeconds: config.idleTimeoutSeconds,
        embedOrigins: config.embedOrigins,
        lastBackupAt,
        backupSchedule: () => backups,
        retention: config.retention,
        sinks,
      },
      isOpen: () => stopping === undefined,
      receiving,
      log,
    });
    const { host: hostname, port, idleTimeoutSeconds } = config;
    const address = { hostname, port, idleTimeoutSeconds };
    if (receiving) {
      receivers = await startReceivers({
        ...{ count: config.receivers, worker: RECEIVER_WORKER, peers: receiving.peers, handlers: receiving.received },
        ...{ maxBodyBytes, hasCors: config.corsOrigins !== undefined, log },
      });
    }
    const listener = receivers ? await listenWithReceivers(app, receivers, address, log) : listen(app, address, log);
    receivingPort = () => listener.port;
    observeConnections(metrics, listener);
    control = startControl(
      createControlHandlers({
        ...{ queue, ledger, nextId, maxClockSkewUs: config.maxClockSkewUs, now },
        maintain: queries.maintain,
        stampWal: storage.stampWal,
        resumeLater: maintenance.resumeLater,
        async erase(userId, onProgress) {
          const { pending, ...erased } = await erase(
            userId,
            { userId: undefined, requestId: randomUUID() },
            onProgress,
          );
          log.warn({ ...erased }, 'user erased by a command');
          return { ...erased, pending };
        },
        prune: maintenance.prune,
        status: () =>
          operatorStatus({
            ...{ ledger, queue, queueBounds, databasePath, freeSpace, queries, syncStatus, limits },
            ...{ acceptedBySecret, lastBackupAt, backupSchedule: () => backups, retention: config.retention, sinks },
          }),
        forwarding,
        metrics: () => metrics.registry.metrics(),
      }),
    );
    const pruneTimer = setInterval(() => {
      try {
        deleteExpiredCodes(writer, now);
      } catch (error) {
        log.warn({ err: error }, 'expired sign-in codes could not be deleted; retrying in a minute');
      }
      void deleteExpiredLinks();
      expireResponses(writer, now, () => stopping === undefined).catch((error: unknown) => {
        log.warn({ err: error }, 'expired cached responses could not be deleted; retrying in a minute');
      });
    }, PRUNE_INTERVAL_MS);
    const catchUpTimer = setInterval(() => {
      void catchUp();
      void maintainSpace();
      // so that "rawlog status", which reads the file, counts rejections of a server that stores nothing
      if (ledger.hasUnwritten()) queue.store([], 0).catch(() => {}); // the next commit writes them, and reports errors
    }, CATCH_UP_INTERVAL_MS);
    void catchUp().then(maintainSpace); // after the maintenance that was interrupted
    backups = scheduleBackups();
    if (config.alertWebhook) {
      const { alertWebhook: webhook } = config;
      const host = machineName();
      alerts = startAlerts({
        config,
        webhook,
        queries,
        onQuery({ name, argument }, finished) {
          metrics.query(name, finished);
          slowQueries.report({ name, argument, client: undefined }, finished);
        },
        ledger,
        freeSpace,
        schedule: backups,
        host,
        now,
        monotonic,
        log,
      });
    }

    return {
      url: listener.url,
      async reloadSecrets(reloaded, newSecrets) {
        await access.reload(reloaded, newSecrets);
        ({ s3 } = reloaded);
        if (queryUrl && reloaded.queryUrl) {
          engine.setQueryUrl(reloaded.queryUrl);
          ({ queryUrl } = reloaded);
        }
        if (reloaded.alertWebhook) alerts?.setWebhook(reloaded.alertWebhook);
        ({ forwardUrls } = reloaded);
        await forwarding?.configure(forwardUrls, s3);
      },
      stopListening: listener.stop,
      async stop() {
        stopping ??= drain();
        await stopping;
        await demo.close();
        await alerts?.close();
        await backups?.close();
        await forwarding?.close();
        await engine.close();
        await queries.close();
        await control?.close();
        await audit.close();
        if (queries.health().isDamaged) throw new Error('the database is damaged and was not written to');
        await queue.close();
        storage.close();
      },
      async abandon() {
        stopping ??= drain();
        await stopping;
        await demo.close();
        await alerts?.close();
        await backups?.close();
        await forwarding?.abandon();
        await engine.close();
        await queries.close();
        await control?.close();
        await audit.close();
      },
    };

    /** Starts scheduled backups, if BACKUP_DIR is set. */
    function scheduleBackups(): BackupSchedule | undefined {
      const { backupDir, backupEverySeconds: everySeconds, backupKeep: keep } = config;
      if (backupDir === undefined) return undefined;
      const key = readErasureKey(databasePath);
      return startBackups({
        minFreeBytes: config.minFreeBytes,
        s3: () => s3,
        ...{ databasePath, databaseFile: storage.file, backupDir, keep, version, everySeconds, now, log },
        erasureKey: key && fingerprintOf(key),
        worker: BACKUP_WORKER,
      });
    }

    /** Deletes links that have expired. They no longer open anything, so a failure only delays it. */
    async function deleteExpiredLinks(): Promise<void> {
      try {
        if (!links.hasExpired(now())) return; // a commit takes an fsync
        await queue.store([], 0, { change: () => links.deleteExpired(now()) });
      } catch (error) {
        log.warn({ err: error }, 'expired shared links could not be deleted; retrying in a minute');
      }
    }

    /** Listens for commands. The server also runs without its control socket, which not every file system supports. */
    function startControl(handlers: ControlHandlers): ControlListener | undefined {
      try {
        return listenForCommands(databasePath, handlers, log);
      } catch (error) {
        log.error({ err: error }, 'there is no control socket: commands that need the running server will fail');
        return undefined;
      }
    }

    /** Stamps the write-ahead log after a commit of another thread. The next commit reports errors. */
    function stampWal(): void {
      try {
        storage.stampWal();
      } catch (error) {
        log.debug({ err: error }, 'the write-ahead log could not be stamped');
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
      void demo.close(); // requests to it, or for its start, would delay the stop
      clearInterval(pruneTimer);
      clearInterval(catchUpTimer);
      freeSpace.close();
      tails.close();
      control?.stop();
      listener.stop();
      for (const deadline = performance.now() + DRAIN_TIMEOUT_MS; listener.pendingRequests() > 0; ) {
        if (performance.now() >= deadline) break;
        await Bun.sleep(DRAIN_POLL_MS);
      }
      await listener.close();
      await receivers?.close();
      void tracing?.flush(); // does not delay the stop
    }
  } catch (error) {
    await backups?.close();
    await forwarding?.close();
    await control?.close();
    await receivers?.close();
    freeSpace.close();
    await engine.close();
    await queries.close();
    storage.close();
    throw error;
  }
}

/** Starts exporting traces, if there is a target. Otherwise, the libraries for it are not loaded. */
async function startTracing(target: Config['traces'], log: Logger): Promise<Tracing | undefined> {
  if (!target) return undefined;
  const { createOtlpTracer } = await import('./http/trace-exporter.ts');
  const onFailed = (reason: string | number) => log.warn({ reason }, 'traces could not be exported');
  return createTracing(createOtlpTracer(target, onFailed));
}
