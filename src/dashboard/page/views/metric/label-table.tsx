import { type Statistic, withFilter } from '../../address.ts';
import { type BarRow, BarTable, type Cell, MoreGroups, othersLabel } from '../../bar-table.tsx';
import { ChangeText } from '../../figures.tsx';
import { changeRank, formatShare, NO_VALUE } from '../../format.ts';
import { useNavigation } from '../../navigation.ts';
import { EmptyMessage } from '../../states.tsx';
import { columnFormatter, formatExact } from '../../unit-format.ts';
import { headlineOf, type Unit, unitOfStatistic } from '../../units.ts';
import { type Series, TITLES } from './statistics.ts';

type Figures = Pick<Series, Statistic>;

/** Columns of the table, after each label's share. */
const COLUMNS = ['sum', 'count', 'p50', 'p95'] as const;

interface LabelTableProps {
  /** The series grouped by label. */
  readonly series: Series;
  /** The same for the period to compare with; 'unknown': not loaded yet; undefined: not compared. */
  readonly earlier: Series | 'unknown' | undefined;
  readonly unit: Unit;
}

/** The statistics of a metric by label, with each label's share. Selecting a label filters by it. */
export function LabelTable({ series, earlier, unit }: LabelTableProps) {
  const { address, go } = useNavigation();
  const { groups = [], other } = series;
  if (groups.length === 0) return <EmptyMessage>No values in this range.</EmptyMessage>;
  const others = other && other.labels > 0 ? other : undefined;
  const all: readonly Figures[] = [...groups, ...(others ? [others] : [])];
  const headline = headlineOf(unit);
  // what adds up to the whole: the money, or the number of values
  const measure = unit.isAmount && all.every(({ sum }) => sum >= 0) ? 'sum' : 'count';
  const max = Math.max(...all.map((figures) => figures[measure]));
  const formats = COLUMNS.map((statistic) => {
    const own = unitOfStatistic(unit, statistic);
    return {
      statistic,
      unit: own,
      format: columnFormatter(
        all.map((figures) => figures[statistic]),
        own,
      ),
    };
  });
  const row = (label: string, figures: Figures, before: Figures | 'unknown' | undefined): BarRow => {
    const share = series[measure] > 0 ? figures[measure] / series[measure] : null;
    return {
      label,
      part: max > 0 ? figures[measure] / max : 0,
      cells: [
        { text: formatShare(share), value: share },
        ...formats.map(
          ({ statistic, unit: own, format }): Cell => ({
            value: figures[statistic],
            text: format(figures[statistic]),
            title: formatExact(figures[statistic], own),
          }),
        ),
        ...(earlier === undefined ? [] : [changeCell(figures, before)]),
      ],
    };
  };
  const changeCell = (figures: Figures, before: Figures | 'unknown' | undefined): Cell => {
    if (before === 'unknown') return { text: '…', rank: null };
    if (before === undefined) return { text: NO_VALUE, rank: null };
    const { better } = unitOfStatistic(unit, headline);
    return {
      text: <ChangeText now={figures[headline]} before={before[headline]} better={better} />,
      rank: changeRank(figures[headline], before[headline]),
    };
  };
  const beforeOf = (label: string) =>
    typeof earlier === 'object' ? earlier.groups?.find(({ data_string }) => data_string === label) : earlier;
  return (
    <>
      <BarTable
        title="Statistics by label"
        label="Label"
        order={measure}
        relativeTo={`the highest ${TITLES[measure].toLowerCase()}`}
        columns={[
          { title: `Share of ${measure === 'sum' ? 'sum' : 'values'}`, key: 'share' },
          ...COLUMNS.map((statistic) => ({ title: TITLES[statistic], key: statistic })),
          ...(earlier === undefined
            ? []
            : [{ title: `Change of ${headline === 'sum' ? 'sum' : 'median'}`, key: 'change' }]),
        ]}
        rows={groups.map((group) => ({
          ...row(group.data_string, group, beforeOf(group.data_string)),
          onSelect: () =>
            go({ filters: withFilter(address.filters, { field: 'label', operator: '=', value: group.data_string }) }),
        }))}
        // not compared: the other labels of two periods are not the same ones
        rest={others && row(othersLabel(others.labels), others, undefined)}
      />
      {others && <MoreGroups />}
    </>
  );
}
