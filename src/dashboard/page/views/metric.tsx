import { filterParameters, MAX_TOP, STATISTICS, type Statistic } from '../address.ts';
import { UnitMenu } from '../boards/unit-menu.tsx';
import { type Names, useCatalog } from '../catalog.ts';
import { NamePicker } from '../controls/pickers.tsx';
import { Figure } from '../figures.tsx';
import { useNameInAddress, useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { EmptyMessage, QueryErrorNotice, QueryResult } from '../states.tsx';
import { type Unit, unitOfStatistic, useUnitOf } from '../units.ts';
import { isUnknownName, UnknownName } from '../unknown-name.tsx';
import { useQuery } from '../use-query.ts';
import { NothingBefore, useComparedPeriod } from './before-recording.tsx';
import { LabelChart, MAX_LINES, StatisticsChart } from './metric/charts.tsx';
import { LabelTable } from './metric/label-table.tsx';
import { chartedStatistics, type Series, TITLES } from './metric/statistics.ts';

/** A metric over time and by label. */
export function MetricView() {
  const { address, go } = useNavigation();
  const { metrics } = useCatalog();
  const name = address.name ?? metrics.names[0];
  const { from, to, interval } = useShownRange();
  useNameInAddress(name);
  const unit = useUnitOf(name ?? '');
  const { zone: tz, user, split, statistic, top } = address;
  const parameters =
    name === undefined ? undefined : { name, user_id: user, ...filterParameters(address.filters, 'data_string') };
  const subject = JSON.stringify(parameters);
  const previous = useComparedPeriod();

  const current = parameters && { ...parameters, from, to, tz };
  const before = previous && parameters && { ...parameters, ...previous, tz };
  const series = useQuery('/api/metrics/series', current && { ...current, interval }, subject);
  const earlier = useQuery('/api/metrics/series', before && { ...before, interval }, subject);
  const byLabel = { group_by: 'data_string', top };
  const labels = useQuery('/api/metrics/series', current && { ...current, ...byLabel }, subject);
  // more of them, because the most frequent labels were others
  const manyLabels = { ...byLabel, top: Math.min(MAX_TOP, top * 5) };
  const earlierLabels = useQuery('/api/metrics/series', before && { ...before, ...manyLabels }, subject);
  const lines = useQuery(
    '/api/metrics/series',
    split && current && { ...current, interval, ...byLabel, top: MAX_LINES },
    subject,
  );

  if (name === undefined) return <Unnamed choices={metrics} />;
  if (isUnknownName(name, metrics)) return <UnknownName kind="metric" name={name} />;
  const charted = split ? [split] : chartedStatistics(unit, statistic);
  const select = (selected: Statistic) => {
    const isOnly = charted.length === 1 && charted[0] === selected;
    if (split) go({ split: selected });
    else go({ statistic: isOnly ? undefined : selected });
  };
  return (
    <>
      <section class="panel" aria-labelledby="name">
        <div class="head named">
          <h2 id="name">{name}</h2>
          <UnitMenu name={name} />
          <NamePicker label="Metric" name={name} choices={metrics} />
        </div>
        <QueryResult query={series}>
          {(value) => (
            <Totals
              current={value}
              previous={previous ? (earlier.value ?? 'unknown') : undefined}
              unit={unit}
              charted={charted}
              onSelect={select}
            />
          )}
        </QueryResult>
        {previous && <QueryErrorNotice query={earlier} />}
        <NothingBefore />
        <div class="chart-options">
          <label class="check">
            <input
              type="checkbox"
              checked={split !== undefined}
              onChange={() => go({ split: split ? undefined : charted[0], statistic: split ?? statistic })}
            />
            Break down by label
          </label>
        </div>
        {split ? (
          <QueryResult query={lines}>
            {(value) => <LabelChart key={split} series={value} statistic={split} unit={unit} />}
          </QueryResult>
        ) : (
          series.value && (
            <StatisticsChart
              key={charted.join()}
              series={series.value}
              earlier={previous ? earlier.value : undefined}
              statistics={charted}
              unit={unit}
            />
          )
        )}
      </section>
      <section class="panel" aria-labelledby="by-label">
        <h2 id="by-label">By label</h2>
        <QueryResult query={labels}>
          {(value) => (
            <LabelTable
              series={value}
              earlier={previous ? (earlierLabels.value ?? 'unknown') : undefined}
              unit={unit}
            />
          )}
        </QueryResult>
        {previous && <QueryErrorNotice query={earlierLabels} />}
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

interface TotalsProps {
  readonly current: Series;
  readonly previous: Series | 'unknown' | undefined;
  readonly unit: Unit;
  /** The statistics on the chart. */
  readonly charted: readonly Statistic[];
  readonly onSelect: (statistic: Statistic) => void;
}

/** The statistics of the whole range, and of the previous period. Selecting one puts it on the chart. */
function Totals({ current, previous, unit, charted, onSelect }: TotalsProps) {
  return (
    <dl class="figures many">
      {STATISTICS.map((statistic) => (
        <Figure
          key={statistic}
          label={TITLES[statistic]}
          value={current[statistic]}
          unit={unitOfStatistic(unit, statistic)}
          previous={typeof previous === 'object' ? previous[statistic] : previous}
          isSelected={charted.includes(statistic)}
          onSelect={() => onSelect(statistic)}
        />
      ))}
    </dl>
  );
}
