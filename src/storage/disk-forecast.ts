import type { Database } from 'bun:sqlite';
import { longestKept, type Retention } from '../formats/retention.ts';
import { KINDS, type Kind } from '../records.ts';
import { readPageUse } from './reclaiming.ts';
import { COUNTER_RANGE, millisecondOf, SEQ_EPOCH } from './record-id.ts';
import { HAPPENED_AT } from './row-form.ts';

/*
 * Predicts when the disk of a database will be too full to record, from what the database contains: its rows per day of
 * the last week, times its bytes per row. So the forecast survives restarts, and ignores what other programs write.
 */

const DAY_MS = 86_400_000;
/** The period over which rows are counted, in days: at least one, so that nights count, and at most a week. */
const PERIOD_DAYS = { min: 1, max: 7 };
/** Rows counted in a row table at once, per kind: more than the memtable of the column store has room for; about 10 ms. */
const MAX_COUNTED_ROWS = 150_000;
/** Horizon of the forecast, in days: 100 years. */
const MAX_DAYS = 36_525;

const TABLES = { metric: 'metrics', analytics: 'analytics' } as const;

/** How a database has grown. */
export interface Growth {
  /** The period over which {@link rowsPerDay} is averaged, in days. */
  readonly days: number;
  readonly rowsPerDay: number;
  /** Used bytes of the file per stored row: the row, its copy in the column store, and all else. */
  readonly bytesPerRow: number;
  /** Used and free bytes of the file. New rows use the free ones before it grows. */
  readonly usedBytes: number;
  readonly freePagesBytes: number;
}

/**
 * Reads how a database has grown: the rows received in the last seven days, or since the first row was received. If there
 * are too many to be counted, those whose timestamp is in that time, by the index of chunks: a chunk that begins before
 * counts in part, as if its rows were evenly spread. It reads no chunk, and takes about 30 ms.
 *
 * @param now milliseconds since 1970
 * @param maxCountedRows for tests
 * @returns undefined if that cannot be determined: before the first day is over, or while the column store is rebuilt,
 *   written or far behind
 */
export function readGrowth(
  client: Database,
  now: number,
  retention: Retention,
  maxCountedRows = MAX_COUNTED_ROWS,
): Growth | undefined {
  const first = Math.min(...KINDS.map((kind) => firstSeq(client, kind)));
  const kept = longestKept(retention);
  const sinceFirst = Number.isFinite(first) ? (now - millisecondOf(first)) / DAY_MS : 0;
  // what was pruned is not counted, so neither is its time
  const days = Math.min(PERIOD_DAYS.max, sinceFirst, kept === undefined ? Number.POSITIVE_INFINITY : kept / 86_400);
  if (days < PERIOD_DAYS.min || isChanging(client)) return undefined;
  const from = Math.round(now - days * DAY_MS);
  const received = countReceived(client, from, maxCountedRows);
  const sealed = countSealed(client, from);
  const unsealed = KINDS.map((kind) => countUnsealed(client, kind, from));
  if (unsealed.some(({ all }) => all === MAX_COUNTED_ROWS)) return undefined;
  const [all, recent] = (['all', 'recent'] as const).map((name) =>
    unsealed.reduce((sum, counts) => sum + counts[name], sealed[name]),
  ) as [number, number];
  const { pages, freePages, pageSize } = readPageUse(client);
  const usedBytes = (pages - freePages) * pageSize;
  return {
    days,
    rowsPerDay: (received ?? recent) / days,
    bytesPerRow: all === 0 ? 0 : usedBytes / all,
    usedBytes,
    freePagesBytes: freePages * pageSize,
  };
}

/** A forecast for the disk of a database. */
export interface DiskForecast {
  /** The period that is extrapolated, in days: 1 to 7. */
  readonly days: number;
  readonly rowsPerDay: number;
  readonly bytesPerDay: number;
  /** Size at which the file stops growing, in bytes, because as much is pruned as is recorded; undefined: never. */
  readonly finalBytes: number | undefined;
  /**
   * When free space will be below the minimum, in seconds; undefined if that is never, or not within 100 years.
   */
  readonly fullInSeconds: number | undefined;
}

/** The disk of a database. */
export interface DiskSpace {
  /** Free bytes on the disk, and those below which recording stops. */
  readonly freeBytes: number;
  readonly minFreeBytes: number;
}

