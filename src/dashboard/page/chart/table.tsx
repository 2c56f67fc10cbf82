import { useMemo, useState } from 'preact/hooks';
import { NO_VALUE } from '../format.ts';
import { columnFormatter, type Formatter } from '../unit-format.ts';
import type { Unit } from '../units.ts';
import type { Annotation, Line } from './line.ts';

/** Maximum number of table rows. More would slow down the page, and nobody reads them. */
const MAX_TABLE_ROWS = 1_000;

interface TableProps {
  readonly label: string;
  /** Starts of the buckets, formatted. */
  readonly starts: readonly string[];
  readonly lines: readonly Line[];
  /** Lines that the chart does not show. */
  readonly others: readonly Line[];
  /** The unit of lines without one of their own. */
  readonly unit: Unit;
  /** Undefined: according to the unit, with the same number of decimals in a column. */
  readonly format: Formatter | undefined;
  readonly zone: string;
  /** The start of each bucket, then the end of the last one, in seconds since 1970. */
  readonly edges: readonly number[];
  readonly annotations: readonly Annotation[];
}

/** The data of a chart as a table, rendered only when opened. */
export function Table({ label, starts, lines, others, unit, format, zone, edges, annotations }: TableProps) {
  const [isOpen, setOpen] = useState(false);
  const table = useMemo(() => {
    if (!isOpen) return null;
    const skipped = Math.max(0, starts.length - MAX_TABLE_ROWS);
    const columns = [...lines, ...others].map((line) => ({
      line,
      format: format ?? columnFormatter(line.values, line.unit ?? unit),
    }));
    const notesOn = (bucket: number) => {
      const [start = 0, end = start] = edges.slice(bucket, bucket + 2);
      return annotations.filter(({ at }) => at.getTime() >= start * 1000 && at.getTime() < end * 1000);
    };
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
              {columns.map(({ line }) => (
                <th scope="col" class="number" key={line.label}>
                  {line.label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {starts.slice(skipped).map((start, i) => (
              <tr key={start}>
                <th scope="row">
                  {start}
                  {notesOn(i + skipped).map(({ text }) => (
                    <small key={text}>{text}</small>
                  ))}
                </th>
                {columns.map(({ line, format: formatCell }) => {
                  const value = line.values[i + skipped] ?? null;
                  return (
                    <td class="number" key={line.label}>
                      {value === null ? NO_VALUE : <data value={String(value)}>{formatCell(value)}</data>}
                    </td>
                  );
                })}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    );
  }, [isOpen, starts, lines, others, unit, format, label, zone, edges, annotations]);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>View as table</summary>
      {table}
    </details>
  );
}
