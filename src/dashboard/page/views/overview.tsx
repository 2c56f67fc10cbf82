import { useContext, useMemo } from 'preact/hooks';
import { inView } from '../address.ts';
import type { Responses } from '../api.ts';
import { useCatalog } from '../catalog.ts';
import { edgesOf } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { Figure, Sparkline } from '../figures.tsx';
import { formatBytes, formatCount, formatDuration, formatText, formatValue } from '../format.ts';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { DAY, MINUTE } from '../time.ts';
import { QuerySessionContext, type QueryState, useQuery } from '../use-query.ts';
import { Ledger } from './ledger.tsx';

type Status = Responses['/api/status'];
type Activity = Responses['/api/activity'];

/** Horizon of the disk forecast, in days: 100 years. */
const MAX_FORECAST_DAYS = 36_525;

/** Number of names listed. */
const TOP = 8;

/** Recent activity, and the state of the server. */
export function Overview({ status }: { status: QueryState<Status> }) {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { from, to, interval } = useShownRange();
  const { zone: tz, user } = address;
  const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds);

  const activity = useQuery('/api/activity', { from, to, interval, tz, top: TOP, user_id: user }, user);
  const minute = useQuery('/api/activity', { from: ago(MINUTE), to: now, top: 1, user_id: user }, user);
  const day = useQuery('/api/activity', { from: ago(DAY), to: now, top: 1, user_id: user }, user);

  return (
    <>
      <section class="panel" aria-labelledby="activity">
        <h2 id="activity">Rows per minute</h2>
        <dl class="figures">
          <Figure label="Rows in the last minute" value={rowsOf(minute.value)} format={formatCount} />
          <Figure label="Rows in the last 24 hours" value={rowsOf(day.value)} format={formatCount} />
          <Figure label="Rows in this range" value={rowsOf(activity.value)} format={formatCount} />
        </dl>
        <QueryErrorNotice query={minute} />
        <QueryErrorNotice query={day} />
        <QueryResult query={activity}>{(value) => <ActivityChart activity={value} />}</QueryResult>
      </section>
      <div class="columns">
        <section class="panel" aria-labelledby="top-metrics">
          <h2 id="top-metrics">Top metrics</h2>
          <QueryResult query={activity}>
            {({ metrics }) => (
              <Names
                kind="metric"
                names={metrics.names}
                others={metrics.other.names}
                emptyText="No metrics in this range. Try a longer range."
              />
            )}
          </QueryResult>
        </section>
        <section class="panel" aria-labelledby="top-types">
          <h2 id="top-types">Top event types</h2>
          <QueryResult query={activity}>
            {({ analytics }) => (
              <Names
                kind="event"
                names={analytics.types.map(({ type, ...counts }) => ({ name: type, ...counts }))}
                others={analytics.other.types}
                emptyText="No events in this range. Try a longer range."
              />
            )}
          </QueryResult>
        </section>
      </div>
      <div class="columns">
        <Ledger status={status} />
        <section class="panel" aria-labelledby="storage">
          <h2 id="storage">{status.value && !status.value.storage ? 'Server' : 'Storage'}</h2>
          <QueryResult query={status}>
            {(value) => (
              <>
                <Disk status={value} rowsOfDay={user === undefined ? rowsOf(day.value) : null} />
                <p>
                  Durability: rows are acknowledged <b>{value.durability.acknowledged}</b> (
                  {value.durability.journal.toUpperCase()} mode). Version {value.version}
                  {value.uptime_seconds !== undefined && `, up for ${formatDuration(value.uptime_seconds)}`}.
                </p>
                <p>
                  Limits: {formatBytes(value.limits.max_body_bytes)} per request,{' '}
                  {formatCount(value.limits.max_batch_items)} items per batch.
                </p>
              </>
            )}
          </QueryResult>
        </section>
      </div>
    </>
  );
}

function rowsOf(activity: Activity | undefined): number | undefined {
  return activity && activity.metrics.count + activity.analytics.count;
}

