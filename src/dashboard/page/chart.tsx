import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { usePlace } from './address.ts';
import { createPanning, type Panning } from './chart-panning.ts';
import { formatShort, formatTime, NOTHING } from './format.ts';
import { useTheme } from './theme.ts';

/** One line, or row of bars, of a chart. */
export interface Line {
  readonly label: string;
  /** A value for each bucket; null where there is none. */
  readonly values: readonly (number | null)[];
  /** The custom property of the style sheet that holds its colour. */
  readonly color: `--${string}`;
  readonly shape?: 'line' | 'dashed' | 'bars' | 'edge';
}

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

const HEIGHT = 260;

/**
 * From so many points on, lines are one pixel wide. Without a graphics card, wider ones with their joins take
 * four times as long to draw: a chart of 10,000 points that is dragged then shows 15 frames a second, not 60
 * (bench:panning).
 */
const DENSE = 2_000;

/** Tick labels by the distance between ticks, with what is added where a new year, month or day begins. */
const TICKS: uPlot.Axis.Values = [
  [31_536_000, '{YYYY}', null, null, null, null, null, null, 1],
  [2_419_200, '{MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [86_400, '{D} {MMM}', '\n{YYYY}', null, null, null, null, null, 1],
  [60, '{HH}:{mm}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
  [1, '{HH}:{mm}:{ss}', '\n{D} {MMM} {YYYY}', null, '\n{D} {MMM}', null, null, null, 1],
];

/** Rows of the table of figures, at most: a page of more is slow, and nobody reads it. */
const MAX_TABLE_ROWS = 1_000;

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
  const plot = useRef<uPlot | undefined>(undefined);
  const panning = useRef<Panning | undefined>(undefined);
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
  const latest = useRef({ times, until, format, go });
  latest.current = { times, until, format, go };

  // biome-ignore lint/correctness/useExhaustiveDependencies: the structure stands for what the plot is made of; data follow below
  useEffect(() => {
    const element = frame.current;
    if (!element) return;
    const colorOf = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
    const grid = { stroke: colorOf('--line'), width: 1 };
    const axis = { stroke: colorOf('--quiet'), grid, ticks: grid, font: '12px system-ui, sans-serif' };
    const choose = (from: number, to: number) =>
      latest.current.go({ range: 'custom', from: new Date(from * 1000), to: new Date(to * 1000) });
    const pan = createPanning(choose);
    panning.current = pan;
    const made = new uPlot(
      {
        width: element.clientWidth || 600,
        height: HEIGHT,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), zone),
        legend: { show: false },
        scales: {
          x: {
            range(_plot, least) {
              const moved = pan.movedTo();
              return moved ? [moved.min, moved.max] : [least, Math.max(latest.current.until, least + 1)];
            },
          },
          y: { range: { min: { pad: 0.05, soft: 0, mode: 2 }, max: { pad: 0.08, soft: 0, mode: 2 } } },
        },
        axes: [
          { ...axis, values: TICKS, space: 70 },
          { ...axis, values: (_plot, values) => values.map(formatShort), size: 60 },
        ],
        cursor: { drag: { x: true, y: false, setScale: false, dist: 6 }, y: false },
        series: [{}, ...lines.map((line) => seriesOf(line, colorOf(line.color), isDense ? 1 : 1.75))],
        ...(band && {
          bands: [{ series: [band[0] + 1, band[1] + 1], fill: `${colorOf(lines[band[0]]?.color ?? '--line')}22` }],
        }),
        hooks: {
          setCursor: [(self) => setPointed(self.cursor.idx ?? null)],
          setSelect: [
            (self) => {
              const { left, width } = self.select;
              if (width > 0) choose(self.posToVal(left, 'x'), self.posToVal(left + width, 'x'));
              self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
            },
          ],
        },
        plugins: [pan.plugin],
      },
      data,
      element,
    );
    plot.current = made;
    const resized = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    resized.observe(element);
    return () => {
      resized.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [structure]);

  // biome-ignore lint/correctness/useExhaustiveDependencies: a new plot has the data already
  useEffect(() => {
    panning.current?.release();
    plot.current?.setData(data);
  }, [times, until, ...lines.map(({ values }) => values)]);

  useEffect(() => {
    lines.forEach((line, i) => {
      const show = !hidden.has(line.label);
      if (plot.current && plot.current.series[i + 1]?.show !== show) plot.current.setSeries(i + 1, { show });
    });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const [first = 0] = times;
    const length = until - first;
    const move = (from: number, to: number) =>
      go({ range: 'custom', from: new Date(from * 1000), to: new Date(to * 1000) });
    const step = event.key === 'ArrowLeft' ? -1 : event.key === 'ArrowRight' ? 1 : 0;
    if (step !== 0 && event.shiftKey) move(first + (step * length) / 4, until + (step * length) / 4);
    else if (step !== 0) {
      const next = Math.min(times.length - 1, Math.max(0, (pointed ?? (step > 0 ? -1 : times.length)) + step));
      pointAt(plot.current, next);
    } else if (event.key === '+') move(first + length / 4, until - length / 4);
    else if (event.key === '-') move(first - length / 2, until + length / 2);
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
      <Figures label={label} starts={starts} lines={lines} format={format} zone={zone} />
    </figure>
  );
}

interface FiguresProps extends Pick<ChartProps, 'label' | 'starts' | 'lines' | 'format'> {
  readonly zone: string;
}

/** The figures of a chart as a table, made when it is opened. */
function Figures({ label, starts, lines, format, zone }: FiguresProps) {
  const [isOpen, setOpen] = useState(false);
  const table = useMemo(() => {
    if (!isOpen) return null;
    const skipped = Math.max(0, starts.length - MAX_TABLE_ROWS);
    return (
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      <section class="scroll tall" tabIndex={0} aria-label={`Table: ${label}`}>
        {skipped > 0 && (
          <p class="quiet">
            The last {MAX_TABLE_ROWS} of {starts.length} buckets.
          </p>
        )}
        <table>
          <thead>
            <tr>
              <th scope="col">From ({zone})</th>
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
                <th scope="row">{formatTime(new Date(start), zone, 'minute')}</th>
                {lines.map((line) => {
                  const value = line.values[i + skipped] ?? null;
                  return (
                    <td class="number" key={line.label}>
                      {value === null ? NOTHING : <data value={String(value)}>{format(value)}</data>}
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
      <summary>Figures as a table</summary>
      {table}
    </details>
  );
}

function seriesOf({ label, shape = 'line' }: Line, stroke: string, width: number): uPlot.Series {
  if (shape === 'bars') {
    const paths = uPlot.paths.bars?.({ size: [0.85, 60], align: 1 });
    return { label, stroke, fill: `${stroke}cc`, width: 0, points: { show: false }, ...(paths && { paths }) };
  }
  return {
    label,
    stroke: shape === 'edge' ? `${stroke}66` : stroke,
    width: shape === 'edge' ? 1 : width,
    ...(shape === 'dashed' && { dash: [5, 4] }),
    points: { show: true, size: 4, fill: stroke, filter: lonePoints },
  };
}

/** The points that no line shows, as both of their neighbours are missing; all points where there are few. */
function lonePoints(self: uPlot, seriesIndex: number): number[] {
  const values = self.data[seriesIndex] as (number | null)[];
  const few = values.length <= 60;
  const found: number[] = [];
  values.forEach((value, i) => {
    if (value !== null && (few || ((values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null)))
      found.push(i);
  });
  return found;
}

function pointAt(self: uPlot | undefined, index: number): void {
  const time = self?.data[0][index];
  if (self && time !== undefined) self.setCursor({ left: self.valToPos(time, 'x'), top: 10 });
}

function toggled(set: ReadonlySet<string>, value: string): Set<string> {
  const next = new Set(set);
  if (!next.delete(value)) next.add(value);
  return next;
}
