import uPlot from 'uplot';
import type { Zone } from '../calendar.ts';
import { formatShort } from '../format.ts';
import { placeOf } from './buckets.ts';
import { createPanning } from './panning.ts';
import { TICK_DISTANCES, tickLabels, ticksBetween } from './ticks.ts';

/** One line, or row of bars, of a chart. */
export interface Line {
  readonly label: string;
  /** A value for each bucket; null where there is none. */
  readonly values: readonly (number | null)[];
  /** The custom property of the style sheet that holds its color. */
  readonly color: `--${string}`;
  readonly shape?: 'line' | 'dashed' | 'bars' | 'edge';
}

const HEIGHT = 260;

/**
 * From so many points on, lines are one pixel wide. Without a graphics card, wider ones with their joins take
 * four times as long to draw: a chart of 10,000 points that is dragged then shows 15 frames a second, not 60
 * (bench:panning).
 */
export const DENSE = 2_000;

/** What a plot is made of. Times are seconds since 1970. */
interface PlotParts {
  readonly data: uPlot.AlignedData;
  readonly lines: readonly Line[];
  /** Two lines, by their places, between which the plot is filled. */
  readonly band: readonly [upper: number, lower: number] | undefined;
  readonly zone: Zone;
  readonly isDense: boolean;
  /** Where each bucket begins, and where the last one ends: the range that is shown. The data are at their middles. */
  readonly edges: () => readonly number[];
  /** Told the place of the bucket that is pointed at; null: none. */
  readonly onPointed: (place: number | null) => void;
  /** Told the ends of a range that was selected. */
  readonly onChosen: (from: number, to: number) => void;
  /** Told the ends of a range that the chart was moved to. */
  readonly onMoved: (from: number, to: number) => void;
}

/** The picture of a chart. */
export interface Plot {
  setData(data: uPlot.AlignedData): void;
  /** Shows or hides a line, by its place. */
  show(line: number, isShown: boolean): void;
  /** Points at a bucket, by its place. */
  pointAt(place: number): void;
  destroy(): void;
}

/** Draws lines over time into an element, in the colors that its style has now. */
export function createPlot(element: HTMLElement, parts: PlotParts): Plot {
  const { data, lines, band, zone, isDense, edges, onPointed, onChosen, onMoved } = parts;
  const colorOf = (name: string) => getComputedStyle(element).getPropertyValue(name).trim();
  const grid = { stroke: colorOf('--line'), width: 1 };
  const axis = { stroke: colorOf('--quiet'), grid, ticks: grid, font: '12px system-ui, sans-serif' };
  const panning = createPanning(onMoved);
  const placeAt = (moment: number) => placeOf(edges(), moment) ?? null;
  const plot = new uPlot(
    {
      width: element.clientWidth || 600,
      height: HEIGHT,
      legend: { show: false },
      scales: {
        x: {
          range() {
            const moved = panning.movedTo();
            const [from = 0, ...rest] = edges();
            return moved ? [moved.min, moved.max] : [from, Math.max(rest.at(-1) ?? from, from + 1)];
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
        // the bucket under the pointer: the nearest point may be that of a neighbor
        dataIdx: (_self, _series, _nearest, moment) => placeAt(moment),
      },
      series: [{}, ...lines.map((line) => seriesOf(line, colorOf(line.color), isDense ? 1 : 1.75, edges))],
      ...(band && {
        bands: [{ series: [band[0] + 1, band[1] + 1], fill: `${colorOf(lines[band[0]]?.color ?? '--line')}22` }],
      }),
      hooks: {
        setCursor: [
          (self) => {
            const left = self.cursor.left ?? -1;
            onPointed(left < 0 ? null : placeAt(self.posToVal(left, 'x')));
          },
        ],
        setSelect: [
          (self) => {
            const { left, width } = self.select;
            if (width > 0) onChosen(self.posToVal(left, 'x'), self.posToVal(left + width, 'x'));
            self.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
      plugins: [panning.plugin],
    },
    data,
    element,
  );
  const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  resized.observe(element);
  return {
    setData(next) {
      panning.release();
      plot.setData(next);
    },
    show(line, isShown) {
      if (plot.series[line + 1]?.show !== isShown) plot.setSeries(line + 1, { show: isShown });
    },
    pointAt(place) {
      const time = plot.data[0][place];
      if (time !== undefined) plot.setCursor({ left: plot.valToPos(time, 'x'), top: 10 });
    },
    destroy() {
      resized.disconnect();
      plot.destroy();
    },
  };
}

function seriesOf(
  { label, shape = 'line' }: Line,
  stroke: string,
  width: number,
  edges: PlotParts['edges'],
): uPlot.Series {
  if (shape === 'bars') {
    return { label, stroke, fill: `${stroke}cc`, width: 0, points: { show: false }, paths: barsBetween(edges) };
  }
  return {
    label,
    stroke: shape === 'edge' ? `${stroke}66` : stroke,
    width: shape === 'edge' ? 1 : width,
    ...(shape === 'dashed' && { dash: [5, 4] }),
    points: { show: true, size: 4, fill: stroke, filter: lonePoints },
  };
}

/** How much of a bucket's width its bar leaves free. */
const GAP = 0.15;

/** Draws a bar over each bucket. The library's own bars are all as wide as the narrowest; months and cut buckets are not. */
function barsBetween(edges: PlotParts['edges']): uPlot.Series.PathBuilder {
  return (self, seriesIndex, first, last) => {
    const fill = new Path2D();
    const values = self.data[seriesIndex] as (number | null)[]; // the data that it was given
    const shown = edges();
    const floor = self.valToPos(0, 'y', true);
    for (let i = first; i <= last; i++) {
      const [value = null, start = 0, end = start] = [values[i], shown[i], shown[i + 1]];
      if (value === null || value === 0) continue;
      const left = self.valToPos(start, 'x', true);
      const width = self.valToPos(end, 'x', true) - left;
      // a little is not nothing
      const top = Math.min(floor - 1, self.valToPos(value, 'y', true));
      fill.rect(left + (width * GAP) / 2, top, Math.max(1, width * (1 - GAP)), floor - top);
    }
    return { fill };
  };
}

/** The points that no line shows, as both of their neighbors are missing; all points where there are few. */
function lonePoints(self: uPlot, seriesIndex: number): number[] {
  const values = self.data[seriesIndex] as (number | null)[]; // the data that it was given
  const few = values.length <= 60;
  const found: number[] = [];
  values.forEach((value, i) => {
    if (value !== null && (few || ((values[i - 1] ?? null) === null && (values[i + 1] ?? null) === null)))
      found.push(i);
  });
  return found;
}
