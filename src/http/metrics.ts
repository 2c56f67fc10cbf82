import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { version } from '../../package.json' with { type: 'json' };
import { TOKEN_REJECTIONS, type TokenRejection } from '../errors.ts';
import type { Retention } from '../formats/retention.ts';
import type { SinkStatus } from '../forwarding/status.ts';
import { readFreeBytes } from '../free-bytes.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { FreeSpace } from '../ingest/free-space.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { FinishedQuery } from '../query/caller.ts';
import type { QueryClient } from '../query/client.ts';
import type { LagTracker } from '../query/ingest-lag.ts';
import { forecastFull, type Growth } from '../storage/disk-forecast.ts';
import type { LiveTails } from '../tail/live-tails.ts';
import { durationHistogram, type Observe } from './duration-histogram.ts';
import type { Listener } from './listener.ts';
import { type QueryKind, queryMetrics } from './query-metrics.ts';

/** From 0.5 ms, the time to commit a single row, to 5 s, the longest wait for a database lock. */
const SECONDS_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const ROWS_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

/** Metrics that are updated as events happen. */
export interface Metrics {
  readonly registry: Registry;
  /** Returns the duration observer of a method, route and status. A route is a pattern: clients can make up paths. */
  requests(method: string, route: string, status: number): Observe;
  /** Counts a recording by an admin for another user. */
  actAs(): void;
  /** Counts a request that was not authenticated. */
  tokenRejected(reason: TokenRejection): void;
  /** Observes a query that has ended. */
  query(kind: QueryKind, finished: FinishedQuery): void;
  /** Observes a commit: its rows, the time until it was on disk, and how much of that the fsync took. */
  commit(rows: number, seconds: number, syncSeconds: number): void;
}

/** Sources of the metrics that are read at scrape time. */
export interface ScrapeSources {
  readonly ledger: Ledger;
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly tails: Pick<LiveTails, 'count'>;
  readonly droppedLines: () => number;
  /** Returns when the newest scheduled backup was taken, in milliseconds since 1970; undefined if there is none. */
  readonly lastBackupAt: () => number | undefined;
  readonly databasePath: string;
  readonly freeSpace: Pick<FreeSpace, 'minBytes' | 'isShort'>;
  readonly queries: Pick<QueryClient, 'lag' | 'spaceUse' | 'growth'>;
  readonly lag: Pick<LagTracker, 'current'>;
  readonly retention: Retention;
  /** Returns the sinks in FORWARD_URL; undefined shortly after a start. */
  readonly sinks: () => readonly SinkStatus[] | undefined;
  /** Returns the number of firing alerts, and of failed deliveries. */
  readonly alerts: { readonly firing: () => number; readonly failures: () => number };
}

