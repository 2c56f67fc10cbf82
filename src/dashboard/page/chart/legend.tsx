import type { Line } from './line.ts';
import { Swatch } from './tooltip.tsx';

interface LegendProps {
  readonly lines: readonly Line[];
  /** Labels of the lines that are hidden. */
  readonly hidden: ReadonlySet<string>;
  readonly onToggle: (label: string) => void;
}

/** The lines of a chart, each a button that shows or hides it. A single line needs none. */
export function Legend({ lines, hidden, onToggle }: LegendProps) {
  return (
    <div class="legend">
      {(lines.length > 1 ? lines : []).map((line) => (
        <button
          type="button"
          key={line.label}
          aria-pressed={!hidden.has(line.label)}
          title={`Show or hide ${line.label}`}
          onClick={() => onToggle(line.label)}
        >
          <Swatch line={line} />
          <span class="name">{line.label}</span>
        </button>
      ))}
    </div>
  );
}
