import type { ServerIdentity } from '../control/protocol.ts';
import { escapeControls } from '../formats/visible-text.ts';
import type { LedgerCounts } from '../ingest/ledger.ts';
import type { OperatorStatus } from '../responses.ts';
import { countOf } from './output.ts';
import { durationText, sizeText } from './units.ts';

/** What the database file itself says. */
export interface StoredStatus {
  readonly ledger: LedgerCounts;
  readonly storage: {
    /** The path of the database. */
    readonly database: string;
    readonly database_bytes: number;
    readonly reusable_bytes: number;
    readonly wal_bytes: number;
  };
}

/** The status of a server that may be of an older version, so any field may be missing. */
export interface ReportedStatus extends Partially<Omit<OperatorStatus, 'ledger' | 'sinks' | 'jwt_secrets'>> {
  readonly ledger?: Partial<LedgerCounts>;
  readonly sinks?: OperatorStatus['sinks'];
  readonly jwt_secrets?: OperatorStatus['jwt_secrets'];
}
type Partially<T> = { readonly [K in keyof T]?: Partially<T[K]> };

/** Values of which none is missing or null. */
type Known<Values extends readonly unknown[]> = { -readonly [I in keyof Values]: NonNullable<Values[I]> };

/** A line of the status: its name, and its value for people. */
type Line = readonly [name: string, value: string];

const BUSY = 'unknown, the query worker is busy';
const NOT_REPORTED = 'unknown, the server was not restarted after an upgrade';
const numberText = (value: number) => value.toLocaleString('en');
const timeText = (time: Date) => `${time.toISOString().slice(0, 19).replace('T', ' ')} UTC`;

/**
 * Returns the status as a person reads it: a line per value, with the values below each other.
 *
 * @param running the running server and its status; undefined if no server is running
 */
export function statusText(
  stored: StoredStatus,
  running: { readonly identity: ServerIdentity; readonly status: ReportedStatus } | undefined,
  now: Date,
): string {
  const lines: readonly Line[] = [
    ['time', timeText(now)],
    ...(running ? serverLines(running.identity, running.status) : [['server', 'not running'] as const]),
    ...ledgerLines({ ...stored.ledger, ...running?.status.ledger }),
    ...storageLines(stored, running?.status),
    ...(running ? workLines(running.status) : []),
  ];
  const width = Math.max(...lines.map(([name]) => name.length)) + 3; // a colon and two spaces
  return lines.map(([name, value]) => `${`${name}:`.padEnd(width)}${escapeControls(value)}`).join('\n');
}

/**
 * Returns a line with values of the server's status.
 *
 * @param whenNull the text if one of them is null
 */
function line<const Values extends readonly unknown[]>(
  name: string,
  values: Values,
  text: (...values: Known<Values>) => string,
  whenNull = BUSY,
): Line {
  if (values.includes(undefined)) return [name, NOT_REPORTED];
  if (values.includes(null)) return [name, whenNull];
  return [name, text(...(values as unknown as Known<Values>))];
}

function serverLines(
  { pid, version }: ServerIdentity,
  { uptime_seconds: uptime, query_worker }: ReportedStatus,
): Line[] {
  return [
    line('server', [uptime], (seconds) => `version ${version}, process ${pid}, up for ${durationText(seconds)}`),
    line(
      'query worker',
      [query_worker?.state, query_worker?.restarts],
      (state, restarts) => `${state}, ${countOf(restarts, 'restart')}`,
    ),
  ];
}

function ledgerLines({ received, stored, duplicates, rejected, deleted }: LedgerCounts): Line[] {
  const codes = Object.entries(rejected)
    .sort(([, a], [, b]) => b - a)
    // a code in a damaged database may have any characters
    .map(([code, items]) => `${/^\w+$/.test(code) ? code : 'unknown'} ${numberText(items)}`);
  const total = Object.values(rejected).reduce((sum, items) => sum + items, 0);
  return [
    ['received items', numberText(received)],
    ['stored', numberText(stored)],
    ['duplicates', numberText(duplicates)],
    ['rejected', codes.length > 0 ? `${numberText(total)} (${codes.join(', ')})` : '0'],
    ['deleted', numberText(deleted)],
  ];
}

