import uPlot from 'uplot';
import type { Zone } from '../calendar.ts';
import { formatShort } from '../format.ts';
import { bucketIndexAt } from './buckets.ts';
import { createPanning } from './panning.ts';
import { TICK_DISTANCES, tickLabels, ticksBetween } from './ticks.ts';

/** A line or a series of bars in a chart. */
export interface Line {
  readonly label: string;
  /** One value per bucket; null: no value. */
  readonly values: readonly (number | null)[];
  /** The CSS custom property with the color. */
  readonly color: `--${string}`;
  readonly shape?: 'line' | 'dashed' | 'bars' | 'edge';
}

/** Height of a chart, in pixels. */
const HEIGHT = 260;

/**
 * Number of points from which lines are one pixel wide. Without a GPU, wider lines with joins take four times as long
 * to draw: panning a chart of 10,000 points then runs at 15 frames per second instead of 60 (bench:panning).
 */
export const DENSE = 2_000;

/** Options of a plot. Times are seconds since 1970. */
interface PlotOptions {
  readonly data: uPlot.AlignedData;
  readonly lines: readonly Line[];
  /** Indexes of two lines; the area between them is filled. */
  readonly band: readonly [upper: number, lower: number] | undefined;
  readonly zone: Zone;
  readonly isDense: boolean;
  /** Returns the start of each bucket, then the end of the last one. Points are at the middles of buckets. */
  readonly edges: () => readonly number[];
  /** Called with the index of the bucket under the cursor, or null. */
  readonly onPointed: (index: number | null) => void;
  /** Called with the ends of a selected range. */
  readonly onSelect: (from: number, to: number) => void;
  /** Called with the ends of the range after panning. */
  readonly onMoved: (from: number, to: number) => void;
}

/** A rendered plot. */
export interface Plot {
  setData(data: uPlot.AlignedData): void;
  /** Shows or hides the line at an index. */
  show(line: number, isShown: boolean): void;
  /** Moves the cursor to the bucket at an index. */
  pointAt(index: number): void;
  destroy(): void;
}

/** Renders lines over time into an element, in the current colors of its style sheet. */
export function createPlot(element: HTMLElement, options: PlotOptions): Plot {
  const { data, lines, band, zone, isDense, edges, onPointed, onSelect, onMoved } = options;
  const colorOf = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
  const grid = { stroke: colorOf('--line'), width: 1 };
  const axis = { stroke: colorOf('--ink-2'), grid, ticks: grid, font: '12px system-ui, sans-serif' };
  const panning = createPanning(onMoved);
  const indexAt = (moment: number) => bucketIndexAt(edges(), moment) ?? null;
  const plot = new uPlot(
    {
      width: element.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      scales: {
        x: {
          range() {
            const moved = panning.movedTo();
            const [from = 0, ...others] = edges();
            return moved ? [moved.min, moved.max] : [from, Math.max(others.at(-1) ?? from, from + 1)];
          },
        },
        y: { range: { min: { pad: 0.05, soft: 0, mode: 2 }, max: { pad: 0.08, soft: 0, mode: 2 } } },
      },
      axes: [
        {
          ...axis,
          space: 70,
          incrs: TICK_DISTANCES,
          splits: (_plot, _axis, from, to, distance) => ticksBetween(zone, from, to, distance),
          values: (_plot, ticks, _axis, _space, distance) => tickLabels(zone, ticks, distance),
        },
        { ...axis, values: (_plot, values) => values.map(formatShort), size: 60 },
      ],
      cursor: {
        drag: { x: true, y: false, setScale: false, dist: 6 },
        y: false,
        // choose the bucket under the pointer; the nearest point may belong to its neighbor
        dataIdx: (_self, _series, _nearest, moment) => indexAt(moment),
      },
      series: [{}, ...lines.map((line) => seriesOf(line, colorOf(line.color), isDense ? 1 : 1.75, edges))],
      ...(band && {
        bands: [{ series: [band[0] + 1, band[1] + 1], fill: `${colorOf(lines[band[0]]?.color ?? '--line')}22` }],
      }),
      hooks: {
        setCursor: [
          (self) => {
            const left = self.cursor.left ?? -1;
            onPointed(left < 0 ? null : indexAt(self.posToVal(left, 'x')));
          },
        ],
        setSelect: [
          (self) => {
            const { left, width } = self.select;
            if (width > 0) onSelect(self.posToVal(left, 'x'), self.posToVal(left + width, 'x'));
            self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
      plugins: [panning.plugin],
    },
    data,
    element,
  );
  const resizeObserver = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  resizeObserver.observe(element);
  return {
    setData(next) {
      panning.release();
      plot.setData(next);
    },
    show(line, isShown) {
      if (plot.series[line + 1]?.show !== isShown) plot.setSeries(line + 1, { show: isShown });
    },
    pointAt(index) {
      const time = plot.data[0][index];
      if (time !== undefined) plot.setCursor({ left: plot.valToPos(time, 'x'), top: 10 });
    },
    destroy() {
      resizeObserver.disconnect();
      plot.destroy();
    },
  };
}

function seriesOf(
  { label, shape = 'line' }: Line,
  stroke: string,
  width: number,
  edges: PlotOptions['edges'],
): uPlot.Series {
  if (shape === 'bars') {
    return { label, stroke, fill: `${stroke}cc`, width: 0, points: { show: false }, paths: barsBetween(edges) };
  }
  return {
    label,
    stroke: shape === 'edge' ? `${stroke}66` : stroke,
    width: shape === 'edge' ? 1 : width,
    ...(shape === 'dashed' && { dash: [5, 4] }),
    points: { show: true, size: 4, fill: stroke, filter: isolatedPoints },
  };
}

/** Gap between bars, as a fraction of a bucket's width. */
const GAP = 0.15;

/** Draws one bar per bucket. uPlot's bars are all equally wide, which is wrong for months and for clipped buckets. */
function barsBetween(edges: PlotOptions['edges']): uPlot.Series.PathBuilder {
  return (self, seriesIndex, first, last) => {
    const fill = new Path2D();
    const values = self.data[seriesIndex] as (number | null)[]; // as passed to uPlot
    const shown = edges();
    const floor = self.valToPos(0, 'y', true);
    for (let i = first; i <= last; i++) {
      const [value = null, start = 0, end = start] = [values[i], shown[i], shown[i + 1]];
      if (value === null || value === 0) continue;
      const left = self.valToPos(start, 'x', true);
      const width = self.valToPos(end, 'x', true) - left;
      // keep small values visible
      const top = Math.min(floor - 1, self.valToPos(value, 'y', true));
      fill.rect(left + (width * GAP) / 2, top, Math.max(1, width * (1 - GAP)), floor - top);
    }
    return { fill };
  };
}

/** Returns the points to mark: those without neighbors, which no line would show, or all points if there are few. */
function isolatedPoints(self: uPlot, seriesIndex: number): number[] {
  const values = self.data[seriesIndex] as (number | null)[]; // as passed to uPlot
  const areFew = values.length <= 60;
  const marked: number[] = [];
  values.forEach((value, i) => {
    if (value !== null && (areFew || ((values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null)))
      marked.push(i);
  });
  return marked;
}
