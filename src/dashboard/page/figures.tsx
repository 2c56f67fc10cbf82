import type { ComponentChildren } from 'preact';
import { barWidth, formatChange } from './format.ts';

interface FigureProps {
  readonly label: string;
  /** Undefined: not loaded yet. */
  readonly value: number | null | undefined;
  readonly format: (value: number | null) => string;
  /** The value of the previous period; 'unknown': not loaded yet; undefined: not shown. */
  readonly previous?: number | null | 'unknown' | undefined;
  readonly children?: ComponentChildren;
}

/** A large figure with its label. */
export function Figure({ label, value, format, previous, children }: FigureProps) {
  const change = typeof previous === 'number' && value !== undefined ? formatChange(value, previous) : undefined;
  return (
    <div class="figure">
      <dt>{label}</dt>
      <dd>
        {value === undefined ? '…' : <data value={String(value)}>{format(value)}</data>}
        {previous !== undefined && (
          <small class="quiet">
            {change && `${change}, `}previously {previous === 'unknown' ? '…' : format(previous)}
          </small>
        )}
        {children && <small class="quiet">{children}</small>}
      </dd>
    </div>
  );
}

/** A bar for a value relative to the largest. Hidden from screen readers, because the figure is next to it. */
export function Bar({ part }: { part: number }) {
  return (
    <span class="bar" aria-hidden="true">
      <span style={{ width: barWidth(part) }} />
    </span>
  );
}

const WIDTH = 120;
const HEIGHT = 28;

/** Counts over time as a small line without axes. Hidden from screen readers, because the total is next to it. */
export function Sparkline({ counts }: { counts: readonly number[] }) {
  const max = Math.max(1, ...counts);
  const step = WIDTH / Math.max(1, counts.length - 1);
  const points = counts.map(
    (count, i) => `${(i * step).toFixed(1)},${(HEIGHT - 2 - (count / max) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} width={WIDTH} height={HEIGHT} aria-hidden="true">
      <polyline points={points.length === 1 ? `0,14 ${WIDTH},14` : points.join(' ')} />
    </svg>
  );
}