/**
 * Predicts when the disk will be too full to record, if as many rows are recorded per day as in the last days.
 *
 * If all records expire, the file grows only until it contains as many days as the longest retention. What shorter rules
 * give back before is not counted, as it is only a part of each row (docs/retention.md), so this is an upper bound.
 */
export function forecastFull(
  growth: Growth,
  { freeBytes, minFreeBytes }: DiskSpace,
  retention: Retention,
): DiskForecast {
  const { days, rowsPerDay, usedBytes } = growth;
  const bytesPerDay = rowsPerDay * growth.bytesPerRow;
  const kept = longestKept(retention);
  const finalBytes = kept === undefined ? undefined : Math.round((bytesPerDay * kept) / 86_400);
  const forecast = { days, rowsPerDay, bytesPerDay, finalBytes };
  if (freeBytes <= minFreeBytes) return { ...forecast, fullInSeconds: 0 };
  const room = freeBytes - minFreeBytes + growth.freePagesBytes;
  const isNever = bytesPerDay === 0 || (finalBytes !== undefined && finalBytes - usedBytes <= room);
  const daysLeft = isNever ? Number.POSITIVE_INFINITY : room / bytesPerDay;
  return { ...forecast, fullInSeconds: daysLeft > MAX_DAYS ? undefined : Math.round(daysLeft * 86_400) };
}

/** Returns the first `seq` of a kind; infinite if there are no rows. */
function firstSeq(client: Database, kind: Kind): number {
  const row = client.query<{ seq: number | null }, []>(`SELECT min(seq) AS seq FROM ${TABLES[kind]}`).get();
  return row?.seq ?? Number.POSITIVE_INFINITY;
}

/** Returns whether rows may be both in chunks and after the watermark, or in neither. */
function isChanging(client: Database): boolean {
  return (
    client
      .query(
        `SELECT 1 FROM column_state WHERE name IN ('rebuilding', 'importing') AND value = 1
         UNION ALL SELECT 1 FROM sealed_series LIMIT 1`,
      )
      .get() !== null
  );
}

/** Counts the rows received since a time, in milliseconds since 1970; undefined if there are too many of a kind. */
function countReceived(client: Database, from: number, max: number): number | undefined {
  const seq = Math.max(0, from - SEQ_EPOCH) * COUNTER_RANGE;
  let sum = 0;
  for (const kind of KINDS) {
    const { rows } =
      client
        .query<{ rows: number }, [number, number]>(
          `SELECT count(*) AS rows FROM (SELECT 1 FROM ${TABLES[kind]} WHERE seq >= ? AND user_id <> '' LIMIT ?)`,
        )
        .get(seq, max) ?? ZERO;
    if (rows >= max) return undefined;
    sum += rows;
  }
  return sum;
}

interface RowCounts {
  readonly all: number;
  /** Rows whose timestamp is at or after a time. */
  readonly recent: number;
}

const ZERO = { rows: 0, all: 0, recent: 0 };

/** Counts the rows in chunks by the index of chunks alone. */
function countSealed(client: Database, from: number): RowCounts {
  const counts = client
    .query<RowCounts, { from: number }>(
      `SELECT coalesce(sum(rows), 0) AS "all", coalesce(sum(CASE
         WHEN min_time >= $from THEN rows
         WHEN max_time < $from THEN 0
         ELSE rows * (max_time - $from + 1.0) / (max_time - min_time + 1)
       END), 0) AS recent
       FROM chunks INDEXED BY chunks_series WHERE rows > 0`,
    )
    .get({ from: from * 1000 });
  return counts ?? ZERO;
}

/** Counts the rows of a kind that are in no chunk yet. */
function countUnsealed(client: Database, kind: Kind, from: number): RowCounts {
  const counts = client
    .query<RowCounts, { kind: string; from: number }>(
      `SELECT count(*) AS "all", coalesce(sum(happened_at >= $from), 0) AS recent FROM (
         SELECT ${HAPPENED_AT} AS happened_at FROM ${TABLES[kind]}
         WHERE seq > coalesce((SELECT value FROM column_state WHERE name = $kind), 0) AND user_id <> ''
         LIMIT ${MAX_COUNTED_ROWS}
       )`,
    )
    .get({ kind, from: from * 1000 });
  return counts ?? ZERO;
}
