import { useMemo, useState } from 'preact/hooks';
import { NOTHING } from '../format.ts';
import type { Line } from './plot.ts';

/** Rows of the table of figures, at most: a page of more is slow, and nobody reads it. */
const MAX_TABLE_ROWS = 1_000;

interface TableProps {
  readonly label: string;
  /** The starts of the buckets, as they are shown. */
  readonly starts: readonly string[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  readonly zone: string;
}

/** The figures of a chart as a table, made when it is opened. */
export function Table({ label, starts, lines, format, zone }: TableProps) {
  const [isOpen, setOpen] = useState(false);
  const table = useMemo(() => {
    if (!isOpen) return null;
    const skipped = Math.max(0, starts.length - MAX_TABLE_ROWS);
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      <section class="scroll tall" tabIndex={0} aria-label={`Table: ${label}`}>
        {skipped > 0 && (
          <p class="quiet">
            The last {MAX_TABLE_ROWS} of {starts.length} buckets.
          </p>
        )}
        <table>
          <thead>
            <tr>
              <th scope="col">From ({zone})</th>
              {lines.map((line) => (
                <th scope="col" class="number" key={line.label}>
                  {line.label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {starts.slice(skipped).map((start, i) => (
              <tr key={start}>
                <th scope="row">{start}</th>
                {lines.map((line) => {
                  const value = line.values[i + skipped] ?? null;
                  return (
                    <td class="number" key={line.label}>
                      {value === null ? NOTHING : <data value={String(value)}>{format(value)}</data>}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    );
  }, [isOpen, starts, lines, format, label, zone]);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Figures as a table</summary>
      {table}
    </details>
  );
}
