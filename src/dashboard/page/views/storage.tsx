import { useContext } from 'preact/hooks';
import type { Responses } from '../api.ts';
import { Figure } from '../figures.tsx';
import { formatBytes, formatCount, formatDuration, formatInterval, NO_VALUE } from '../format.ts';
import { QueryResult } from '../states.tsx';
import { QuerySessionContext, type QueryState } from '../use-query.ts';

type Status = Responses['/api/status'];

/** Only admins and viewers get these parts of the status. */
interface Props {
  readonly status: QueryState<Status>;
}

const sizeOf = (bytes: number | null) => (bytes === null ? NO_VALUE : formatBytes(bytes));

/** What uses the disk, and when it will be full. Renders nothing for users who may not see it. */
export function Storage({ status }: Props) {
  if (status.value && !status.value.storage) return null;
  return (
    <section class="panel" aria-labelledby="storage">
      <h2 id="storage">Storage</h2>
      <QueryResult query={status}>{({ storage }) => storage && <Disk storage={storage} />}</QueryResult>
    </section>
  );
}

function Disk({ storage }: { storage: NonNullable<Status['storage']> }) {
  const { use, forecast } = storage;
  return (
    <>
      <dl class="figures">
        <Figure label="Rows" value={use.rows_bytes} format={sizeOf} />
        <Figure label="Columns" value={use.columns_bytes} format={sizeOf} />
        <Figure label="Free pages" value={use.free_pages_bytes} format={sizeOf} />
        <Figure label="Write-ahead log" value={storage.wal_bytes} format={sizeOf} />
        <Figure label="Disk space free" value={storage.free_bytes} format={sizeOf} />
        <Figure label="Disk full" value={forecast?.full_in_seconds ?? null} format={timeLeft} />
      </dl>
      <p id="forecast">{forecastText(storage)}</p>
      <p class="quiet">
        The database file has {formatBytes(storage.database_bytes)}: the rows and their texts, their columns for charts,
        and free pages, which new rows use first.
      </p>
    </>
  );
}

function timeLeft(seconds: number | null): string {
  if (seconds === 0) return 'now';
  return seconds === null ? NO_VALUE : `in about ${formatDuration(seconds)}`;
}

/** Explains the forecast in a sentence or two. */
function forecastText({ forecast, free_bytes, min_free_bytes }: NonNullable<Status['storage']>): string {
  if (free_bytes < min_free_bytes) {
    return `Recording is rejected until more than ${formatBytes(min_free_bytes)} of the disk are free.`;
  }
  if (!forecast)
    return 'When the disk will be full is not known yet: there is less than a day of rows, or the query worker is busy.';
  const period = forecast.days === 1 ? "last day's" : `last ${formatCount(forecast.days)} days'`;
  const rate = `At the ${period} rate (${formatBytes(forecast.bytes_per_day)} per day)`;
  if (forecast.full_in_seconds !== null) return `${rate}, the disk will be full ${timeLeft(forecast.full_in_seconds)}.`;
  if (forecast.bytes_per_day === 0) return `${rate}, the disk is not filling up.`;
  if (forecast.final_bytes === null) return `${rate}, the disk will not be full within 100 years.`;
  return `${rate}, the disk will not be full: old rows are deleted, so the file stops growing at ${formatBytes(forecast.final_bytes)}.`;
}

/** The newest backup and the next one. Renders nothing for users who may not see it. */
export function Backups({ status }: Props) {
  if (status.value && !status.value.backup) return null;
  return (
    <section class="panel" aria-labelledby="backups">
      <h2 id="backups">Backups</h2>
      <QueryResult query={status}>{({ backup }) => backup && <Schedule backup={backup} />}</QueryResult>
    </section>
  );
}

function Schedule({ backup }: { backup: NonNullable<Status['backup']> }) {
  const { now } = useContext(QuerySessionContext);
  const { age_seconds, every_seconds, next_at, failures } = backup;
  if (every_seconds === null || next_at === null) {
    return (
      <>
        <p>No backups are configured: set BACKUP_DIR to a folder on another disk, and restart the server.</p>
        <pre>
          <code>BACKUP_DIR=/path/to/backups rawlog serve</code>
        </pre>
      </>
    );
  }
  const dueIn = (at: number | null) => {
    const seconds = ((at ?? 0) - now.getTime()) / 1000;
    return seconds < 1 ? 'now' : `in ${formatDuration(seconds)}`;
  };
  return (
    <>
      <dl class="figures">
        <Figure
          label="Newest backup"
          value={age_seconds}
          format={(age) => (age === null ? 'none yet' : `${formatDuration(age)} ago`)}
        />
        <Figure label={failures > 0 ? 'Next attempt' : 'Next backup'} value={Date.parse(next_at)} format={dueIn} />
      </dl>
      {failures > 0 && (
        <p>
          <b>
            {failures === 1 ? 'The last backup' : `The last ${formatCount(failures)} backups`} failed: the log of the
            server says why.
          </b>
        </p>
      )}
      <p class="quiet">A backup is made {formatInterval(every_seconds)}.</p>
    </>
  );
}

const countText = (count: number | null) => formatCount(count ?? 0);
const ageText = (seconds: number | null) => (seconds ? `${formatDuration(seconds)} old` : NO_VALUE);

/** The engines that rows are forwarded to. Renders nothing for users who may not see them, and without FORWARD_URL. */
export function Sinks({ status }: Props) {
  const sinks = status.value?.sinks ?? [];
  if (sinks.length === 0) return null;
  return (
    <section class="panel" aria-labelledby="sinks">
      <h2 id="sinks">Forwarding</h2>
      {sinks.map((sink) => (
        <div key={sink.name}>
          <p>
            <code>{sink.name}</code>
            {sink.state === 'failing' && <b> fails: {sink.reason}</b>}
          </p>
          <dl class="figures">
            <Figure label="Rows to deliver" value={sink.lag_rows} format={countText} />
            <Figure label="Oldest of them" value={sink.lag_seconds} format={ageText} />
            <Figure label="Dead letters" value={sink.dead_letters} format={countText} />
            <Figure label="Pending erasures" value={sink.pending_erasures} format={countText} />
          </dl>
        </div>
      ))}
    </section>
  );
}
