import type { ComponentChildren } from 'preact';
import { changeOf } from './format.ts';
import { type Formatter, formatExact, formatFigure } from './unit-format.ts';
import { type Better, COUNT, type Unit } from './units.ts';

interface FigureProps {
  readonly label: string;
  /** Undefined: not loaded yet. */
  readonly value: number | null | undefined;
  /** Default: counts. */
  readonly unit?: Unit;
  /** Default: three significant digits with the unit. */
  readonly format?: Formatter;
  /** The value of the previous period; 'unknown': not loaded yet; undefined: not shown. */
  readonly previous?: number | null | 'unknown' | undefined;
  /** Called when the figure is selected, for example to show it in a chart. */
  readonly onSelect?: (() => void) | undefined;
  /** Whether the figure is selected; for figures with `onSelect`. */
  readonly isSelected?: boolean;
  readonly children?: ComponentChildren;
}

/** A large figure with its label and, if there is a previous one, the change. */
export function Figure({ label, value, unit = COUNT, format, previous, onSelect, isSelected, children }: FigureProps) {
  const formatted = format ?? ((figure: number | null) => formatFigure(figure, unit));
  return (
    <div class={`figure${onSelect ? ' selectable' : ''}${isSelected ? ' selected' : ''}`}>
      <dt>
        {onSelect ? (
          <button type="button" class="plain" aria-pressed={isSelected} onClick={onSelect}>
            {label}
          </button>
        ) : (
          label
        )}
      </dt>
      <dd>
        {value === undefined ? '…' : <Value value={value} unit={unit} format={formatted} />}
        {previous !== undefined && (
          <small class="quiet">
            <ChangeText now={value} before={previous} better={unit.better} />{' '}
            <span class="before">previously {previous === 'unknown' ? '…' : formatted(previous)}</span>
          </small>
        )}
        {children && <small class="quiet">{children}</small>}
      </dd>
    </div>
  );
}

/** A figure as formatted, with the exact value for scripts and as a title. */
export function Value({ value, unit, format }: { value: number | null; unit: Unit; format?: Formatter }) {
  return (
    <data value={String(value)} title={formatExact(value, unit)}>
      {format ? format(value) : formatFigure(value, unit)}
    </data>
  );
}

interface ChangeTextProps {
  readonly now: number | null | undefined;
  /** 'unknown': not loaded yet. */
  readonly before: number | null | undefined | 'unknown';
  readonly better: Better | undefined;
}

const ARROWS = { up: '▲', down: '▼', same: '' };

/** A change: the arrow means up or down, the color better or worse. Screen readers get both in words. */
export function ChangeText({ now, before, better }: ChangeTextProps) {
  const change = before === 'unknown' ? undefined : changeOf(now, before, better);
  if (change === undefined) return null;
  return (
    <span class={`change ${change.tone}`}>
      <span aria-hidden="true">
        {ARROWS[change.direction]} {change.text}
      </span>
      <span class="visually-hidden">{change.words}</span>
    </span>
  );
}

const WIDTH = 120;
const HEIGHT = 28;

/**
 * Figures over time as a small line with a soft fill, without axes. Zero is at the bottom unless a figure is negative. A
 * missing figure is a gap. Hidden from screen readers, because the total is next to it.
 */
export function Sparkline({ counts }: { counts: readonly (number | null)[] }) {
  const runs = runsOf(counts);
  return (
    <svg
      class="sparkline"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      width={WIDTH}
      height={HEIGHT}
      preserveAspectRatio="none"
      aria-hidden="true"
    >
      {runs.map((points) => {
        const line = points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(' ');
        const [first, last] = [points[0]?.[0] ?? 0, points.at(-1)?.[0] ?? 0];
        return (
          <g key={first}>
            <polygon points={`${first.toFixed(1)},${HEIGHT} ${line} ${last.toFixed(1)},${HEIGHT}`} />
            <polyline points={line} />
          </g>
        );
      })}
    </svg>
  );
}

/** Returns the points of a sparkline, split where figures are missing. A single figure becomes a short line. */
function runsOf(values: readonly (number | null)[]): [x: number, y: number][][] {
  const known = values.filter((value) => value !== null);
  const [min, max] = [Math.min(0, ...known), Math.max(0, ...known)];
  const step = WIDTH / Math.max(1, values.length - 1);
  const runs: [number, number][][] = [];
  values.forEach((value, i) => {
    if (value === null) return;
    if (i === 0 || (values[i - 1] ?? null) === null) runs.push([]);
    const part = max === min ? 0 : (value - min) / (max - min);
    runs.at(-1)?.push([i * step, HEIGHT - 2 - part * (HEIGHT - 4)]);
  });
  const half = values.length === 1 ? WIDTH : step / 2;
  return runs.map((run) => {
    const [only, ...others] = run;
    if (!only || others.length > 0) return run;
    return [
      [Math.max(0, only[0] - half), only[1]],
      [Math.min(WIDTH, only[0] + half), only[1]],
    ];
  });
}
