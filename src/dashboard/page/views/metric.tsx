import { useMemo } from 'preact/hooks';
import { STATISTICS, type Statistic } from '../address.ts';
import { useAnswer } from '../answer.ts';
import type { Answers } from '../api.ts';
import { type BarRow, BarTable, MoreGroups, othersLabel } from '../bar-table.tsx';
import { type Names, useCatalog } from '../catalog.ts';
import { beside } from '../chart/buckets.ts';
import { Chart } from '../chart/chart.tsx';
import type { Line } from '../chart/plot.ts';
import { LabelFilter, NamePicker } from '../controls.tsx';
import { Figure } from '../figures.tsx';
import { formatCount, formatText, formatValue } from '../format.ts';
import { useNameInAddress, usePlace } from '../place.ts';
import { useShownRange } from '../shown-range.ts';
import { Answered, Nothing, Trouble } from '../states.tsx';

type Series = Answers['/api/metrics/series'];
type Figures = Pick<Series, Statistic>;

/** What a statistic is called where people read it. */
const TITLES: Record<Statistic, string> = {
  avg: 'Average',
  p50: 'Median (p50)',
  p95: 'p95',
  p99: 'p99',
  min: 'Min',
  max: 'Max',
  count: 'Count',
};

/** How many labels have a line of their own. */
const MAX_LINES = 5;

/** One metric over time. */
export function MetricView() {
  const { address, go } = usePlace();
  const { metrics } = useCatalog();
  const name = address.name ?? metrics.names[0];
  const range = useShownRange();
  const { from, to, interval } = range;
  useNameInAddress(name);
  const { zone: tz, user, label, compare, split } = address;
  const asked = name === undefined ? undefined : { name, user_id: user, data_string: label };
  const subject = JSON.stringify(asked);
  const before = compare ? range.before : undefined;

  const series = useAnswer('/api/metrics/series', asked && { ...asked, from, to, interval, tz }, subject);
  const earlier = useAnswer('/api/metrics/series', before && asked && { ...asked, ...before, interval, tz }, subject);
  const top = address.top;
  const labels = useAnswer(
    '/api/metrics/series',
    asked && { ...asked, from, to, tz, group_by: 'data_string', top },
    subject,
  );
  const lines = useAnswer(
    '/api/metrics/series',
    split && asked && { ...asked, from, to, interval, tz, group_by: 'data_string', top: MAX_LINES },
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
          <label class="check">
            <input type="checkbox" checked={compare} onChange={() => go({ compare: !compare })} /> Compare with the
            period before
          </label>
          <label>
            Lines by data_string{' '}
            <select
              value={split ?? ''}
              onChange={(event) => go({ split: STATISTICS.find((one) => one === event.currentTarget.value) })}
            >
              <option value="">none</option>
              {STATISTICS.map((statistic) => (
                <option key={statistic} value={statistic}>
                  {TITLES[statistic]}
                </option>
              ))}
            </select>
          </label>
        </div>
        <Answered answer={series}>
          {(value) => <Totals now={value} before={compare ? (earlier.value ?? 'unknown') : undefined} />}
        </Answered>
        {compare && <Trouble of={earlier} />}
        {split ? (
          <Answered answer={lines}>{(value) => <LabelChart key={split} series={value} statistic={split} />}</Answered>
        ) : (
          series.value && <Values series={series.value} earlier={compare ? earlier.value : undefined} />
        )}
      </section>
      <section class="panel" aria-labelledby="by-label">
        <h2 id="by-label">By data_string</h2>
        <Answered answer={labels}>{(value) => <ByLabel series={value} />}</Answered>
      </section>
    </>
  );
}

/** Where no metric is known: none has been recorded, or there are too many to list, and one can be typed. */
function Unnamed({ choices }: { choices: Names }) {
  if (choices.isComplete) return <Nothing>No metric has been recorded yet.</Nothing>;
  return (
    <section class="panel" aria-label="Metric">
      <NamePicker label="Metric" name={undefined} choices={choices} />
      <Nothing>There are too many metrics to list them. Type the name of one.</Nothing>
    </section>
  );
}

/** The figures of the whole range, and of the period before. */
function Totals({ now, before }: { now: Series; before: Series | 'unknown' | undefined }) {
  return (
    <dl class="figures">
      {STATISTICS.map((statistic) => (
        <Figure
          key={statistic}
          label={TITLES[statistic]}
          value={now[statistic]}
          format={statistic === 'count' ? formatCount : formatValue}
          before={typeof before === 'object' ? before[statistic] : before}
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
    const made: Line[] = [
      { label: 'max', values: of('max'), color: '--chart-4', shape: 'edge' },
      { label: 'min', values: of('min'), color: '--chart-4', shape: 'edge' },
      { label: 'avg', values: of('avg'), color: '--chart-1' },
      { label: 'p50', values: of('p50'), color: '--chart-2' },
      { label: 'p95', values: of('p95'), color: '--chart-3' },
      { label: 'p99', values: of('p99'), color: '--chart-5' },
    ];
    if (earlier) {
      const values = beside(series, earlier).map((bucket) => bucket?.avg ?? null);
      made.push({ label: 'avg, period before', values, color: '--chart-1', shape: 'dashed' });
    }
    return made;
  }, [series, buckets, earlier]);
  return (
    <>
      {!buckets.some(({ count }) => count > 0) && <Nothing>No value in this range. Choose a longer one above.</Nothing>}
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

/** One statistic of the most frequent labels. */
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
  if (groups.length === 0) return <Nothing>No value in this range. Choose a longer one above.</Nothing>;
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

/** The labels of a metric with their figures. */
function ByLabel({ series }: { series: Series }) {
  const { go } = usePlace();
  const { groups = [], other } = series;
  if (groups.length === 0) return <Nothing>No value in this range.</Nothing>;
  const rest = other && other.labels > 0 ? other : undefined;
  const most = Math.max(1, groups[0]?.count ?? 0, rest?.count ?? 0);
  const row = (label: string, figures: Figures): BarRow => ({
    label,
    part: figures.count / most,
    cells: STATISTICS.map((statistic) => {
      const value = figures[statistic];
      return { value, text: statistic === 'count' ? formatCount(value ?? 0) : formatValue(value) };
    }),
  });
  return (
    <>
      <BarTable
        title="Figures by data_string"
        label="data_string"
        partOf="the most frequent"
        columns={STATISTICS.map((statistic) => TITLES[statistic])}
        rows={[
          ...groups.map((group) => ({
            ...row(group.data_string, group),
            onChosen: () => go({ label: group.data_string }),
          })),
          ...(rest ? [row(othersLabel(rest.labels), rest)] : []),
        ]}
      />
      {rest && <MoreGroups />}
    </>
  );
}
