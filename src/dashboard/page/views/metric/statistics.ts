import type { Comparison, Statistic } from '../../address.ts';
import type { Responses } from '../../api.ts';
import { alignEarlierBuckets } from '../../chart/buckets.ts';
import { type Line, previousOf } from '../../chart/line.ts';
import { type Unit, unitOfStatistic } from '../../units.ts';

export type Series = Responses['/api/metrics/series'];

/** Labels of the statistics. */
export const TITLES: Readonly<Record<Statistic, string>> = {
  count: 'Count',
  sum: 'Sum',
  avg: 'Average',
  p50: 'Median (p50)',
  p95: 'p95',
  p99: 'p99',
  min: 'Min',
  max: 'Max',
};

/** Statistics that add up over time: bars, and an axis from zero. */
export const ADDITIVE: ReadonlySet<Statistic> = new Set(['count', 'sum']);

/**
 * Returns the statistics of a metric's chart, most important first: the selected one, or by default the sum of amounts,
 * median and p95 of durations and sizes, and the average of other values.
 */
export function chartedStatistics(unit: Unit, selected: Statistic | undefined): readonly Statistic[] {
  if (selected !== undefined) return [selected];
  if (unit.isAmount) return ['sum'];
  return unit.kind === 'duration' || unit.kind === 'bytes' ? ['p50', 'p95'] : ['avg'];
}

const COLORS = ['--chart-1', '--chart-3'] as const;

/** Returns the lines of a chart of statistics, each followed by that of the previous period, if there is one. */
export function linesOf(
  series: Series,
  earlier: Series | undefined,
  statistics: readonly Statistic[],
  unit: Unit,
  comparison?: Comparison,
): Line[] {
  const before = earlier && alignEarlierBuckets(series, earlier);
  return statistics.flatMap((statistic, i): Line[] => {
    const isAdditive = ADDITIVE.has(statistic);
    const line: Line = {
      label: TITLES[statistic],
      values: series.buckets.map((bucket) => bucket[statistic]),
      color: COLORS[i] ?? '--chart-4',
      shape: isAdditive ? 'bars' : 'line',
      unit: unitOfStatistic(unit, statistic),
    };
    if (!before) return [line];
    return [line, previousOf(line, before, (bucket) => bucket[statistic], comparison)];
  });
}
