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
  /** What rows are sorted by if it is not the value; null: unknown. */
  readonly rank?: number | null;
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

/** A column: its heading and, if rows can be sorted by it, its name in the URL. */
export interface Column {
  readonly title: string;
  readonly key?: string;
}

interface BarTableProps {
  /** Accessible name of the table. */
  readonly title: string;
  /** Heading of the label column. */
  readonly label: string;
  /** What a bar of full length means, for screen readers. */
  readonly relativeTo: string;
  readonly columns: readonly Column[];
  readonly rows: readonly BarRow[];
  /** The row that sums up the remaining groups, which stays at the end. */
  readonly rest?: BarRow | undefined;
  /** The key of the column that rows are sorted by unless the user selects another one. Default: as given. */
  readonly order?: string;
}

/** A table with a soft bar behind each label, for comparing rows at a glance. */
export function BarTable({ title, label, relativeTo, columns, rows, rest, order }: BarTableProps) {
  const { address } = useNavigation();
  const shown = [...sortedRows(rows, columns, address.sort ?? order), ...(rest ? [rest] : [])];
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
              <Heading key={column.title} column={column} />
            ))}
          </tr>
        </thead>
        <tbody>
          {shown.map((row, i) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: labels can repeat, so the index is part of the key
            <tr key={`${i} ${row.label}`} class={row.onSelect ? 'selectable' : undefined}>
              <th scope="row">
                <RowLabel row={row} />
              </th>
              {row.cells.map(({ text, value, title: exact }, column) => (
                <td class="number" key={columns[column]?.title}>
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

/** Sorts rows by the column with a key, the largest first; with a minus sign before the key, the smallest first. */
function sortedRows(rows: readonly BarRow[], columns: readonly Column[], sort: string | undefined): readonly BarRow[] {
  const isAscending = sort?.startsWith('-') ?? false;
  const column = sort === undefined ? -1 : columns.findIndex(({ key }) => key === sort.slice(isAscending ? 1 : 0));
  if (column < 0) return rows;
  const rankOf = ({ cells }: BarRow) => {
    const { rank, value = null } = cells[column] ?? { rank: null };
    return rank === undefined ? value : rank;
  };
  return rows.toSorted((a, b) => {
    const [first, second] = [rankOf(a), rankOf(b)];
    // unknown ones last
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    return first === second ? 0 : first < second === isAscending ? -1 : 1;
  });
}

/** The heading of a column; a button if rows can be sorted by it: the largest first, then the smallest, then as before. */
function Heading({ column: { title, key } }: { column: Column }) {
  const { address, go } = useNavigation();
  if (key === undefined) {
    return (
      <th scope="col" class="number">
        {title}
      </th>
    );
  }
  const isDescending = address.sort === key;
  const isAscending = address.sort === `-${key}`;
  const next = isDescending ? `-${key}` : isAscending ? undefined : key;
  return (
    <th scope="col" class="number" aria-sort={isDescending ? 'descending' : isAscending ? 'ascending' : undefined}>
      <button type="button" class="plain" onClick={() => go({ sort: next })}>
        {title}
        <span class="sort-arrow" aria-hidden="true">
          {isAscending ? '▲' : isDescending ? '▼' : ''}
        </span>
      </button>
    </th>
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

/** Says which groups a chart shows, if it does not show all. */
export function ShownGroups({ shown, hidden }: { shown: number; hidden: number }) {
  if (hidden === 0) return null;
  return (
    <p class="quiet">
      The chart shows the {shown} most frequent of {formatCount(shown + hidden)}.
    </p>
  );
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
