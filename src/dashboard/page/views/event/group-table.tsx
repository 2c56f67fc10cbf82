import { type Filter, withFilter } from '../../address.ts';
import { type BarRow, BarTable, type Cell, MoreGroups, othersLabel } from '../../bar-table.tsx';
import { ChangeText } from '../../figures.tsx';
import { changeRank, formatShare, NO_VALUE } from '../../format.ts';
import { useNavigation } from '../../navigation.ts';
import { EmptyMessage } from '../../states.tsx';
import { columnFormatter, formatExact } from '../../unit-format.ts';
import { COUNT, type Unit } from '../../units.ts';
import type { Counts, SumOf } from './charts.tsx';
import { groupText, groupValue } from './groups.ts';

type Figures = Pick<Counts, 'count' | 'unique_users' | 'sum'>;

interface GroupTableProps {
  /** The counts grouped by label or property. */
  readonly counts: Counts;
  /** The same for the period to compare with; 'unknown': not loaded yet; undefined: not compared. */
  readonly earlier: Counts | 'unknown' | undefined;
  readonly field: Filter['field'];
  /** What the counts are grouped by, as in the response. */
  readonly groupBy: string;
  /** The heading of the groups: `Label`, or the path of the property. */
  readonly heading: string;
  readonly sumOf: SumOf | undefined;
  readonly unit: Unit;
}

/** Events by label or by a property, with each group's share. Selecting a group filters by it. */
export function GroupTable({ counts, earlier, field, groupBy, heading, sumOf, unit }: GroupTableProps) {
  const { address, go } = useNavigation();
  const { groups = [], other } = counts;
  if (groups.length === 0) return <EmptyMessage>No events in this range.</EmptyMessage>;
  const others = other && other.labels > 0 ? other : undefined;
  const all: readonly Figures[] = [...groups, ...(others ? [others] : [])];
  const max = Math.max(...all.map(({ count }) => count));
  const columns = [
    { key: 'count', title: 'Events', unit: COUNT, of: ({ count }: Figures) => count },
    { key: 'users', title: 'Users', unit: COUNT, of: ({ unique_users }: Figures) => unique_users },
    ...(sumOf ? [{ key: 'sum', title: sumOf.label, unit: sumOf.unit, of: ({ sum }: Figures) => sum ?? null }] : []),
  ].map((column) => ({ ...column, format: columnFormatter(all.map(column.of), column.unit) }));
  const changeCell = (figures: Figures, before: Figures | 'unknown' | undefined): Cell => {
    if (before === 'unknown') return { text: '…', rank: null };
    if (before === undefined) return { text: NO_VALUE, rank: null };
    return {
      text: <ChangeText now={figures.count} before={before.count} better={unit.better} />,
      rank: changeRank(figures.count, before.count),
    };
  };
  const row = (label: string, figures: Figures, before: Figures | 'unknown' | undefined): BarRow => {
    const share = figures.count / counts.count;
    return {
      label,
      shown: label,
      part: figures.count / max,
      cells: [
        { text: formatShare(share), value: share },
        ...columns.map(({ of, format, unit: own }): Cell => {
          const value = of(figures);
          return { value, text: format(value), title: formatExact(value, own) };
        }),
        ...(earlier === undefined ? [] : [changeCell(figures, before)]),
      ],
    };
  };
  const beforeOf = (value: string | undefined) =>
    typeof earlier === 'object' ? earlier.groups?.find((group) => groupValue(group, groupBy) === value) : earlier;
  return (
    <>
      <BarTable
        title={`Events by ${heading.toLowerCase()}`}
        label={heading}
        relativeTo="the highest count"
        columns={[
          { title: 'Share of events', key: 'share' },
          ...columns,
          ...(earlier === undefined ? [] : [{ title: 'Change of events', key: 'change' }]),
        ]}
        rows={groups.map((group) => {
          const value = groupValue(group, groupBy);
          const filters =
            value === undefined ? undefined : withFilter(address.filters, { field, operator: '=', value });
          return {
            ...row(groupText(group, groupBy), group, beforeOf(value)),
            onSelect: filters && (() => go({ filters })),
          };
        })}
        // not compared: the other groups of two periods are not the same ones
        rest={others && row(othersLabel(others.labels), others, undefined)}
      />
      {others && <MoreGroups />}
    </>
  );
}
