import type { ComponentChildren } from 'preact';
import { MAX_TOP } from './address.ts';
import { barWidth, formatCount, formatText } from './format.ts';
import { useNavigation } from './navigation.ts';

/** A cell: its text and, for numbers, the exact value. */
export interface Cell {
  readonly text: ComponentChildren;
  readonly value?: number | null;
  /** The exact value as text. */
  readonly title?: string;
}

/** A row: a label with a bar behind it, and cells. */
export interface BarRow {
  readonly label: string;
  /** What the label says if it is not a recorded text, such as `(none)`. */
  readonly shown?: string;
  /** Length of the bar, from 0 to 1. */
  readonly part: number;
  readonly cells: readonly Cell[];
  /** Makes the label a button. */
  readonly onSelect?: (() => void) | undefined;
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

/** A table with a soft bar behind each label, for comparing rows at a glance. */
export function BarTable({ title, label, relativeTo, columns, rows }: BarTableProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
    <section class="scroll" tabIndex={0} aria-label={title}>
      <table class="bars">
        <thead>
          <tr>
            <th scope="col">
              {label}
              <span class="visually-hidden">, with bars relative to {relativeTo}</span>
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
            <tr key={`${i} ${row.label}`} class={row.onSelect ? 'selectable' : undefined}>
              <th scope="row">
                <RowLabel row={row} />
              </th>
              {row.cells.map(({ text, value, title: exact }, column) => (
                <td class="number" key={columns[column]}>
                  {value === undefined ? (
                    text
                  ) : (
                    <data value={String(value)} title={exact}>
                      {text}
                    </data>
                  )}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function RowLabel({ row: { label, shown = formatText(label), part, onSelect } }: { row: BarRow }) {
  return (
    <span class="barred">
      <span class="share" aria-hidden="true" style={{ width: barWidth(part) }} />
      {onSelect ? (
        <button type="button" class="plain name" onClick={onSelect} title={`Show only ${shown}`}>
          {shown}
        </button>
      ) : (
        <span class="name">{shown}</span>
      )}
    </span>
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
