import { statfsSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { version } from '../../package.json' with { type: 'json' };
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { LiveTails } from '../tail/live-tails.ts';
import { durationHistogram, type Observe } from './duration-histogram.ts';
import type { Listener } from './listener.ts';

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
  /** Observes a commit: its rows, the time until it was on disk, and how much of that the fsync took. */
  commit(rows: number, seconds: number, syncSeconds: number): void;
}

/** Sources of the metrics that are read at scrape time. */
export interface ScrapeSources {
  readonly ledger: Ledger;
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly tails: Pick<LiveTails, 'count'>;
  readonly droppedLines: () => number;
  readonly databasePath: string;
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
  return {
    registry,
    requests,
    actAs: () => actAs.inc(),
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
  { ledger, queue, tails, droppedLines, databasePath }: ScrapeSources,
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
  gauge('rawlog_tails', 'Open live tails', () => tails.count());
  // uses stat, because opening and closing the file would drop SQLite's locks
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  gauge('rawlog_database_size_bytes', 'Size of the database file', () => size(databasePath));
  gauge('rawlog_wal_size_bytes', 'Size of the write-ahead log', () => size(`${databasePath}-wal`));
  gauge('rawlog_disk_free_bytes', 'Free space on the disk of the database', () => {
    const { bavail, bsize } = statfsSync(dirname(databasePath));
    return bavail * bsize;
  });
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
