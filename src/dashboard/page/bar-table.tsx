import { MAX_TOP } from './address.ts';
import { Bar } from './figures.tsx';
import { formatCount, formatText } from './format.ts';
import { useNavigation } from './navigation.ts';

/** A cell: its text and, for numbers, the exact value. */
export interface Cell {
  readonly text: string;
  readonly value?: number | null;
}

/** A row: a label, a bar, and cells. */
export interface BarRow {
  readonly label: string;
  /** Length of the bar, from 0 to 1. */
  readonly part: number;
  readonly cells: readonly Cell[];
  /** Makes the label a button. */
  readonly onSelect?: () => void;
}

interface BarTableProps {
  /** Accessible name of the table. */
  readonly title: string;
  /** Heading of the label column. */
  readonly label: string;
  /** What a bar of full length means, for screen readers. */
  readonly relativeTo: string;
  readonly columns: readonly string[];
  readonly rows: readonly BarRow[];
}

/** A table with a bar next to each label, for comparing rows at a glance. */
export function BarTable({ title, label, relativeTo, columns, rows }: BarTableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
    <section class="scroll" tabIndex={0} aria-label={title}>
      <table class="bars">
        <thead>
          <tr>
            <th scope="col">{label}</th>
            <th scope="col" class="wide">
              <span class="visually-hidden">Relative to {relativeTo}</span>
            </th>
            {columns.map((column) => (
              <th scope="col" class="number" key={column}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: labels can repeat, so the index is part of the key
            <tr key={`${i} ${row.label}`}>
              <th scope="row">
                {row.onSelect ? (
                  <button
                    type="button"
                    class="plain name"
                    onClick={row.onSelect}
                    title={`Show only ${formatText(row.label)}`}
                  >
                    {formatText(row.label)}
                  </button>
                ) : (
                  <span class="name">{formatText(row.label)}</span>
                )}
              </th>
              <td class="wide">
                <Bar part={row.part} />
              </td>
              {row.cells.map(({ text, value }, column) => (
                <td class="number" key={columns[column]}>
                  {value === undefined ? text : <data value={String(value)}>{text}</data>}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Returns the label of the row that sums up the remaining groups. */
export function othersLabel(labels: number): string {
  return `${formatCount(labels)} ${labels === 1 ? 'other' : 'others'}`;
}

/** A button that lists more groups, up to the limit of the query routes. */
export function MoreGroups() {
  const { address, go } = useNavigation();
  if (address.top >= MAX_TOP) return null;
  return (
    <button type="button" onClick={() => go({ top: Math.min(MAX_TOP, address.top * 10) })}>
      Show more
    </button>
  );
}