function storageLines({ storage }: StoredStatus, live: ReportedStatus | undefined): Line[] {
  const lines: Line[] = [
    ['database', storage.database],
    ['database size', `${sizeText(storage.database_bytes)}, ${sizeText(storage.reusable_bytes)} of it free`],
    ['write-ahead log', sizeText(storage.wal_bytes)],
  ];
  if (!live) return lines;
  const { free_bytes, min_free_bytes, full_in_seconds: fullIn, forecast, use, fsync } = live.storage ?? {};
  const full = fullIn === null || fullIn === undefined ? '' : `, in ${durationText(fullIn)} at the current rate`;
  const growth = forecast === null ? { days: null, bytes_per_day: null } : forecast;
  return [
    ...lines,
    line(
      'space used',
      [use?.rows_bytes, use?.columns_bytes],
      (rows, columns) => `rows ${sizeText(rows)}, column store ${sizeText(columns)}`,
    ),
    line(
      'free disk space',
      [free_bytes, min_free_bytes],
      (free, minimum) => `${sizeText(free)}; recording stops at ${sizeText(minimum)}${full}`,
    ),
    line(
      'growth',
      [growth?.days, growth?.bytes_per_day],
      (days, perDay) => growthText(days, perDay, forecast?.full_in_seconds),
      'not known yet: there is less than a day of records, or the query worker is busy',
    ),
    line(
      'fsync',
      [fsync?.median_ms, fsync?.mode],
      (median, mode) => `${median.toFixed(1)} ms, ${mode === 'inline' ? 'on the main thread' : 'in a thread'}`,
    ),
  ];
}

function growthText(days: number, perDay: number, fullIn: number | null | undefined): string {
  const full =
    fullIn === null || fullIn === undefined
      ? 'the disk is large enough'
      : `the disk is full in ${durationText(fullIn)}`;
  return `${sizeText(perDay)} per day in the last ${countOf(days, 'day')}; ${full}`;
}

/** Returns the line of an engine that records are forwarded to. */
function sinkLine(sink: OperatorStatus['sinks'][number], i: number): Line {
  const { name, state, lag_rows: rows, lag_seconds: seconds, dead_letters: dead } = sink;
  const deadText = dead > 0 ? `, ${countOf(dead, 'dead letter')}` : '';
  const lag = `${numberText(rows)} ${rows === 1 ? 'row' : 'rows'} and ${durationText(seconds)} behind`;
  return [`sink ${i + 1}`, `${name}: ${state}, ${lag}${deadText}`];
}

function workLines(status: ReportedStatus): Line[] {
  const { queue, columns, tz, erasures, backup, sinks = [], jwt_secrets: secrets = [] } = status;
  const failures = backup?.failures ?? 0;
  return [
    line(
      'commit queue',
      [queue?.rows, queue?.max_rows, queue?.bytes, queue?.max_bytes],
      (rows, maxRows, bytes, maxBytes) =>
        `${numberText(rows)} of ${numberText(maxRows)} rows, ${sizeText(bytes)} of ${sizeText(maxBytes)}`,
    ),
    line(
      'ingest lag',
      [columns?.lag_rows, columns?.lag_seconds],
      (rows, seconds) => `${countOf(rows, 'row')}, ${seconds.toFixed(1)} s`,
    ),
    line('pending erasures', [erasures?.pending], numberText),
    line(
      'newest backup',
      [backup?.last_at, backup?.age_seconds],
      (lastAt, age) => `${timeText(new Date(lastAt))}, ${durationText(age)} ago`,
      'none',
    ),
    line(
      'next backup',
      [backup?.next_at],
      (nextAt) => `${timeText(new Date(nextAt))}${failures > 0 ? `, after ${countOf(failures, 'failure')}` : ''}`,
      'BACKUP_DIR is not set',
    ),
    ...sinks.map(sinkLine),
    line('time zone database', [tz?.version, tz?.source], (version, source) => `${version}, ${source}`),
    ...secrets.map(({ accepted }, i) =>
      line(`JWT secret ${i + 1}`, [accepted], (tokens) => `${countOf(tokens, 'token')} accepted`),
    ),
  ];
}