/** Rows per minute over time. Buckets clipped by the range count only the minutes within it. */
function ActivityChart({ activity }: { activity: Activity }) {
  const { starts, from, to } = activity;
  const lines = useMemo((): Line[] => {
    const edges = edgesOf({ starts, range: { from, to } });
    const perMinute = (counts: readonly number[]) =>
      counts.map((count, i) => (count * 60) / Math.max(60, (edges[i + 1] ?? 0) - (edges[i] ?? 0)));
    return [
      { label: 'Metrics', values: perMinute(activity.metrics.counts), color: '--chart-1' },
      { label: 'Events', values: perMinute(activity.analytics.counts), color: '--chart-2' },
    ];
  }, [activity, starts, from, to]);
  if (starts.length === 0) return <EmptyMessage>No rows in this range.</EmptyMessage>;
  return (
    <Chart label="Rows per minute over time" range={activity} starts={starts} lines={lines} format={formatValue} />
  );
}

interface NamesProps {
  readonly kind: 'metric' | 'event';
  readonly names: readonly { readonly name: string; readonly count: number; readonly counts: readonly number[] }[];
  /** Number of names that are not listed. */
  readonly others: number;
  readonly emptyText: string;
}

/** Names with their counts. Each links to its view. */
function Names({ kind, names, others, emptyText }: NamesProps) {
  const { address } = useNavigation();
  if (names.length === 0) return <EmptyMessage>{emptyText}</EmptyMessage>;
  return (
    <>
      <table class="names">
        <thead>
          <tr>
            <th scope="col">{kind === 'metric' ? 'Metric' : 'Type'}</th>
            <th scope="col">
              <span class="visually-hidden">Over time</span>
            </th>
            <th scope="col" class="number">
              Rows
            </th>
          </tr>
        </thead>
        <tbody>
          {names.map(({ name, count, counts }) => (
            <tr key={name}>
              <th scope="row">
                <Link to={inView(address, kind, { name })}>
                  <span class="name">{formatText(name)}</span>
                </Link>
              </th>
              <td>
                <Sparkline counts={counts} />
              </td>
              <td class="number">
                <data value={String(count)}>{formatCount(count)}</data>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {others > 0 && <p class="quiet">And {formatCount(others)} more.</p>}
    </>
  );
}

interface DiskProps {
  readonly status: Status;
  /** Rows in the last 24 hours; null: filtered by user; undefined: not loaded yet. */
  readonly rowsOfDay: number | null | undefined;
}

/** Disk usage and forecast. Renders nothing for users who may not see it. */
function Disk({ status: { storage, queue }, rowsOfDay }: DiskProps) {
  const { rows } = useCatalog();
  if (!storage || !queue) return null;
  const used = storage.database_bytes + storage.wal_bytes;
  const bytesOfDay = rowsOfDay && rows && (storage.database_bytes / rows) * rowsOfDay;
  return (
    <>
      <dl class="figures">
        <Figure label="Disk space used" value={used} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Disk space free" value={storage.free_bytes} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Rows queued" value={queue.rows} format={formatCount}>
          limit: {formatCount(queue.max_rows)}
        </Figure>
      </dl>
      <p id="forecast">{forecast(bytesOfDay, storage.free_bytes)}</p>
    </>
  );
}

/** Returns when the disk will be full, extrapolating the last 24 hours and the average size of a row. */
function forecast(bytesOfDay: number | null | undefined, freeBytes: number): string {
  if (bytesOfDay === undefined) return 'The disk forecast is not available yet.';
  if (bytesOfDay === null) return 'Clear the user filter to see the disk forecast.';
  if (bytesOfDay === 0) return 'No rows in the last 24 hours: the disk is not filling up.';
  const days = freeBytes / bytesOfDay;
  const timeLeft = days > MAX_FORECAST_DAYS ? 'more than 100 years' : formatDuration(days * 86_400);
  return `At the rate of the last 24 hours (${formatBytes(bytesOfDay)} per day), the disk will be full in ${timeLeft}.`;
}
