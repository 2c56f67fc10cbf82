import type { ComponentChildren } from 'preact';
import { barWidth, formatChange } from './format.ts';

interface FigureProps {
  readonly label: string;
  /** Undefined: it is not known yet. */
  readonly value: number | null | undefined;
  readonly format: (value: number | null) => string;
  /** The same figure of the period before, or that it is not known yet; undefined: it is not shown. */
  readonly before?: number | null | 'unknown' | undefined;
  readonly children?: ComponentChildren;
}

/** One figure with its name, large. */
export function Figure({ label, value, format, before, children }: FigureProps) {
  const change = typeof before === 'number' && value !== undefined ? formatChange(value, before) : undefined;
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>
        {value === undefined ? '…' : <data value={String(value)}>{format(value)}</data>}
        {before !== undefined && (
          <small class="quiet">
            {change && `${change}, `}before: {before === 'unknown' ? '…' : format(before)}
          </small>
        )}
        {children && <small class="quiet">{children}</small>}
      </dd>
    </div>
  );
}

/** How long a value's bar is: a part of the largest. It repeats what the figure beside it says. */
export function Bar({ part }: { part: number }) {
  return (
    <span class="bar" aria-hidden="true">
      <span style={{ width: barWidth(part) }} />
    </span>
  );
}

const WIDTH = 120;
const HEIGHT = 28;

/** Counts over time as a small line without axes. The figures are beside it. */
export function Sparkline({ counts }: { counts: readonly number[] }) {
  const most = Math.max(1, ...counts);
  const step = WIDTH / Math.max(1, counts.length - 1);
  const points = counts.map(
    (count, i) => `${(i * step).toFixed(1)},${(HEIGHT - 2 - (count / most) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} aria-hidden="true">
      <polyline points={points.length === 1 ? `0,14 ${WIDTH},14` : points.join(' ')} />
    </svg>
  );
}
