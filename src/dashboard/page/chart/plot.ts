import uPlot from 'uplot';
import type { Zone } from '../calendar.ts';
import { bucketIndexAt } from './buckets.ts';
import type { PlotContent } from './content.ts';
import { createHighlight } from './highlight.ts';
import type { Line } from './line.ts';
import { createPanning } from './panning.ts';
import { bars, drawMarks, faded, hatched } from './paths.ts';
import { type Extent, placeTooltip, type Size } from './placement.ts';
import { tickDistances, tickLabels, ticksBetween } from './ticks.ts';

export type { Annotation, Line } from './line.ts';

/** Heights of a chart with one, two and three panes, in pixels. */
const HEIGHTS = [260, 340, 420] as const;

/**
 * Number of points from which lines are one pixel wide. Without a GPU, wider lines with joins take four times as long
 * to draw: panning a chart of 10,000 points then runs at 15 frames per second instead of 60 (bench:panning).
 */
export const DENSE = 2_000;

/** Options of a plot. A change of any of them but the functions requires a new plot. */
interface PlotOptions {
  /** Returns the current content. */
  readonly content: () => PlotContent;
  /** Indexes of two lines; the area between them is filled. */
  readonly band: readonly [upper: number, lower: number] | undefined;
  readonly zone: Zone;
  /** Called with the index of the bucket under the cursor, or null. */
  readonly onPointed: (index: number | null) => void;
  /** Called with the ends of a selected range. */
  readonly onSelect: (from: number, to: number) => void;
  /** Called with the ends of the range after panning. */
  readonly onMoved: (from: number, to: number) => void;
}

/** A rendered plot. */
export interface Plot {
  /** Draws the current content. */
  update(): void;
  /** Moves the cursor to the bucket at an index; null: hides it. */
  pointAt(index: number | null): void;
  /** Returns where a tooltip about the bucket under the cursor belongs, in pixels from the top left of the element. */
  placeOf(tooltip: Size, index: number): { left: number; top: number };
  destroy(): void;
}

/** Returns the length of the second bucket, because the first and the last one can be cut; of the only one otherwise. */
function bucketLength(edges: readonly number[]): number {
  const [first = 0, second = first, third = second] = edges;
  return edges.length > 3 ? third - second : second - first;
}

