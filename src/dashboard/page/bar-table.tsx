import { MAX_TOP } from './address.ts';
import { Bar } from './figures.tsx';
import { formatCount, formatText } from './format.ts';
import { usePlace } from './place.ts';

/** A cell: its text, and the number that the text says, where it is one. */
export interface Cell {
  readonly text: string;
  readonly value?: number | null;
}

/** A row: a label, a bar, and cells. */
export interface BarRow {
  readonly label: string;
  /** How long the bar is: 0 to 1. */
  readonly part: number;
  readonly cells: readonly Cell[];
  /** Where the label can be pressed: what that does. */
  readonly onChosen?: () => void;
}

interface BarTableProps {
  /** What the table shows, for those who do not see it. */
  readonly title: string;
  /** What the labels are. */
  readonly label: string;
  /** What the bars are parts of. */
  readonly partOf: string;
  readonly columns: readonly string[];
  readonly rows: readonly BarRow[];
}

/** A table whose rows have a bar behind their label, so that they can be compared at a glance. */
export function BarTable({ title, label, partOf, columns, rows }: BarTableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <section class="scroll" tabIndex={0} aria-label={title}>
      <table class="bars">
        <thead>
          <tr>
            <th scope="col">{label}</th>
            <th scope="col" class="wide">
              <span class="unseen">Part of {partOf}</span>
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
            // biome-ignore lint/suspicious/noArrayIndexKey: a label may be there twice, and its place is what it is
            <tr key={`${i} ${row.label}`}>
              <th scope="row">
                {row.onChosen ? (
                  <button
                    type="button"
                    class="plain name"
                    onClick={row.onChosen}
                    title={`Show this one alone: ${formatText(row.label)}`}
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
              {row.cells.map(({ text, value }, place) => (
                <td class="number" key={columns[place]}>
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

/** What the rest of a list of groups is called. */
export function othersLabel(labels: number): string {
  return `${formatCount(labels)} ${labels === 1 ? 'other' : 'others'}`;
}

/** Shows more groups before the rest, as many as the reading routes answer with. */
export function MoreGroups() {
  const { address, go } = usePlace();
  if (address.top >= MAX_TOP) return null;
  return (
    <button type="button" onClick={() => go({ top: Math.min(MAX_TOP, address.top * 10) })}>
      Show more
    </button>
  );
}
