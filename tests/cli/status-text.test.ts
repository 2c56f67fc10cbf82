import { expect, test } from 'bun:test';
import { statusText } from '../../src/cli/status-text.ts';
import type { OperatorStatus } from '../../src/responses.ts';

const NOW = new Date('2026-03-02T05:00:00.900Z');
const STORED = {
  ledger: {
    received: 1_234_570,
    stored: 1_234_567,
    duplicates: 0,
    deleted: 12,
    rejected: { unauthorized: 1, validation_failed: 2 },
  },
  storage: { database: '/data/rawlog.db', database_bytes: 2.5e9, reusable_bytes: 4096, wal_bytes: 4_120_032 },
};

test('the status of a stopped server is what the database says', () => {
  expect(statusText(STORED, undefined, NOW).split('\n')).toEqual([
    'time:             2026-03-02 05:00:00 UTC',
    'server:           not running',
    'received items:   1,234,570',
    'stored:           1,234,567',
    'duplicates:       0',
    'rejected:         3 (validation_failed 2, unauthorized 1)',
    'deleted:          12',
    'database:         /data/rawlog.db',
    'database size:    2.5 GB, 4.1 kB of it free',
    'write-ahead log:  4.1 MB',
  ]);
});

test('the status of a running server adds its state, and says what a busy query worker leaves unknown', () => {
  const status: OperatorStatus = {
    version: '1.2.3',
    durability: { journal: 'wal', acknowledged: 'after fsync' },
    limits: {
      max_body_bytes: 1,
      max_batch_items: 1,
      max_result_bytes: 1,
      max_names_per_user: 1,
      rate_limit: null,
      rate_limit_bytes: null,
    },
    uptime_seconds: 180_000,
    ledger: { ...STORED.ledger, rejected: { '\u001b[31mred': 1 } },
    storage: {
      ...{ database_bytes: 1, wal_bytes: 1, free_bytes: 8e9, min_free_bytes: 268_435_456, full_in_seconds: 864_000 },
      forecast: {
        ...{ days: 7, rows_per_day: 1e6, bytes_per_day: 2e8, final_bytes: null, full_in_seconds: 3_369_600 },
      },
      use: { rows_bytes: 2e9, columns_bytes: 4e8, free_pages_bytes: 0 },
      fsync: { mode: 'thread', median_ms: 1.25 },
    },
    queue: { rows: 1_200, bytes: 50_000, max_rows: 12_000, max_bytes: 67_108_864 },
    columns: { lag_rows: null, lag_seconds: null },
    tz: { version: '2026f', source: 'bundled' },
    query_worker: { state: 'running', restarts: 1 },
    erasures: { pending: 0 },
    backup: {
      ...{ last_at: '2026-03-01T03:00:00.000Z', age_seconds: 93_600, every_seconds: 86_400 },
      ...{ next_at: '2026-03-02T05:10:00.000Z', failures: 2 },
    },
    sinks: [],
    jwt_secrets: [{ accepted: 1 }],
  };
  const lines = statusText(STORED, { identity: { pid: 42, version: '1.2.3' }, status }, NOW).split('\n');
  expect(lines).toEqual([
    'time:                2026-03-02 05:00:00 UTC',
    'server:              version 1.2.3, process 42, up for 2 days',
    'query worker:        running, 1 restart',
    'received items:      1,234,570',
    'stored:              1,234,567',
    'duplicates:          0',
    'rejected:            1 (unknown 1)',
    'deleted:             12',
    'database:            /data/rawlog.db',
    'database size:       2.5 GB, 4.1 kB of it free',
    'write-ahead log:     4.1 MB',
    'space used:          rows 2.0 GB, column store 400.0 MB',
    'free disk space:     8.0 GB; recording stops at 268.4 MB, in 10 days at the current rate',
    'growth:              200.0 MB per day in the last 7 days; the disk is full in 39 days',
    'fsync:               1.3 ms, in a thread',
    'commit queue:        1,200 of 12,000 rows, 50.0 kB of 67.1 MB',
    'ingest lag:          unknown, the query worker is busy',
    'pending erasures:    0',
    'newest backup:       2026-03-01 03:00:00 UTC, 1 day ago',
    'next backup:         2026-03-02 05:10:00 UTC, after 2 failures',
    'time zone database:  2026f, bundled',
    'JWT secret 1:        1 token accepted',
  ]);
});

test('fields that an older server does not report are unknown', () => {
  const status = {
    uptime_seconds: 60,
    storage: { free_bytes: 8e9, min_free_bytes: 0, forecast: null },
    backup: { last_at: null, age_seconds: null },
  };
  const lines = statusText(STORED, { identity: { pid: 42, version: '1.0.0' }, status }, NOW).split('\n');
  const valueIn = (name: string) => lines.find((line) => line.startsWith(`${name}:`))?.replace(/^.*?: +/, '');
  const unknown = 'unknown, the server was not restarted after an upgrade';
  expect(['stored', 'free disk space', 'growth', 'newest backup'].map(valueIn)).toEqual([
    '1,234,567',
    '8.0 GB; recording stops at 0 bytes',
    'not known yet: there is less than a day of records, or the query worker is busy',
    'none',
  ]);
  for (const name of [
    'query worker',
    'space used',
    'fsync',
    'commit queue',
    'ingest lag',
    'pending erasures',
    'next backup',
  ])
    expect(valueIn(name)).toBe(unknown);
  expect(lines.filter((line) => /undefined|NaN/.test(line))).toEqual([]);
});