/** Creates the metrics of a server, named as Prometheus recommends (https://prometheus.io/docs/practices/naming/). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'rawlog_build_info',
    help: 'Version of the running server',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1);
  const requests = durationHistogram(registry, {
    name: 'http_request_duration_seconds',
    help: 'Time from the request headers to the response',
    bounds: SECONDS_BUCKETS,
  });
  const rows = new Histogram({
    name: 'rawlog_commit_rows',
    help: 'Rows per commit',
    buckets: ROWS_BUCKETS,
    registers,
  });
  const seconds = new Histogram({
    name: 'rawlog_commit_duration_seconds',
    help: 'Time until a transaction is on disk',
    buckets: SECONDS_BUCKETS,
    registers,
  });
  const sync = new Histogram({
    name: 'rawlog_fsync_duration_seconds',
    help: 'Time to fsync the write-ahead log',
    buckets: SECONDS_BUCKETS,
    registers,
  });
  const actAs = new Counter({
    name: 'rawlog_act_as_total',
    help: 'Requests by admins to record for other users, counted once per request and user',
    registers,
  });
  const rejectedTokens = new Counter({
    name: 'rawlog_tokens_rejected_total',
    help: 'Requests that were not authenticated, by reason',
    labelNames: ['reason'],
    registers,
  });
  for (const reason of TOKEN_REJECTIONS) rejectedTokens.inc({ reason }, 0);
  return {
    registry,
    requests,
    actAs: () => actAs.inc(),
    tokenRejected: (reason) => rejectedTokens.inc({ reason }),
    query: queryMetrics(registry),
    commit(count, duration, syncDuration) {
      rows.observe(count);
      seconds.observe(duration);
      sync.observe(syncDuration);
    },
  };
}

/** Registers the metrics that are read at scrape time: the ledger, the commit queue, live tails and file sizes. */
export function observe(
  { registry }: Metrics,
  {
    ledger,
    queue,
    tails,
    droppedLines,
    lastBackupAt,
    databasePath,
    freeSpace,
    queries,
    lag,
    retention,
    sinks,
    alerts,
  }: ScrapeSources,
): void {
  const registers = [registry];
  const counter = (name: string, help: string, value: () => number) =>
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value());
      },
    });
  counter(
    'rawlog_items_received_total',
    'Items received: the sum of stored, duplicate and rejected items',
    () => ledger.counts().received,
  );
  counter('rawlog_items_stored_total', 'Items stored', () => ledger.counts().stored);
  counter(
    'rawlog_items_duplicate_total',
    'Items of repeated requests that got the cached response',
    () => ledger.counts().duplicates,
  );
  counter('rawlog_log_lines_dropped_total', 'Log lines dropped because they were not read in time', droppedLines);
  counter('rawlog_alert_delivery_failures_total', 'Alerts that ALERT_WEBHOOK did not accept', alerts.failures);
  new Counter({
    name: 'rawlog_items_rejected_total',
    help: 'Items rejected, by error code',
    labelNames: ['code'],
    registers,
    collect() {
      this.reset();
      for (const [code, items] of Object.entries(ledger.counts().rejected)) this.inc({ code }, items);
    },
  });
  const gauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value());
      },
    });
  gauge('rawlog_queue_rows', 'Rows waiting to be committed', () => queue.depth().rows);
  gauge('rawlog_queue_bytes', 'Bytes of request bodies waiting to be committed', () => queue.depth().bytes);
  gauge('rawlog_backup_age_seconds', 'Time since the newest scheduled backup; NaN if there is none', () => {
    const lastAt = lastBackupAt();
    return lastAt === undefined ? Number.NaN : Math.max(0, Date.now() - lastAt) / 1000;
  });
  gauge('rawlog_alerts_firing', 'Alerts of ALERT_WEBHOOK that are firing', alerts.firing);
  gauge('rawlog_tails', 'Open live tails', () => tails.count());
  // uses stat, because opening and closing the file would drop SQLite's locks
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  gauge('rawlog_database_size_bytes', 'Size of the database file', () => size(databasePath));
  gauge('rawlog_wal_size_bytes', 'Size of the write-ahead log', () => size(`${databasePath}-wal`));
  gauge('rawlog_disk_free_bytes', 'Free space on the disk of the database', () => readFreeBytes(dirname(databasePath)));
  gauge('rawlog_disk_min_free_bytes', 'Free space below which recording is rejected', () => freeSpace.minBytes);
  gauge('rawlog_recording_stopped', '1 while recording is rejected for lack of free disk space', () =>
    Number(freeSpace.isShort()),
  );
  let measuring: Promise<unknown> | undefined;
  const lagGauge = (name: string, help: string, value: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        // takes at most 250 ms; if the worker is busy, the tracker adds to what was measured last
        measuring ??= queries.lag().finally(() => {
          measuring = undefined;
        });
        await measuring;
        this.set(value());
      },
    });
  lagGauge('rawlog_ingest_lag_rows', 'Committed rows that the column store has not applied', () => lag.current().rows);
  lagGauge(
    'rawlog_ingest_lag_seconds',
    'Age of the oldest committed row that the column store has not applied',
    () => lag.current().seconds,
  );
  observeSinks(registry, sinks);
  let growth: Growth | undefined;
  new Gauge({
    name: 'rawlog_disk_full_seconds',
    help: 'Forecast of when recording stops because the disk is full; 0 if it has, +Inf if never, NaN if unknown',
    registers,
    async collect() {
      growth = (await queries.growth(retention)) ?? growth; // the last known one while the worker is busy
      const disk = { freeBytes: readFreeBytes(dirname(databasePath)), minFreeBytes: freeSpace.minBytes };
      if (freeSpace.isShort() || disk.freeBytes <= disk.minFreeBytes) {
        this.set(0);
        return;
      }
      const seconds = growth && (forecastFull(growth, disk, retention).fullInSeconds ?? Number.POSITIVE_INFINITY);
      this.set(seconds ?? Number.NaN);
    },
  });
  new Gauge({
    name: 'rawlog_database_use_bytes',
    help: 'What uses the space of the database file: rows, columns or free pages; absent while the query worker is busy',
    labelNames: ['part'],
    registers,
    async collect() {
      this.reset();
      const use = await queries.spaceUse();
      for (const [part, bytes] of Object.entries(use ?? {})) this.set({ part }, bytes);
    },
  });
}

/** Registers the metrics of the engines that records are forwarded to, by `sink`. */
function observeSinks(registry: Registry, sinks: ScrapeSources['sinks']): void {
  const gauge = (name: string, help: string, value: (sink: SinkStatus) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['sink'],
      registers: [registry],
      collect() {
        this.reset();
        for (const sink of sinks() ?? []) this.set({ sink: sink.name }, value(sink));
      },
    });
  gauge('rawlog_forward_up', '0 while the sink fails', ({ state }) => Number(state !== 'failing'));
  gauge('rawlog_forward_lag_rows', 'Rows that the sink has not received', ({ lagRows }) => lagRows);
  gauge(
    'rawlog_forward_lag_seconds',
    'Age of the oldest row that the sink has not received',
    (sink) => sink.lagSeconds,
  );
  gauge('rawlog_forward_dead_letters', 'Rows that the sink has rejected', ({ deadLetters }) => deadLetters);
  gauge('rawlog_forward_postponed_rows', 'Rows that the sink does not accept yet', ({ postponed }) => postponed);
  gauge('rawlog_forward_pending_erasures', 'Erasures that the sink has not repeated', (sink) => sink.pendingErasures);
  gauge(
    'rawlog_forward_skipped_rows',
    'Rows that retention deleted before the sink had received them',
    (sink) => sink.skipped,
  );
}

/** Registers the metrics of connections and their limit. */
export function observeConnections(
  { registry }: Metrics,
  { connections, maxConnections }: Pick<Listener, 'connections' | 'maxConnections'>,
): void {
  const registers = [registry];
  new Gauge({
    name: 'rawlog_connections',
    help: 'Approximate number of open connections: file descriptors beyond those open at startup',
    registers,
    collect() {
      this.set(connections());
    },
  });
  new Gauge({ name: 'rawlog_connections_max', help: 'Maximum number of open connections', registers }).set(
    maxConnections,
  );
}
