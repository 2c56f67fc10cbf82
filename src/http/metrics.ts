import { statSync } from 'node:fs';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { version } from '../../package.json' with { type: 'json' };
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { LiveTails } from '../tail/live-tails.ts';
import { durationHistogram, type Observe } from './duration-histogram.ts';
import type { Listener } from './listener.ts';

/** From half a millisecond, which a lone durable row takes, to the longest that a lock is waited for. */
const SECONDS_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const ROWS_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000];

/** What is measured where it happens. */
export interface Metrics {
  readonly registry: Registry;
  /** Times requests. The route is its pattern, never an address that a sender made up. */
  requests(method: string, route: string, status: number): Observe;
  /** An admin has recorded for another user. */
  actAs(): void;
  /** A commit is done: its rows, its time until it was on the disk, and the part of the fsync. */
  commit(rows: number, seconds: number, syncSeconds: number): void;
}

/** What is looked at when somebody asks. */
export interface Observed {
  readonly ledger: Ledger;
  readonly queue: Pick<CommitQueue, 'depth'>;
  readonly tails: Pick<LiveTails, 'count'>;
  readonly droppedLines: () => number;
  readonly databasePath: string;
}

/** Makes the metrics of a server, in the names and units of Prometheus (https://prometheus.io/docs/practices/naming/). */
export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({ name: 'rawlog_build_info', help: 'The version that runs', labelNames: ['version'], registers }).set(
    { version },
    1,
  );
  const requests = durationHistogram(registry, {
    name: 'http_request_duration_seconds',
    help: 'Time from the head of a request to its answer',
    bounds: SECONDS_BUCKETS,
  });
  const rows = new Histogram({
    name: 'rawlog_commit_rows',
    help: 'Rows of a commit',
    buckets: ROWS_BUCKETS,
    registers,
  });
  const seconds = new Histogram({
    name: 'rawlog_commit_duration_seconds',
    help: 'Time of a transaction until it is on the disk',
    buckets: SECONDS_BUCKETS,
    registers,
  });
  const sync = new Histogram({
    name: 'rawlog_fsync_duration_seconds',
    help: 'Time of the fsync of the write-ahead log',
    buckets: SECONDS_BUCKETS,
    registers,
  });
  const actAs = new Counter({
    name: 'rawlog_act_as_total',
    help: 'Users that requests of admins recorded for in place of the admin',
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

/** Adds what is looked at when somebody asks: the ledger, the queue, tails, and sizes on the disk. */
export function observe({ registry }: Metrics, { ledger, queue, tails, droppedLines, databasePath }: Observed): void {
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
    'Items received: stored, duplicate and rejected together',
    () => ledger.counts().received,
  );
  counter('rawlog_items_stored_total', 'Items stored', () => ledger.counts().stored);
  counter('rawlog_items_duplicate_total', 'Items that repeated a stored one', () => ledger.counts().duplicates);
  counter('rawlog_log_lines_dropped_total', 'Lines of the log that nobody read in time', droppedLines);
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
  gauge('rawlog_queue_rows', 'Rows that wait for their commit', () => queue.depth().rows);
  gauge('rawlog_queue_bytes', 'Bytes of bodies that wait for their commit', () => queue.depth().bytes);
  gauge('rawlog_tails', 'Live tails that are open', () => tails.count());
  // by stat, which opens nothing: closing the file would drop SQLite's locks
  const size = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  gauge('rawlog_database_size_bytes', 'Size of the database file', () => size(databasePath));
  gauge('rawlog_wal_size_bytes', 'Size of the write-ahead log', () => size(`${databasePath}-wal`));
}

/** Adds the connections and their limit. */
export function observeConnections(
  { registry }: Metrics,
  { connections, maxConnections }: Pick<Listener, 'connections' | 'maxConnections'>,
): void {
  const registers = [registry];
  new Gauge({
    name: 'rawlog_connections',
    help: 'Open connections, about: file descriptors beside those that were open at the start',
    registers,
    collect() {
      this.set(connections());
    },
  });
  new Gauge({ name: 'rawlog_connections_max', help: 'How many may be open', registers }).set(maxConnections);
}