/** Renders lines over time into an element, in the current colors of its style sheet. */
export function createPlot(element: HTMLElement, options: PlotOptions): Plot {
  const { content, band, zone, onPointed, onSelect, onMoved } = options;
  const style = getComputedStyle(element);
  const colorOf = (name: string) => style.getPropertyValue(name).trim();
  const { lines, edges: firstEdges, layout } = content();
  const isDense = firstEdges.length > DENSE;
  const grid = { stroke: colorOf('--line'), width: 1 };
  const axis = { stroke: colorOf('--ink-3'), font: `12px ${style.fontFamily}` };
  const panning = createPanning(onMoved);
  const indexAt = (moment: number) => bucketIndexAt(content().edges, moment) ?? null;
  const colors = lines.map(({ color }) => colorOf(color));
  const highlight = createHighlight(content, colors);
  const height = HEIGHTS[layout.panes - 1] ?? HEIGHTS[0];
  const plot = new uPlot(
    {
      width: element.clientWidth || 600,
      height,
      legend: { show: false },
      padding: [10, 20, 0, 0],
      scales: {
        x: {
          range() {
            const moved = panning.movedTo();
            const [from = 0, ...others] = content().edges;
            return moved ? [moved.min, moved.max] : [from, Math.max(others.at(-1) ?? from, from + 1)];
          },
        },
        // heights, which the panes map values to
        y: { range: [0, 1] },
      },
      axes: [
        {
          ...axis,
          space: (self) => (self.width < 480 ? 58 : 72),
          grid: { show: false },
          ticks: { ...grid, size: 5 },
          incrs: () => tickDistances(bucketLength(content().edges)),
          // without one at the right edge, whose label would be cut off
          splits: (_plot, _axis, from, to, distance) =>
            ticksBetween(zone, from, to, distance).filter((tick) => tick < to - (to - from) * 0.02),
          values: (_plot, ticks, _axis, _space, distance) => tickLabels(zone, ticks, distance),
        },
        {
          ...axis,
          grid,
          ticks: { show: false },
          gap: 8,
          splits: () => content().layout.ticks.map(({ at }) => at),
          values: () => content().layout.ticks.map(({ label }) => label),
          size: (_self, labels) => 16 + Math.max(24, ...(labels ?? []).map((label) => label.length * 7)),
        },
      ],
      cursor: {
        drag: { x: true, y: false, setScale: false, dist: 6 },
        x: false,
        y: false,
        points: {
          size: (_self, index) => (hasDot(lines[lineOf(lines, index)]) ? 9 : 0),
          width: (_self, index) => (hasDot(lines[lineOf(lines, index)]) ? 2 : 0),
          stroke: (_self, index) => colors[lineOf(lines, index)] ?? '',
          fill: colorOf('--surface'),
        },
        // choose the bucket under the pointer; the nearest point may belong to its neighbor
        dataIdx: (_self, _series, _nearest, moment) => indexAt(moment),
      },
      series: [{}, ...seriesOf(options, colors, isDense ? 1 : 2)],
      ...(band && { bands: [{ series: [band[0] + 1, band[1] + 1], fill: `${colors[band[0]]}1a` }] }),
      hooks: {
        draw: [(self) => drawMarks(self, content().marks, colorOf('--ink-2'))],
        setCursor: [
          (self) => {
            const left = self.cursor.left ?? -1;
            // nothing is read while the chart moves
            const index = left < 0 || panning.movedTo() ? null : indexAt(self.posToVal(left, 'x'));
            highlight.show(self, index);
            onPointed(index);
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
      plugins: [panning.plugin, highlight.plugin],
    },
    plotData(content()),
    element,
  );
  showLines(plot, content());
  const resizeObserver = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height }));
  resizeObserver.observe(element);
  return {
    update() {
      panning.release();
      showLines(plot, content());
      plot.setData(plotData(content()));
      // the heights of the ticks change with the data, though not the scale
      plot.redraw(true, true);
    },
    pointAt(index) {
      if (index === null) return plot.setCursor({ left: -10, top: -10 });
      const { middles, layout: shown, isShown } = content();
      const height =
        shown.heights.find((heights, i) => isShown[i] && (heights[index] ?? null) !== null)?.[index] ?? 0.5;
      plot.setCursor({ left: plot.valToPos(middles[index] ?? 0, 'x'), top: plot.valToPos(height ?? 0.5, 'y') });
    },
    placeOf(tooltip, index) {
      const { over } = plot;
      const [inner, outer] = [over.getBoundingClientRect(), element.getBoundingClientRect()];
      const { left, top } = placeTooltip({
        pointer: { x: plot.cursor.left ?? 0, y: plot.cursor.top ?? 0 },
        avoid: highlight.columnsOf(plot, index),
        tooltip,
        plot: { width: inner.width, height: inner.height },
        extentsOf: (from, to) => extentsOf(plot, content(), from, to),
      });
      return { left: left + inner.left - outer.left, top: top + inner.top - outer.top };
    },
    destroy() {
      resizeObserver.disconnect();
      plot.destroy();
    },
  };
}

/*
 * uPlot's series are the lines, then for each line that can be incomplete a series with its incomplete ends, which is
 * dashed or hatched.
 */

/** Returns the indexes of the lines whose incomplete ends are drawn differently. */
function endedLines(lines: readonly Line[]): number[] {
  return lines.flatMap(({ shape = 'line' }, i) => (shape === 'line' || shape === 'bars' ? [i] : []));
}

/** Returns the index of the line that a series of uPlot belongs to. */
function lineOf(lines: readonly Line[], series: number): number {
  return series <= lines.length ? series - 1 : (endedLines(lines)[series - lines.length - 1] ?? 0);
}

/** Returns whether a dot marks the line's point under the cursor. */
function hasDot(line: Line | undefined): boolean {
  return (line?.shape ?? 'line') === 'line';
}

function showLines(plot: uPlot, { lines, isShown }: PlotContent): void {
  for (let series = 1; series < plot.series.length; series++) {
    const show = isShown[lineOf(lines, series)] ?? true;
    if (plot.series[series]?.show !== show) plot.setSeries(series, { show });
  }
}

