import { useMemo } from 'preact/hooks';
import { STATISTICS, type Statistic } from '../../address.ts';
import { ShownGroups } from '../../bar-table.tsx';
import { Chart } from '../../chart/chart.tsx';
import type { Line } from '../../chart/line.ts';
import { formatText } from '../../format.ts';
import { useNavigation } from '../../navigation.ts';
import { EmptyMessage } from '../../states.tsx';
import { type Unit, unitOfStatistic } from '../../units.ts';
import { ADDITIVE, linesOf, type Series, TITLES } from './statistics.ts';

interface StatisticsChartProps {
  readonly series: Series;
  /** The previous period; undefined: not compared, or not loaded yet. */
  readonly earlier: Series | undefined;
  readonly statistics: readonly Statistic[];
  readonly unit: Unit;
}

/** Statistics of a metric over time. The table of the chart has all of them. */
export function StatisticsChart({ series, earlier, statistics, unit }: StatisticsChartProps) {
  const { buckets } = series;
  const { compare } = useNavigation().address;
  const { kind, scale, symbol, better, isAmount } = unit;
  const names = statistics.join();
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: units and lists of statistics are equal if their parts are
  const [lines, others] = useMemo(() => {
    const rest = STATISTICS.filter((statistic) => !statistics.includes(statistic));
    return [linesOf(series, earlier, statistics, unit, compare), linesOf(series, undefined, rest, unit)];
  }, [series, earlier, names, compare, kind, scale, symbol, better, isAmount]);
  if (!buckets.some(({ count }) => count > 0)) {
    return <EmptyMessage>No values in this range. Try a longer range.</EmptyMessage>;
  }
  const isRange = names === 'p50,p95';
  return (
    <Chart
      label={`${statistics.map((statistic) => TITLES[statistic]).join(' and ')} of ${series.name} over time`}
      range={series}
      starts={starts}
      lines={lines}
      tableLines={others}
      // between median and p95 are most of the slower half
      band={isRange ? [lines.findIndex(({ label }) => label === TITLES.p95), 0] : undefined}
      unit={unit}
      isZeroBased={statistics.every((statistic) => ADDITIVE.has(statistic))}
    />
  );
}

/** Maximum number of labels in a breakdown chart. */
export const MAX_LINES = 5;

/** Colors of the lines of a breakdown chart. */
export const LINE_COLORS = ['--chart-1', '--chart-2', '--chart-3', '--chart-5', '--chart-6'] as const;

/** A statistic over time, for each of the most frequent labels. */
export function LabelChart({ series, statistic, unit }: { series: Series; statistic: Statistic; unit: Unit }) {
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
    <>
      <Chart
        label={`${TITLES[statistic]} of ${series.name} by label`}
        range={series}
        starts={starts}
        lines={lines}
        unit={unitOfStatistic(unit, statistic)}
        isZeroBased={ADDITIVE.has(statistic)}
      />
      <ShownGroups shown={groups.length} hidden={series.other?.labels ?? 0} />
    </>
  );
}
