import { useMemo } from 'preact/hooks';
import { filterParameters, withFilter } from '../address.ts';
import type { Responses } from '../api.ts';
import { type BarRow, BarTable, MoreGroups, othersLabel } from '../bar-table.tsx';
import { type Names, useCatalog } from '../catalog.ts';
import { alignEarlierBuckets } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { LabelFilter, NamePicker } from '../controls.tsx';
import { Figure } from '../figures.tsx';
import { formatCount, formatText } from '../format.ts';
import { useNameInAddress, useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { useQuery } from '../use-query.ts';

type Counts = Responses['/api/analytics/counts'];

/** Number of `data_index` values offered as steps. */
const OFFERED = 100;

/** An event type over time, with its funnel and cohort retention. */
export function EventView() {
  const { address } = useNavigation();
  const { types } = useCatalog();
  const type = address.name ?? types.names[0];
  const range = useShownRange();
  const { from, to, interval } = range;
  useNameInAddress(type);
  const { zone: tz, user, compare, top } = address;
  const parameters =
    type === undefined ? undefined : { type, user_id: user, ...filterParameters(address.filters, 'data_index') };
  const subject = JSON.stringify(parameters);
  const previous = compare ? range.previous : undefined;

  const counts = useQuery('/api/analytics/counts', parameters && { ...parameters, from, to, interval, tz }, subject);
  const earlier = useQuery(
    '/api/analytics/counts',
    previous && parameters && { ...parameters, ...previous, interval, tz },
    subject,
  );
  const labels = useQuery(
    '/api/analytics/counts',
    parameters && { ...parameters, from, to, tz, group_by: 'data_index', top },
    subject,
  );
  const offered = useQuery(
    '/api/analytics/counts',
    type === undefined ? undefined : { type, user_id: user, from, to, tz, group_by: 'data_index', top: OFFERED },
    JSON.stringify([type, user]),
  );
  const steps = offered.value?.groups?.map(({ data_index = '' }) => data_index) ?? [];

  if (type === undefined) return <Unnamed choices={types} />;
  return (
    <>
      <section class="panel" aria-labelledby="type">
        <div class="head">
          <h2 id="type">{formatText(type)}</h2>
          <NamePicker label="Type" name={type} choices={types} canBeEmpty />
          <LabelFilter label="data_index" choices={steps} />
        </div>
        <QueryResult query={counts}>
          {(value) => (
            <>
              <dl class="figures">
                <Figure
                  label="Events"
                  value={value.count}
                  format={formatCount}
                  previous={previous ? (earlier.value?.count ?? 'unknown') : undefined}
                />
                <Figure
                  label="Unique users"
                  value={value.unique_users}
                  format={formatCount}
                  previous={previous ? (earlier.value?.unique_users ?? 'unknown') : undefined}
                />
              </dl>
              {previous && <QueryErrorNotice query={earlier} />}
              <CountsChart counts={value} earlier={previous ? earlier.value : undefined} />
            </>
          )}
        </QueryResult>
      </section>
      <section class="panel" aria-labelledby="by-index">
        <h2 id="by-index">By data_index</h2>
        <QueryResult query={labels}>{(value) => <ByIndex counts={value} />}</QueryResult>
      </section>
    </>
  );
}

/** Shown if no type is selected: either there are none, or there are too many to list and the user enters one. */
function Unnamed({ choices }: { choices: Names }) {
  if (choices.isComplete) return <EmptyMessage>No events recorded yet.</EmptyMessage>;
  return (
    <section class="panel" aria-label="Type">
      <NamePicker label="Type" name={undefined} choices={choices} canBeEmpty />
      <EmptyMessage>There are too many event types to list. Enter a name.</EmptyMessage>
    </section>
  );
}

function CountsChart({ counts, earlier }: { counts: Counts; earlier: Counts | undefined }) {
  const { buckets } = counts;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const lines = useMemo(() => {
    const chartLines: Line[] = [
      { label: 'Events', values: buckets.map(({ count }) => count), color: '--chart-1', shape: 'bars' },
      { label: 'Unique users', values: buckets.map(({ unique_users }) => unique_users), color: '--chart-3' },
    ];
    if (earlier) {
      const values = alignEarlierBuckets(counts, earlier).map((bucket) => bucket?.count ?? null);
      chartLines.push({ label: 'Events, previous period', values, color: '--chart-5', shape: 'dashed' });
    }
    return chartLines;
  }, [counts, buckets, earlier]);
  return (
    <>
      {counts.count === 0 && <EmptyMessage>No events in this range. Try a longer range.</EmptyMessage>}
      {starts.length > 0 && (
        <Chart
          label={`${formatText(counts.type)} over time`}
          range={counts}
          starts={starts}
          lines={lines}
          format={formatCount}
        />
      )}
    </>
  );
}

/** Counts by `data_index`, most frequent first, with the others summed up in the last row. */
function ByIndex({ counts }: { counts: Counts }) {
  const { address, go } = useNavigation();
  const { groups = [], other } = counts;
  if (groups.length === 0) return <EmptyMessage>No events in this range.</EmptyMessage>;
  const others = other && other.labels > 0 ? other : undefined;
  const max = Math.max(1, groups[0]?.count ?? 0, others?.count ?? 0);
  const row = (label: string, { count, unique_users }: Pick<Counts, 'count' | 'unique_users'>): BarRow => ({
    label,
    part: count / max,
    cells: [count, unique_users].map((value) => ({ value, text: formatCount(value) })),
  });
  return (
    <>
      <BarTable
        title="Events by data_index"
        label="data_index"
        relativeTo="the highest count"
        columns={['Events', 'Users']}
        rows={[
          ...groups.map((group) => ({
            ...row(group.data_index ?? '', group),
            onSelect: () =>
              go({
                filters: withFilter(address.filters, { field: 'label', operator: '=', value: group.data_index ?? '' }),
              }),
          })),
          ...(others ? [row(othersLabel(others.labels), others)] : []),
        ]}
      />
      {others && <MoreGroups />}
    </>
  );
}