/** Returns the data of uPlot's series. */
function plotData({ lines, layout, middles, incomplete }: PlotContent): uPlot.AlignedData {
  const last = middles.length - 1;
  const isEnd = (i: number) => (i === 0 && incomplete.first) || (i === last && incomplete.last !== undefined);
  const ended = new Set(endedLines(lines));
  const whole = layout.heights.map((heights, line) =>
    ended.has(line) ? heights.map((height, i) => (isEnd(i) ? null : height)) : [...heights],
  );
  const ends = [...ended].map((line) => {
    const isBars = lines[line]?.shape === 'bars';
    return (layout.heights[line] ?? []).map((height, i) => {
      // a line needs the neighbor of its end
      const isDrawn = isEnd(i) || (!isBars && ((i === 1 && isEnd(0)) || (i === last - 1 && isEnd(last))));
      return isDrawn ? height : null;
    });
  });
  return [[...middles], ...whole, ...ends];
}

function seriesOf({ content, band }: PlotOptions, colors: readonly string[], width: number): uPlot.Series[] {
  const { lines } = content();
  const edges = () => content().edges;
  const series = lines.map((line, i): uPlot.Series => {
    const { label, shape = 'line' } = line;
    const stroke = colors[i] ?? '';
    const baseOf = () => content().layout.bases[i] ?? 0;
    if (shape === 'bars') {
      return { label, stroke, fill: `${stroke}aa`, width: 0, points: { show: false }, paths: bars(edges, baseOf) };
    }
    const isAlone = () =>
      lines.every(
        (other, at) => at === i || other.shape === 'dashed' || !content().isShown[at] || other.pane !== line.pane,
      );
    return {
      label,
      stroke: shape === 'edge' ? `${stroke}66` : shape === 'dashed' ? `${stroke}cc` : stroke,
      width: shape === 'line' ? width : Math.min(width, 1.5),
      ...(shape === 'dashed' && { dash: [2, 4], cap: 'round' as const }),
      ...(shape === 'line' &&
        !band && {
          fill: (self: uPlot) =>
            isAlone() && content().layout.canFill[i] ? faded(self, stroke, baseOf()) : 'transparent',
          fillTo: baseOf,
        }),
      points: { show: true, size: 5, fill: stroke, filter: (self, index) => isolatedPoints(self, index, content, i) },
    };
  });
  const ends = endedLines(lines).map((i): uPlot.Series => {
    const [label, stroke] = [lines[i]?.label ?? '', colors[i] ?? ''];
    if (lines[i]?.shape === 'bars') {
      const baseOf = () => content().layout.bases[i] ?? 0;
      return {
        label,
        stroke,
        fill: (self) => hatched(self.ctx, stroke),
        width: 1,
        points: { show: false },
        paths: bars(edges, baseOf),
      };
    }
    const filter = (self: uPlot, index: number) => isolatedPoints(self, index, content, i);
    return { label, stroke, width, dash: [4, 4], points: { show: true, size: 5, fill: stroke, filter } };
  });
  return [...series, ...ends];
}

/** Returns the points to mark: those without neighbors, which no line would show. */
function isolatedPoints(self: uPlot, series: number, content: () => PlotContent, line: number): number[] {
  const drawn = self.data[series] as (number | null)[]; // as passed to uPlot
  const heights = content().layout.heights[line] ?? [];
  return drawn.flatMap((height, i) =>
    height !== null && (heights[i - 1] ?? null) === null && (heights[i + 1] ?? null) === null ? [i] : [],
  );
}

/** Returns the vertical extent of each line between two columns of the plot, in pixels. */
function extentsOf(
  plot: uPlot,
  { lines, layout, isShown, middles }: PlotContent,
  left: number,
  right: number,
): Extent[] {
  const [from, to] = [plot.posToVal(left, 'x'), plot.posToVal(right, 'x')];
  // include the neighbors, whose lines reach into the columns
  const first = Math.max(0, middles.findIndex((middle) => middle >= from) - 1);
  const next = middles.findIndex((middle) => middle > to);
  const end = next < 0 ? middles.length : next + 1;
  return lines.flatMap(({ shape = 'line' }, i): Extent[] => {
    if (shape === 'bars' || !isShown[i]) return [];
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let at = first; at < end; at++) {
      const height = layout.heights[i]?.[at] ?? null;
      if (height === null) continue;
      low = Math.min(low, height);
      high = Math.max(high, height);
    }
    return low > high ? [] : [{ top: plot.valToPos(high, 'y'), bottom: plot.valToPos(low, 'y') }];
  });
}
