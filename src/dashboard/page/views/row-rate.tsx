import { useContext, useMemo } from 'preact/hooks';
import type { Responses } from '../api.ts';
import { edgesOf } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { Figure } from '../figures.tsx';
import { formatCount, formatValue } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { DAY, MINUTE } from '../time.ts';
import { QuerySessionContext, useQuery } from '../use-query.ts';

type Activity = Responses['/api/activity'];

/** How many rows are recorded: per minute over time, and recently. */
export function RowRate() {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const { from, to, interval } = useShownRange();
  const { zone: tz, user } = address;
  const since = (milliseconds: number) => ({ from: new Date(now.getTime() - milliseconds), to: now });

  const activity = useQuery('/api/activity', { from, to, interval, tz, top: 1, user_id: user }, user);
  const minute = useQuery('/api/activity', { ...since(MINUTE), top: 1, user_id: user }, user);
  const day = useQuery('/api/activity', { ...since(DAY), top: 1, user_id: user }, user);

  return (
    <section class="panel" aria-labelledby="activity">
      <h2 id="activity">Rows per minute</h2>
      <dl class="figures">
        <Figure label="Rows in the last minute" value={rowsOf(minute.value)} format={formatCount} />
        <Figure label="Rows in the last 24 hours" value={rowsOf(day.value)} format={formatCount} />
        <Figure label="Rows in this range" value={rowsOf(activity.value)} format={formatCount} />
      </dl>
      <QueryErrorNotice query={minute} />
      <QueryErrorNotice query={day} />
      <QueryResult query={activity}>{(value) => <RowRateChart activity={value} />}</QueryResult>
    </section>
  );
}

function rowsOf(activity: Activity | undefined): number | undefined {
  return activity && activity.metrics.count + activity.analytics.count;
}

/** Rows per minute over time. Buckets clipped by the range count only the minutes within it. */
function RowRateChart({ activity }: { activity: Activity }) {
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
