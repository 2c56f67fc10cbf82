import type { Line } from './line.ts';
import { Swatch } from './tooltip.tsx';

interface LegendProps {
  readonly lines: readonly Line[];
  /** Labels of the lines that are hidden. */
  readonly hidden: ReadonlySet<string>;
  /** Called with the labels of the lines to show or to hide. */
  readonly onToggle: (labels: readonly string[]) => void;
}

/**
 * The lines of a chart, each a button that shows or hides it. The lines of the previous period share one. A single line
 * needs none.
 */
export function Legend({ lines, hidden, onToggle }: LegendProps) {
  const current = lines.filter(({ previousOf }) => previousOf === undefined);
  const [first, ...others] = lines.filter(({ previousOf }) => previousOf !== undefined);
  const entries = [
    ...current.map((line) => ({ text: line.label, line, labels: [line.label] })),
    ...(first
      ? [
          {
            text: periodOf(first),
            line: { ...first, color: '--ink-2' as const },
            labels: [first, ...others].map(({ label }) => label),
          },
        ]
      : []),
  ];
  return (
    <div class="legend">
      {(entries.length > 1 ? entries : []).map(({ text, line, labels }) => (
        <button
          type="button"
          key={text}
          aria-pressed={labels.some((label) => !hidden.has(label))}
          title={`Show or hide ${text}`}
          onClick={() => onToggle(labels)}
        >
          <Swatch line={line} />
          <span class="name">{text}</span>
        </button>
      ))}
    </div>
  );
}

/** Returns the name of the period that a line is about: what its label adds to that of the current line. */
function periodOf({ label, previousOf = '' }: Line): string {
  const period = label.startsWith(`${previousOf}, `) ? label.slice(`${previousOf}, `.length) : label;
  return period.charAt(0).toUpperCase() + period.slice(1);
}
