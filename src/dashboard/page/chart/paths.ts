import type uPlot from 'uplot';

/** Gap between bars, as a fraction of a bucket's width. */
const GAP = 0.15;

/** Radius of the upper corners of bars, in pixels of the page. */
const RADIUS = 3;

/** Returns the extent of a bar between the edges of its bucket, in the same unit. */
export function barBetween(left: number, right: number): { left: number; width: number } {
  const width = right - left;
  return { left: left + (width * GAP) / 2, width: Math.max(1, width * (1 - GAP)) };
}

/**
 * Draws one bar per bucket. uPlot's bars are all equally wide, which is wrong for months and for clipped buckets.
 *
 * @param edges returns the start of each bucket, then the end of the last one
 * @param base returns the height at which bars begin
 */
export function bars(edges: () => readonly number[], base: () => number): uPlot.Series.PathBuilder {
  return (self, seriesIndex, first, last) => {
    const fill = new Path2D();
    const heights = self.data[seriesIndex] as (number | null)[]; // as passed to uPlot
    const shown = edges();
    const floor = self.valToPos(base(), 'y', true);
    for (let i = first; i <= last; i++) {
      const [height = null, start = 0, end = start] = [heights[i], shown[i], shown[i + 1]];
      if (height === null || height === base()) continue;
      const { left, width } = barBetween(self.valToPos(start, 'x', true), self.valToPos(end, 'x', true));
      const y = self.valToPos(height, 'y', true);
      // keep small values visible
      const [top, bottom] = y <= floor ? [Math.min(floor - 1, y), floor] : [floor, Math.max(floor + 1, y)];
      const radius = Math.min(RADIUS * devicePixelRatio, width / 4, (bottom - top) / 2);
      if (radius < 1) fill.rect(left, top, width, bottom - top);
      else fill.roundRect(left, top, width, bottom - top, y <= floor ? [radius, radius, 0, 0] : [0, 0, radius, radius]);
    }
    return { fill, stroke: fill };
  };
}

/** Returns a fill of diagonal lines, for bars that are incomplete. */
export function hatched(context: CanvasRenderingContext2D, color: string): CanvasPattern | string {
  const size = Math.round(6 * devicePixelRatio);
  const tile = document.createElement('canvas');
  tile.width = size;
  tile.height = size;
  const draw = tile.getContext('2d');
  if (!draw) return color;
  draw.strokeStyle = color;
  draw.lineWidth = devicePixelRatio * 1.25;
  draw.beginPath();
  // three strokes, so that the tiles join without gaps
  for (const offset of [-size, 0, size]) {
    draw.moveTo(offset, size);
    draw.lineTo(offset + size, 0);
  }
  draw.stroke();
  return context.createPattern(tile, 'repeat') ?? color;
}

/** Returns a fill that fades from a color at the top of the plot to nothing at a height. */
export function faded(self: uPlot, color: string, base: number): CanvasGradient | string {
  const [top, bottom] = [self.bbox.top, self.valToPos(base, 'y', true)];
  if (!Number.isFinite(bottom) || bottom <= top) return `${color}14`;
  const gradient = self.ctx.createLinearGradient(0, top, 0, bottom);
  gradient.addColorStop(0, `${color}33`);
  gradient.addColorStop(1, `${color}05`);
  return gradient;
}

/** Draws a mark on the time axis, and a line above it, for each moment. */
export function drawMarks(self: uPlot, moments: readonly number[], color: string): void {
  const { ctx, bbox } = self;
  const size = 5 * devicePixelRatio;
  ctx.save();
  ctx.strokeStyle = color;
  ctx.fillStyle = color;
  ctx.lineWidth = devicePixelRatio;
  for (const moment of moments) {
    const x = self.valToPos(moment, 'x', true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const bottom = bbox.top + bbox.height;
    // a quiet line: the mark is what is pointed at
    ctx.globalAlpha = 0.45;
    ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bottom);
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.beginPath();
    ctx.moveTo(x, bottom - size);
    ctx.lineTo(x - size, bottom + size * 0.8);
    ctx.lineTo(x + size, bottom + size * 0.8);
    ctx.fill();
  }
  ctx.restore();
}
