import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { addSpan, movedBy, type Range, useZone, zoomedIn, zoomedOut } from '../calendar.ts';
import { formatStarts } from '../format.ts';
import { usePlace } from '../place.ts';
import { useShownRange } from '../shown-range.ts';
import { useTheme } from '../theme.ts';
import { sensible } from '../time.ts';
import { type Buckets, edgesOf, middlesOf } from './buckets.ts';
import { createPlot, DENSE, type Line, type Plot } from './plot.ts';
import { Table } from './table.tsx';

interface ChartProps extends Buckets {
  /** What the chart shows, for those who do not see it. */
  readonly label: string;
  readonly lines: readonly Line[];
  /** Two lines, by their places, between which the chart is filled. */
  readonly band?: readonly [upper: number, lower: number];
  readonly format: (value: number | null) => string;
}

/**
 * A chart over time. Dragging over it, or plus and minus, chooses a shorter or longer range; dragging with the
 * shift key, a finger or a sideways wheel, or shift and the arrow keys, moves it. The arrow keys alone go from
 * bucket to bucket. The figures are there as a table too.
 */
export function Chart({ label, range, starts, lines, band, format }: ChartProps) {
  const { go } = usePlace();
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
  // a point stands in the middle of its bucket, as its bar does, so that the bucket under the pointer has the nearest
  const times = useMemo(() => middlesOf(edges), [edges]);

  const labels = useMemo(() => formatStarts(starts, zone), [starts, zone]);

  /** What the plot must be made anew for. */
  const isDense = times.length > DENSE;
  const structure = JSON.stringify([
    zone.name,
    theme,
    isDense,
    band,
    lines.map(({ label, color, shape }) => [label, color, shape]),
  ]);
  // the casts: uPlot's types know no lists that are only read
  const data: uPlot.AlignedData = [times, ...lines.map(({ values }) => values as (number | null)[])];
  const choose = (range: Range) => go({ range: 'custom', ...sensible(range) });
  const moveTo = (from: Date, to: Date) => {
    const { span } = shown;
    choose({ from, to: span.unit === 'milliseconds' ? to : addSpan(zone, from, span, 1) });
  };
  const latest = useRef({ edges, choose, moveTo });
  latest.current = { edges, choose, moveTo };

  // biome-ignore lint/correctness/useExhaustiveDependencies: the structure stands for what the plot is made of; data follow below
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const made = createPlot(element, {
      data,
      lines,
      band,
      zone,
      isDense,
      edges: () => latest.current.edges,
      onPointed: setPointed,
      onChosen: (from, to) => latest.current.choose({ from: dateOf(from), to: dateOf(to) }),
      onMoved: (from, to) => latest.current.moveTo(dateOf(from), dateOf(to)),
    });
    plot.current = made;
    return () => {
      made.destroy();
      plot.current = undefined;
    };
  }, [structure]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new plot has the data already
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
    if (step !== 0 && event.shiftKey) choose(movedBy(shown, shown.span, zone, step / 4));
    else if (step !== 0) {
      const next = Math.min(times.length - 1, Math.max(0, (pointed ?? (step > 0 ? -1 : times.length)) + step));
      plot.current?.pointAt(next);
    } else if (event.key === '+') choose(zoomedIn(shown, shown.span, zone));
    else if (event.key === '-') choose(zoomedOut(shown, shown.span, zone));
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
            <span class="unseen">
              {lines.map((line) => `, ${line.label} ${format(line.values[pointed ?? 0] ?? null)}`)}
            </span>
          )}
        </output>
      </div>
      <div
        ref={frame}
        class="plot"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: it takes the keys that the hint names
        tabIndex={0}
        role="application"
        aria-roledescription="chart"
        aria-label={`${label}. Arrow keys go from point to point, shift and arrow keys move the range, plus and minus change its length. The figures are also in the table below.`}
        onKeyDown={onKeyDown}
      />
      <Table label={label} starts={labels} lines={lines} format={format} zone={zone.name} />
    </figure>
  );
}

/** A plot counts in seconds. */
function dateOf(seconds: number): Date {
  return new Date(seconds * 1000);
}

function toggled(set: ReadonlySet<string>, value: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(value)) next.add(value);
  return next;
}
