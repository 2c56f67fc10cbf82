import { useContext, useMemo } from 'preact/hooks';
import { inView } from '../address.ts';
import type { Responses } from '../api.ts';
import { edgesOf } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { Figure, Sparkline } from '../figures.tsx';
import { formatCount, formatText, formatValue } from '../format.ts';
import { Link } from '../links.tsx';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { DAY, MINUTE } from '../time.ts';
import { QuerySessionContext, useQuery } from '../use-query.ts';

type Activity = Responses['/api/activity'];

/** Number of names listed. */
const TOP = 8;

/** Recent activity. */
export function Overview() {
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
