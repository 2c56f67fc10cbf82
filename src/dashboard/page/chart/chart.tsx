import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { addSpan, moveRange, type Range, useZone, zoomIn, zoomOut } from '../calendar.ts';
import { formatStarts } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { useTheme } from '../theme.ts';
import { clampRange } from '../time.ts';
import { type Buckets, edgesOf, middlesOf } from './buckets.ts';
import { createPlot, DENSE, type Line, type Plot } from './plot.ts';
import { Table } from './table.tsx';

interface ChartProps extends Buckets {
  /** Accessible name of the chart. */
  readonly label: string;
  readonly lines: readonly Line[];
  /** Indexes of two lines; the area between them is filled. */
  readonly band?: readonly [upper: number, lower: number];
  readonly format: (value: number | null) => string;
}

/**
 * A time chart. Drag to zoom, or press plus and minus. Shift-drag, swipe, scroll sideways, or press Shift with the
 * arrow keys to pan. The arrow keys move between buckets. The same data is available as a table.
 */
export function Chart({ label, range, starts, lines, band, format }: ChartProps) {
  const { go } = useNavigation();
  const shown = useShownRange();
  const zone = useZone();
  const theme = useTheme();
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | undefined>(undefined);
  const [pointed, setPointed] = useState<number | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const edges = useMemo(
    () => edgesOf({ starts, range: { from: range.from, to: range.to } }),
    [starts, range.from, range.to],
  );
  // points are centered in their buckets, like bars
  const times = useMemo(() => middlesOf(edges), [edges]);

  const labels = useMemo(() => formatStarts(starts, zone), [starts, zone]);

  const isDense = times.length > DENSE;
  // a change of any of these requires a new plot
  const structure = JSON.stringify([
    zone.name,
    theme,
    isDense,
    band,
    lines.map(({ label, color, shape }) => [label, color, shape]),
  ]);
  // cast because uPlot's types do not accept readonly arrays
  const data: uPlot.AlignedData = [times, ...lines.map(({ values }) => values as (number | null)[])];
  const choose = (range: Range) => go({ range: 'custom', ...clampRange(range) });
  const moveTo = (from: Date, to: Date) => {
    const { span } = shown;
    choose({ from, to: span.unit === 'milliseconds' ? to : addSpan(zone, from, span, 1) });
  };
  const latest = useRef({ edges, choose, moveTo });
  latest.current = { edges, choose, moveTo };

  // biome-ignore lint/correctness/useExhaustiveDependencies: `structure` covers everything but the data, which the next effect sets
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const newPlot = createPlot(element, {
      data,
      lines,
      band,
      zone,
      isDense,
      edges: () => latest.current.edges,
      onPointed: setPointed,
      onSelect: (from, to) => latest.current.choose({ from: dateOf(from), to: dateOf(to) }),
      onMoved: (from, to) => latest.current.moveTo(dateOf(from), dateOf(to)),
    });
    plot.current = newPlot;
    return () => {
      newPlot.destroy();
      plot.current = undefined;
    };
  }, [structure]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new plot already has the data
  useEffect(() => {
    plot.current?.setData(data);
  }, [times, ...lines.map(({ values }) => values)]);

  useEffect(() => {
    lines.forEach((line, i) => {
      plot.current?.show(i, !hidden.has(line.label));
    });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (step !== 0 && event.shiftKey) choose(moveRange(shown, shown.span, zone, step / 4));
    else if (step !== 0) {
      const next = Math.min(times.length - 1, Math.max(0, (pointed ?? (step > 0 ? -1 : times.length)) + step));
      plot.current?.pointAt(next);
    } else if (event.key === '+') choose(zoomIn(shown, shown.span, zone));
    else if (event.key === '-') choose(zoomOut(shown, shown.span, zone));
    else return;
    event.preventDefault();
  };

  const at = pointed === null ? undefined : labels[pointed];
  return (
    <figure class="chart">
      <div class="legend">
        {lines.map((line, i) => (
          <button
            type="button"
            key={line.label}
            aria-pressed={!hidden.has(line.label)}
            title={`Show or hide ${line.label}`}
            onClick={() => setHidden(toggled(hidden, line.label))}
          >
            <span class={`swatch ${line.shape ?? 'line'}`} style={{ '--swatch': `var(${line.color})` }} />
            <span class="name">{line.label}</span>
            <b>{pointed === null ? '' : format(lines[i]?.values[pointed] ?? null)}</b>
          </button>
        ))}
        <output class="pointed" aria-live="polite">
          {at}
          {at && (
            <span class="visually-hidden">
              {lines.map((line) => `, ${line.label} ${format(line.values[pointed ?? 0] ?? null)}`)}
            </span>
          )}
        </output>
      </div>
      <div
        ref={frame}
        class="plot"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: the plot handles the keys listed in its label
        tabIndex={0}
        role="application"
        aria-roledescription="chart"
        aria-label={`${label}. Arrow keys move between points, Shift and arrow keys pan, plus and minus zoom. The same data is in the table below.`}
        onKeyDown={onKeyDown}
      />
      <Table label={label} starts={labels} lines={lines} format={format} zone={zone.name} />
    </figure>
  );
}

/** Converts a time of the plot to a date. */
function dateOf(seconds: number): Date {
  return new Date(seconds * 1000);
}

function toggled(set: ReadonlySet<string>, value: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(value)) next.add(value);
  return next;
}
