import { useMemo } from 'preact/hooks';
import type { Address, Comparison } from '../../address.ts';
import { useZone } from '../../calendar.ts';
import { Chart } from '../../chart/chart.tsx';
import type { Line } from '../../chart/plot.ts';
import { Figure, Value } from '../../figures.tsx';
import { formatText, formatTime } from '../../format.ts';
import { useNavigation } from '../../navigation.ts';
import { EmptyMessage } from '../../states.tsx';
import { INTERVALS } from '../../time.ts';
import { COUNT, type Unit } from '../../units.ts';
import { type Activity, alignEarlierValues } from './figures.ts';
import { type LoadedMetric, useOverviewRange } from './use-figures.ts';

/** Number of metrics among the headline figures. */
const METRICS = 3;

const EARLIER_LABELS = {
  previous: 'previous period',
  year: 'previous year',
  weekdays: 'matching weekdays',
} as const satisfies Record<Comparison, string>;

/** More users and more events are better. */
const MORE_IS_BETTER: Unit = { ...COUNT, better: 'higher' };

/** A figure that can be put on the chart. */
export interface Headline {
  readonly label: string;
  readonly unit: Unit;
  readonly value: number | null | undefined;
  /** Of the period before; undefined: not loaded yet. */
  readonly previous: number | null | undefined;
  /** Per bucket; undefined: not loaded yet. */
  readonly values: readonly (number | null)[] | undefined;
  readonly earlierValues: readonly (number | null)[] | undefined;
  /** The part of the address that puts the figure on the chart. */
  readonly selection: Pick<Address, 'name' | 'statistic'>;
}

/** Returns the headline figures: users, events, and the most important metrics. */
export function headlinesOf(
  current: Activity,
  earlier: Activity | undefined,
  metrics: readonly LoadedMetric[],
  isOneUser: boolean,
): Headline[] {
  const users: Headline = {
    label: 'Active users',
    unit: MORE_IS_BETTER,
    value: current.unique_users,
    previous: earlier?.unique_users,
    values: current.user_counts,
    earlierValues: earlier?.user_counts,
    selection: { name: undefined, statistic: undefined },
  };
  const events: Headline = {
    label: 'Events',
    unit: MORE_IS_BETTER,
    value: current.analytics.count,
    previous: earlier?.analytics.count,
    values: current.analytics.counts,
    earlierValues: earlier?.analytics.counts,
    selection: { name: undefined, statistic: isOneUser ? undefined : 'count' },
  };
  const ofMetrics = metrics.map(({ metric, ranked, query, earlier: before }): Headline => {
    const { name, statistic, unit } = metric;
    return {
      label: `${formatText(name)}, ${statistic}`,
      unit,
      value: ranked.now,
      previous: ranked.before,
      values: query.value && ranked.values,
      earlierValues: before?.buckets.map((bucket) => bucket[statistic]),
      selection: { name, statistic: undefined },
    };
  });
  return [...(isOneUser ? [] : [users]), events, ...ofMetrics];
}

/** Returns the headline that the address selects; the first one if it selects none of them. */
export function selectedOf(headlines: readonly Headline[], { name, statistic }: Address): Headline | undefined {
  const isSelected = ({ selection }: Headline) => selection.name === name && selection.statistic === statistic;
  return headlines.find(isSelected) ?? headlines[0];
}

interface HeadlinesProps {
  readonly headlines: readonly Headline[];
  readonly selected: Headline | undefined;
  readonly hasEarlier: boolean;
}

/** The headline figures. Selecting one puts it on the chart. */
export function Headlines({ headlines, selected, hasEarlier }: HeadlinesProps) {
  const { go } = useNavigation();
  // a metric that the chart shows stays in view, even if others are more important
  const others = headlines.filter(({ selection }) => selection.name !== undefined);
  const hidden = new Set(others.slice(METRICS).filter((headline) => headline !== selected));
  return (
    <dl class="figures headlines">
      {headlines
        .filter((headline) => !hidden.has(headline))
        .map((headline) => (
          <Figure
            key={headline.label}
            label={headline.label}
            value={headline.value}
            unit={headline.unit}
            previous={hasEarlier ? (headline.previous === undefined ? 'unknown' : headline.previous) : undefined}
            isSelected={headline === selected}
            onSelect={() => go(headline.selection)}
          />
        ))}
    </dl>
  );
}

/** Numbers of active users by how long ago they were last active. */
export function ActiveUsers({
  periods,
}: {
  periods: readonly (readonly [label: string, users: number | undefined])[];
}) {
  return (
    <dl class="active-users">
      {periods.map(([label, users]) => (
        <div key={label} class={users ? 'some' : ''}>
          <dt>{label}</dt>
          <dd>{users === undefined ? '…' : <Value value={users} unit={COUNT} />}</dd>
        </div>
      ))}
    </dl>
  );
}

interface HeadlineChartProps {
  readonly headline: Headline;
  readonly current: Activity;
  /** The range before; undefined: not compared, or not loaded yet. */
  readonly earlier: Activity | undefined;
  /** When recording began, if that was within the range before. */
  readonly beganWithin: Date | undefined;
  /** When recording began, if that was after the range before. */
  readonly beganAfter: Date | undefined;
}

/** The selected figure over time, with the period before as a dotted line. */
export function HeadlineChart({ headline, current, earlier, beganWithin, beganAfter }: HeadlineChartProps) {
  const { address } = useNavigation();
  const { interval } = useOverviewRange();
  const zone = useZone();
  const earlierLabel = EARLIER_LABELS[address.compare ?? 'previous'];
  const { label, unit, values, earlierValues } = headline;
  const { starts, from, to } = current;
  const lines = useMemo((): Line[] => {
    const line: Line = { label, values: values ?? starts.map(() => null), color: '--chart-1' };
    if (!earlier || !earlierValues) return [line];
    const before = alignEarlierValues(current, earlier, earlierValues);
    return [
      line,
      { ...before, label: `${label}, ${earlierLabel}`, color: '--chart-4', shape: 'dashed', previousOf: label },
    ];
  }, [label, values, earlierLabel, earlierValues, current, earlier, starts]);
  if (starts.length === 0) return <EmptyMessage>Nothing was recorded in this range. Try a longer one.</EmptyMessage>;
  return (
    <>
      <Chart
        label={`${label} over time`}
        range={{ from, to }}
        starts={starts}
        lines={lines}
        unit={unit}
        interval={interval}
      />
      {beganWithin && (
        <p class="quiet">
          Recording began on {formatTime(beganWithin, zone, 'minute')}, within the period before, so changes look larger
          than they are.
        </p>
      )}
      {beganAfter && (
        <p class="quiet">
          Recording began on {formatTime(beganAfter, zone, 'minute')}, so there is no period before to compare with.
        </p>
      )}
    </>
  );
}

/** Returns the title of the chart, such as `Active users per day`. */
export function useChartTitle(headline: Headline | undefined): string {
  const { interval } = useOverviewRange();
  const length = INTERVALS.find(({ name }) => name === interval)?.label.replace(/^1 /, '') ?? interval;
  return `${headline?.label ?? 'Figures'} per ${length}`;
}
