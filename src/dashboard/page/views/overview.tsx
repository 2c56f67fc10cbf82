import { useContext, useMemo } from 'preact/hooks';
import { inView } from '../address.ts';
import { type Answer, AskingContext, useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { useCatalog } from '../catalog.ts';
import { edgesOf } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { Figure, Sparkline } from '../figures.tsx';
import { formatBytes, formatCount, formatDuration, formatText, formatValue } from '../format.ts';
import { Link } from '../links.tsx';
import { usePlace } from '../place.ts';
import { useShownRange } from '../shown-range.ts';
import { Answered, Nothing, Trouble } from '../states.tsx';
import { DAY, MINUTE } from '../time.ts';
import { Ledger } from './ledger.tsx';

type Status = Answers['/api/status'];
type Activity = Answers['/api/activity'];

/** Beyond it, when the disk will be full is no forecast: 100 years. */
const MANY_DAYS = 36_525;

/** How many names are listed. */
const TOP = 8;

/** What happens now and how the log is. */
export function Overview({ status }: { status: Answer<Status> }) {
  const { address } = usePlace();
  const { now } = useContext(AskingContext);
  const { from, to, interval } = useShownRange();
  const { zone: tz, user } = address;
  const ago = (milliseconds: number) => new Date(now.getTime() - milliseconds);

  const activity = useAnswer('/api/activity', { from, to, interval, tz, top: TOP, user_id: user }, user);
  const minute = useAnswer('/api/activity', { from: ago(MINUTE), to: now, top: 1, user_id: user }, user);
  const day = useAnswer('/api/activity', { from: ago(DAY), to: now, top: 1, user_id: user }, user);

  return (
    <>
      <section class="panel" aria-labelledby="activity">
        <h2 id="activity">Rows a minute</h2>
        <dl class="figures">
          <Figure label="In the last minute" value={rowsOf(minute.value)} format={formatCount} />
          <Figure label="In the last 24 hours" value={rowsOf(day.value)} format={formatCount} />
          <Figure label="In this range" value={rowsOf(activity.value)} format={formatCount} />
        </dl>
        <Trouble of={minute} />
        <Trouble of={day} />
        <Answered answer={activity}>{(value) => <ActivityChart activity={value} />}</Answered>
      </section>
      <div class="columns">
        <section class="panel" aria-labelledby="top-metrics">
          <h2 id="top-metrics">Top metrics</h2>
          <Answered answer={activity}>
            {({ metrics }) => (
              <Names
                kind="metric"
                names={metrics.names}
                rest={metrics.other.names}
                empty="No metric in this range. Choose a longer one above."
              />
            )}
          </Answered>
        </section>
        <section class="panel" aria-labelledby="top-types">
          <h2 id="top-types">Top event types</h2>
          <Answered answer={activity}>
            {({ analytics }) => (
              <Names
                kind="event"
                names={analytics.types.map(({ type, ...rest }) => ({ name: type, ...rest }))}
                rest={analytics.other.types}
                empty="No event in this range. Choose a longer one above."
              />
            )}
          </Answered>
        </section>
      </div>
      <div class="columns">
        <Ledger status={status} />
        <section class="panel" aria-labelledby="storage">
          <h2 id="storage">{status.value && !status.value.storage ? 'Server' : 'Storage'}</h2>
          <Answered answer={status}>
            {(value) => (
              <>
                <Disk status={value} rowsOfDay={user === undefined ? rowsOf(day.value) : null} />
                <p>
                  Durability: answered <b>{value.durability.acknowledged}</b> ({value.durability.journal.toUpperCase()}{' '}
                  journal). Version {value.version}
                  {value.uptime_seconds !== undefined && `, up for ${formatDuration(value.uptime_seconds)}`}.
                </p>
                <p>
                  Limits: {formatBytes(value.limits.max_body_bytes)} per body,{' '}
                  {formatCount(value.limits.max_batch_items)} items per batch.
                </p>
              </>
            )}
          </Answered>
        </section>
      </div>
    </>
  );
}

function rowsOf(activity: Activity | undefined): number | undefined {
  return activity && activity.metrics.count + activity.analytics.count;
}

/** Rows a minute by bucket; a bucket that the range cuts has the minutes that are in the range. */
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
  if (starts.length === 0) return <Nothing>Nothing happened in this range.</Nothing>;
  return <Chart label="Rows a minute over time" range={activity} starts={starts} lines={lines} format={formatValue} />;
}

interface NamesProps {
  readonly kind: 'metric' | 'event';
  readonly names: readonly { readonly name: string; readonly count: number; readonly counts: readonly number[] }[];
  /** How many names there are beside them. */
  readonly rest: number;
  readonly empty: string;
}

/** Names with their counts, each a way to its own view. */
function Names({ kind, names, rest, empty }: NamesProps) {
  const { address } = usePlace();
  if (names.length === 0) return <Nothing>{empty}</Nothing>;
  return (
    <>
      <table class="names">
        <thead>
          <tr>
            <th scope="col">{kind === 'metric' ? 'Metric' : 'Type'}</th>
            <th scope="col">
              <span class="unseen">Over time</span>
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
      {rest > 0 && <p class="quiet">And {formatCount(rest)} more.</p>}
    </>
  );
}

interface DiskProps {
  readonly status: Status;
  /** Rows of the last 24 hours; null where those of all users are not seen, undefined while they are not known. */
  readonly rowsOfDay: number | null | undefined;
}

/** What the disk holds, and for how long it lasts; nothing for those who may not see it. */
function Disk({ status: { storage, queue }, rowsOfDay }: DiskProps) {
  const { rows } = useCatalog();
  if (!storage || !queue) return null;
  const used = storage.database_bytes + storage.wal_bytes;
  const bytesOfDay = rowsOfDay && rows && (storage.database_bytes / rows) * rowsOfDay;
  return (
    <>
      <dl class="figures">
        <Figure label="Used" value={used} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Free on the disk" value={storage.free_bytes} format={(bytes) => formatBytes(bytes ?? 0)} />
        <Figure label="Waiting for the disk" value={queue.rows} format={formatCount}>
          of at most {formatCount(queue.max_rows)} rows
        </Figure>
      </dl>
      <p id="forecast">{forecast(bytesOfDay, storage.free_bytes)}</p>
    </>
  );
}

/** When the disk will be full, should every day be as the last 24 hours were, by the bytes of a row so far. */
function forecast(bytesOfDay: number | null | undefined, free: number): string {
  if (bytesOfDay === undefined) return 'When the disk will be full is not known yet.';
  if (bytesOfDay === null) return 'When the disk will be full is told where the rows of all users are seen.';
  if (bytesOfDay === 0) return 'Nothing happened in the last 24 hours: at this rate the disk is never full.';
  const days = free / bytesOfDay;
  const left = days > MANY_DAYS ? 'more than 100 years' : formatDuration(days * 86_400);
  return `At the rate of the last 24 hours (${formatBytes(bytesOfDay)} a day) the disk is full in ${left}.`;
}
