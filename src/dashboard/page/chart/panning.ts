import type uPlot from 'uplot';

/** After the wheel has been still for so long, the range is what it has been moved to, in milliseconds. */
const WHEEL_PAUSE = 350;

/** What moves a chart. */
export interface Panning {
  readonly plugin: uPlot.Plugin;
  /** The range that the chart has been moved to, in seconds since 1970; undefined: it shows its data's own. */
  readonly movedTo: () => { min: number; max: number } | undefined;
  /** Forgets where the chart has been moved to, unless it is being moved: new data are there. */
  readonly release: () => void;
}

/**
 * Moves a chart sideways: by dragging with the shift key or with a finger, or by a sideways wheel. The chart
 * moves at once, over what it has; when the movement ends, the range is told.
 *
 * @param onMoved told the ends of the new range, in seconds since 1970
 */
export function createPanning(onMoved: (from: number, to: number) => void): Panning {
  const listening = new AbortController();
  const { signal } = listening;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let grabbed: { x: number; min: number; max: number } | undefined;
  let moved: { min: number; max: number } | undefined;

  const rangeOf = (self: uPlot) => ({ min: self.scales['x']?.min ?? 0, max: self.scales['x']?.max ?? 0 });

  function ready(self: uPlot): void {
    const { over } = self;
    const moveBy = (from: { min: number; max: number }, pixels: number) => {
      const distance = (pixels / (over.clientWidth || 1)) * (from.max - from.min);
      moved = { min: from.min + distance, max: from.max + distance };
      self.setScale('x', moved);
    };
    const tell = () => {
      const { min, max } = rangeOf(self);
      onMoved(min, max);
    };

    // before the chart's own listeners, which would select
    over.addEventListener(
      'mousedown',
      (event) => {
        if (event.shiftKey) event.stopImmediatePropagation();
      },
      { signal, capture: true },
    );
    over.addEventListener(
      'pointerdown',
      (event) => {
        if (event.pointerType === 'mouse' && !event.shiftKey) return;
        grabbed = { x: event.clientX, ...rangeOf(self) };
        over.setPointerCapture(event.pointerId);
      },
      { signal },
    );
    over.addEventListener(
      'pointermove',
      (event) => {
        if (grabbed) moveBy(grabbed, grabbed.x - event.clientX);
      },
      { signal },
    );
    const release = (event: PointerEvent) => {
      if (!grabbed) return;
      const { x, min, max } = grabbed;
      grabbed = undefined;
      if (Math.abs(event.clientX - x) > 3 && event.type === 'pointerup') return tell();
      moved = undefined;
      self.setScale('x', { min, max });
    };
    over.addEventListener('pointerup', release, { signal });
    over.addEventListener('pointercancel', release, { signal });
    over.addEventListener(
      'wheel',
      (event) => {
        const pixels = event.deltaX || (event.shiftKey ? event.deltaY : 0);
        if (pixels === 0) return;
        event.preventDefault();
        moveBy(rangeOf(self), pixels);
        clearTimeout(timer);
        timer = setTimeout(() => {
          timer = undefined;
          tell();
        }, WHEEL_PAUSE);
      },
      { signal, passive: false },
    );
  }

  return {
    plugin: {
      hooks: {
        ready,
        destroy() {
          listening.abort();
          clearTimeout(timer);
        },
      },
    },
    movedTo: () => moved,
    release() {
      if (!grabbed && timer === undefined) moved = undefined;
    },
  };
}
