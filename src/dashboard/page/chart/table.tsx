import { useMemo, useState } from 'preact/hooks';
import { NO_VALUE } from '../format.ts';
import type { Line } from './plot.ts';

/** Maximum number of table rows. More would slow down the page, and nobody reads them. */
const MAX_TABLE_ROWS = 1_000;

interface TableProps {
  readonly label: string;
  /** Starts of the buckets, formatted. */
  readonly starts: readonly string[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null) => string;
  readonly zone: string;
}

/** The data of a chart as a table, rendered only when opened. */
export function Table({ label, starts, lines, format, zone }: TableProps) {
  const [isOpen, setOpen] = useState(false);
  const table = useMemo(() => {
    if (!isOpen) return null;
    const skipped = Math.max(0, starts.length - MAX_TABLE_ROWS);
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: scrollable regions must be reachable by keyboard
      <section class="scroll tall" tabIndex={0} aria-label={`Table: ${label}`}>
        {skipped > 0 && (
          <p class="quiet">
            Showing the last {MAX_TABLE_ROWS} of {starts.length} rows.
          </p>
        )}
        <table>
          <thead>
            <tr>
              <th scope="col">Start ({zone})</th>
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
                      {value === null ? NO_VALUE : <data value={String(value)}>{format(value)}</data>}
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
      <summary>View as table</summary>
      {table}
    </details>
  );
}
