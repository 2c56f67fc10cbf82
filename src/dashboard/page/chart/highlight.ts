import type uPlot from 'uplot';
import type { PlotContent } from './content.ts';
import { barBetween } from './paths.ts';

/** The highlight of the bucket under the cursor. */
export interface Highlight {
  readonly plugin: uPlot.Plugin;
  /** Highlights a bucket and its bars; null: none. */
  show(self: uPlot, index: number | null): void;
  /** Returns the columns that a tooltip must not cover: those of the bucket, or its middle if it is wide. */
  columnsOf(self: uPlot, index: number): { left: number; right: number };
}

/** Maximum width of a bucket that a tooltip is placed beside as a whole, in pixels. */
const NARROW = 200;

/** Creates a uPlot plugin that highlights the bucket under the cursor, with elements over and under the canvas. */
export function createHighlight(content: () => PlotContent, colors: readonly string[]): Highlight {
  const bucket = document.createElement('div');
  bucket.className = 'pointed-bucket';
  const overlays = colors.map((color) => {
    const bar = document.createElement('div');
    bar.className = 'pointed-bar';
    bar.style.background = color;
    return bar;
  });

  function boundsOf(self: uPlot, index: number): { left: number; right: number } {
    const { edges } = content();
    const [start = 0, end = start] = edges.slice(index, index + 2);
    return { left: self.valToPos(start, 'x'), right: self.valToPos(end, 'x') };
  }

  function show(self: uPlot, index: number | null): void {
    const { lines, layout, isShown, incomplete, edges } = content();
    bucket.hidden = index === null;
    for (const bar of overlays) bar.hidden = true;
    if (index === null) return;
    const { left, right } = boundsOf(self, index);
    place(bucket, left, 0, Math.max(1, right - left), self.over.clientHeight);
    const isIncomplete =
      (index === 0 && incomplete.first) || (index === edges.length - 2 && incomplete.last !== undefined);
    lines.forEach(({ shape }, i) => {
      const [bar, height] = [overlays[i], layout.heights[i]?.[index] ?? null];
      if (shape !== 'bars' || !isShown[i] || !bar || height === null || height === layout.bases[i]) return;
      const span = barBetween(left, right);
      const [y, floor] = [self.valToPos(height, 'y'), self.valToPos(layout.bases[i] ?? 0, 'y')];
      place(bar, span.left, Math.min(y, floor - 1), span.width, Math.max(1, Math.abs(floor - y)));
      bar.classList.toggle('incomplete', isIncomplete);
      bar.hidden = false;
    });
  }

  return {
    plugin: {
      hooks: {
        ready(self) {
          self.under.append(bucket);
          self.over.append(...overlays);
          show(self, null);
        },
      },
    },
    show,
    columnsOf(self, index) {
      const { left, right } = boundsOf(self, index);
      const middle = (left + right) / 2;
      return right - left <= NARROW ? { left, right } : { left: middle, right: middle };
    },
  };
}

function place(element: HTMLElement, left: number, top: number, width: number, height: number): void {
  Object.assign(element.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${height}px` });
}
