import { useMemo } from 'preact/hooks';
import { filterParameters, STATISTICS, type Statistic, withFilter } from '../address.ts';
import type { Responses } from '../api.ts';
import { type BarRow, BarTable, MoreGroups, othersLabel } from '../bar-table.tsx';
import { type Names, useCatalog } from '../catalog.ts';
import { alignEarlierBuckets } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { LabelFilter, NamePicker } from '../controls.tsx';
import { Figure } from '../figures.tsx';
import { formatCount, formatText, formatValue } from '../format.ts';
import { useNameInAddress, useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { useQuery } from '../use-query.ts';

type Series = Responses['/api/metrics/series'];
type Figures = Pick<Series, Statistic>;

/** Labels of the statistics. */
const TITLES: Record<Statistic, string> = {
  avg: 'Average',
  p50: 'Median (p50)',
  p95: 'p95',
  p99: 'p99',
  min: 'Min',
  max: 'Max',
  count: 'Count',
  sum: 'Sum',
};

/** Maximum number of labels in a breakdown chart. */
const MAX_LINES = 5;

/** A metric over time. */
export function MetricView() {
  const { address, go } = useNavigation();
  const { metrics } = useCatalog();
  const name = address.name ?? metrics.names[0];
  const range = useShownRange();
  const { from, to, interval } = range;
  useNameInAddress(name);
  const { zone: tz, user, compare, split } = address;
  const parameters =
    name === undefined ? undefined : { name, user_id: user, ...filterParameters(address.filters, 'data_string') };
  const subject = JSON.stringify(parameters);
  const previous = compare ? range.previous : undefined;

  const series = useQuery('/api/metrics/series', parameters && { ...parameters, from, to, interval, tz }, subject);
  const earlier = useQuery(
    '/api/metrics/series',
    previous && parameters && { ...parameters, ...previous, interval, tz },
    subject,
  );
  const top = address.top;
  const labels = useQuery(
    '/api/metrics/series',
    parameters && { ...parameters, from, to, tz, group_by: 'data_string', top },
    subject,
  );
  const lines = useQuery(
    '/api/metrics/series',
    split && parameters && { ...parameters, from, to, interval, tz, group_by: 'data_string', top: MAX_LINES },
    subject,
  );

  if (name === undefined) return <Unnamed choices={metrics} />;
  return (
    <>
      <section class="panel" aria-labelledby="name">
        <div class="head">
          <h2 id="name">{name}</h2>
          <NamePicker label="Metric" name={name} choices={metrics} />
          <LabelFilter label="data_string" />
          <label>
            Break down by data_string{' '}
            <select
              value={split ?? ''}
              onChange={(event) => go({ split: STATISTICS.find((name) => name === event.currentTarget.value) })}
            >
              <option value="">Off</option>
              {STATISTICS.map((statistic) => (
                <option key={statistic} value={statistic}>
                  {TITLES[statistic]}
                </option>
              ))}
            </select>
          </label>
        </div>
        <QueryResult query={series}>
          {(value) => <Totals current={value} previous={previous ? (earlier.value ?? 'unknown') : undefined} />}
        </QueryResult>
        {previous && <QueryErrorNotice query={earlier} />}
        {split ? (
          <QueryResult query={lines}>
            {(value) => <LabelChart key={split} series={value} statistic={split} />}
          </QueryResult>
        ) : (
          series.value && <Values series={series.value} earlier={previous ? earlier.value : undefined} />
        )}
      </section>
      <section class="panel" aria-labelledby="by-label">
        <h2 id="by-label">By data_string</h2>
        <QueryResult query={labels}>{(value) => <ByLabel series={value} />}</QueryResult>
      </section>
    </>
  );
}

/** Shown if no metric is selected: either there are none, or there are too many to list and the user enters one. */
function Unnamed({ choices }: { choices: Names }) {
  if (choices.isComplete) return <EmptyMessage>No metrics recorded yet.</EmptyMessage>;
  return (
    <section class="panel" aria-label="Metric">
      <NamePicker label="Metric" name={undefined} choices={choices} />
      <EmptyMessage>There are too many metrics to list. Enter a name.</EmptyMessage>
    </section>
  );
}

/** The statistics of the whole range, and of the previous period. */
function Totals({ current, previous }: { current: Series; previous: Series | 'unknown' | undefined }) {
  return (
    <dl class="figures">
      {STATISTICS.map((statistic) => (
        <Figure
          key={statistic}
          label={TITLES[statistic]}
          value={current[statistic]}
          format={statistic === 'count' ? formatCount : formatValue}
          previous={typeof previous === 'object' ? previous[statistic] : previous}
        />
      ))}
    </dl>
  );
}

function Values({ series, earlier }: { series: Series; earlier: Series | undefined }) {
  const { buckets } = series;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const lines = useMemo(() => {
    const of = (statistic: Statistic) => buckets.map((bucket) => bucket[statistic]);
    const chartLines: Line[] = [
      { label: 'max', values: of('max'), color: '--chart-4', shape: 'edge' },
      { label: 'min', values: of('min'), color: '--chart-4', shape: 'edge' },
      { label: 'avg', values: of('avg'), color: '--chart-1' },
      { label: 'p50', values: of('p50'), color: '--chart-2' },
      { label: 'p95', values: of('p95'), color: '--chart-3' },
      { label: 'p99', values: of('p99'), color: '--chart-5' },
    ];
    if (earlier) {
      const values = alignEarlierBuckets(series, earlier).map((bucket) => bucket?.avg ?? null);
      chartLines.push({ label: 'avg, previous period', values, color: '--chart-1', shape: 'dashed' });
    }
    return chartLines;
  }, [series, buckets, earlier]);
  return (
    <>
      {!buckets.some(({ count }) => count > 0) && (
        <EmptyMessage>No values in this range. Try a longer range.</EmptyMessage>
      )}
      {buckets.length > 0 && (
        <Chart
          label={`${series.name} over time`}
          range={series}
          starts={starts}
          lines={lines}
          band={[0, 1]}
          format={formatValue}
        />
      )}
    </>
  );
}

const LINE_COLORS = ['--chart-1', '--chart-2', '--chart-3', '--chart-5', '--chart-6'] as const;

/** A statistic over time, for each of the most frequent labels. */
function LabelChart({ series, statistic }: { series: Series; statistic: Statistic }) {
  const { buckets, groups = [] } = series;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const lines = useMemo(
    () =>
      groups.map(
        (group, i): Line => ({
          label: formatText(group.data_string),
          values: group.buckets.map((bucket) => bucket[statistic]),
          color: LINE_COLORS[i] ?? '--chart-4',
        }),
      ),
    [groups, statistic],
  );
  if (groups.length === 0) return <EmptyMessage>No values in this range. Try a longer range.</EmptyMessage>;
  return (
    <Chart
      label={`${TITLES[statistic]} of ${series.name} by data_string`}
      range={series}
      starts={starts}
      lines={lines}
      format={formatValue}
    />
  );
}

/** The statistics of a metric by label. */
function ByLabel({ series }: { series: Series }) {
  const { address, go } = useNavigation();
  const { groups = [], other } = series;
  if (groups.length === 0) return <EmptyMessage>No values in this range.</EmptyMessage>;
  const others = other && other.labels > 0 ? other : undefined;
  const max = Math.max(1, groups[0]?.count ?? 0, others?.count ?? 0);
  const row = (label: string, figures: Figures): BarRow => ({
    label,
    part: figures.count / max,
    cells: STATISTICS.map((statistic) => {
      const value = figures[statistic];
      return { value, text: statistic === 'count' ? formatCount(value ?? 0) : formatValue(value) };
    }),
  });
  return (
    <>
      <BarTable
        title="Statistics by data_string"
        label="data_string"
        relativeTo="the highest count"
        columns={STATISTICS.map((statistic) => TITLES[statistic])}
        rows={[
          ...groups.map((group) => ({
            ...row(group.data_string, group),
            onSelect: () =>
              go({ filters: withFilter(address.filters, { field: 'label', operator: '=', value: group.data_string }) }),
          })),
          ...(others ? [row(othersLabel(others.labels), others)] : []),
        ]}
      />
      {others && <MoreGroups />}
    </>
  );
}
