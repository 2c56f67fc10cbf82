import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import type uPlot from 'uplot';
import { usePlace } from '../address.ts';
import { formatTime } from '../format.ts';
import { useTheme } from '../theme.ts';
import { createPlot, DENSE, type Line, type Plot } from './plot.ts';
import { Table } from './table.tsx';

interface ChartProps {
  /** What the chart shows, for those who do not see it. */
  readonly label: string;
  /** The starts of the buckets, RFC 3339, rising. */
  readonly starts: readonly string[];
  /** The end of the last bucket that is shown. */
  readonly end: Date;
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
export function Chart({ label, starts, end, lines, band, format }: ChartProps) {
  const { address, go } = usePlace();
  const { zone } = address;
  const theme = useTheme();
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot | undefined>(undefined);
  const [pointed, setPointed] = useState<number | null>(null);
  const [hidden, setHidden] = useState<ReadonlySet<string>>(new Set());
  const times = useMemo(() => starts.map((start) => Date.parse(start) / 1000), [starts]);
  const until = end.getTime() / 1000;

  /** What the plot must be made anew for. */
  const isDense = times.length > DENSE;
  const structure = JSON.stringify([
    zone,
    theme,
    isDense,
    band,
    lines.map(({ label, color, shape }) => [label, color, shape]),
  ]);
  const data: uPlot.AlignedData = [times, ...lines.map(({ values }) => values as (number | null)[])];
  const choose = (from: number, to: number) => {
    const [start, end] = atLeastAMinute(from, to);
    go({ range: 'custom', from: new Date(start * 1000), to: new Date(end * 1000) });
  };
  const latest = useRef({ until, choose });
  latest.current = { until, choose };

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
      until: () => latest.current.until,
      onPointed: setPointed,
      onChosen: (from, to) => latest.current.choose(from, to),
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
  }, [times, until, ...lines.map(({ values }) => values)]);

  useEffect(() => {
    lines.forEach((line, i) => {
      plot.current?.show(i, !hidden.has(line.label));
    });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const [first = 0] = times;
    const length = until - first;
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (step !== 0 && event.shiftKey) choose(first + (step * length) / 4, until + (step * length) / 4);
    else if (step !== 0) {
      const next = Math.min(times.length - 1, Math.max(0, (pointed ?? (step > 0 ? -1 : times.length)) + step));
      plot.current?.pointAt(next);
    } else if (event.key === '+') choose(first + length / 4, until - length / 4);
    else if (event.key === '-') choose(first - length / 2, until + length / 2);
    else return;
    event.preventDefault();
  };

  const at = pointed === null ? undefined : starts[pointed];
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
            {line.label}
            <b>{pointed === null ? '' : format(lines[i]?.values[pointed] ?? null)}</b>
          </button>
        ))}
        <output class="pointed" aria-live="polite">
          {at ? formatTime(new Date(at), zone, 'minute') : ''}
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
      <Table label={label} starts={starts} lines={lines} format={format} zone={zone} />
    </figure>
  );
}

/** The ends of a range, in seconds, moved apart until a minute lies between them: the shortest bucket. */
function atLeastAMinute(from: number, to: number): [from: number, to: number] {
  const missing = Math.max(0, 60 - (to - from)) / 2;
  return [from - missing, to + missing];
}

function toggled(set: ReadonlySet<string>, value: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(value)) next.add(value);
  return next;
}
