import { useMemo } from 'preact/hooks';
import type { Responses } from '../../api.ts';
import { ShownGroups } from '../../bar-table.tsx';
import { alignEarlierBuckets } from '../../chart/buckets.ts';
import { Chart } from '../../chart/chart.tsx';
import { type Line, previousOf } from '../../chart/line.ts';
import { formatText } from '../../format.ts';
import { useNavigation } from '../../navigation.ts';
import { EmptyMessage } from '../../states.tsx';
import type { Unit } from '../../units.ts';
import { LINE_COLORS } from '../metric/charts.tsx';
import { groupText } from './groups.ts';

export type Counts = Responses['/api/analytics/counts'];
type Bucket = Counts['buckets'][number];

/** The sum of a numeric property, as shown: its label and unit. */
export interface SumOf {
  readonly label: string;
  readonly unit: Unit;
}

interface CountsChartProps {
  readonly counts: Counts;
  /** The previous period; undefined: not compared, or not loaded yet. */
  readonly earlier: Counts | undefined;
  /** Undefined: nothing is summed. */
  readonly sumOf: SumOf | undefined;
  readonly unit: Unit;
}

/** Events, unique users and a sum over time. Each has a pane of its own, because the largest would flatten the others. */
export function CountsChart({ counts, earlier, sumOf, unit }: CountsChartProps) {
  const { buckets } = counts;
  const { compare } = useNavigation().address;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const [sumLabel, sumKind, sumScale, sumSymbol] = [
    ...[sumOf?.label, sumOf?.unit.kind],
    ...[sumOf?.unit.scale, sumOf?.unit.symbol],
  ];
  // biome-ignore lint/correctness/useExhaustiveDependencies: sums and units are equal if their parts are
  const lines = useMemo((): Line[] => {
    const before = earlier && alignEarlierBuckets(counts, earlier);
    const withEarlier = (line: Omit<Line, 'values'>, figureOf: (bucket: Bucket) => number | null): Line[] => {
      const current = { ...line, values: buckets.map(figureOf) };
      return before ? [current, previousOf(current, before, figureOf, compare)] : [current];
    };
    const users: Omit<Line, 'values'> = { label: 'Unique users', color: '--chart-3', pane: 1, unit };
    return [
      ...withEarlier({ label: 'Events', color: '--chart-1', shape: 'bars', unit }, ({ count }) => count),
      ...withEarlier(users, ({ unique_users }) => unique_users),
      ...(sumOf
        ? withEarlier(
            { label: sumOf.label, color: '--chart-2', pane: 2, shape: 'bars', unit: sumOf.unit },
            ({ sum }) => sum ?? null,
          )
        : []),
    ];
  }, [counts, buckets, earlier, compare, sumLabel, sumKind, sumScale, sumSymbol, unit.better]);
  if (counts.count === 0) return <EmptyMessage>No events in this range. Try a longer range.</EmptyMessage>;
  return (
    <Chart label={`${formatText(counts.type)} over time`} range={counts} starts={starts} lines={lines} unit={unit} />
  );
}

interface GroupChartProps {
  /** The counts grouped by label or property. */
  readonly counts: Counts;
  /** What they are grouped by, as in the response. */
  readonly groupBy: string;
  /** The heading of the groups: `Label`, or the path of the property. */
  readonly heading: string;
}

/** Events over time, for each of the most frequent labels or values of a property. */
export function GroupChart({ counts, groupBy, heading }: GroupChartProps) {
  const { buckets, groups = [] } = counts;
  const starts = useMemo(() => buckets.map(({ start }) => start), [buckets]);
  const lines = useMemo(
    () =>
      groups.map(
        (group, i): Line => ({
          label: groupText(group, groupBy),
          values: group.buckets.map(({ count }) => count),
          color: LINE_COLORS[i] ?? '--chart-4',
        }),
      ),
    [groups, groupBy],
  );
  if (groups.length === 0) return <EmptyMessage>No events in this range. Try a longer range.</EmptyMessage>;
  return (
    <>
      <Chart
        label={`Events of ${formatText(counts.type)} by ${heading.toLowerCase()}`}
        range={counts}
        starts={starts}
        lines={lines}
      />
      <ShownGroups shown={groups.length} hidden={counts.other?.labels ?? 0} />
    </>
  );
}
