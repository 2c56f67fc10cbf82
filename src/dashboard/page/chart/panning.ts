import type uPlot from 'uplot';

/** Time without wheel events that ends a pan, in milliseconds. */
const WHEEL_IDLE_MS = 350;

/** Panning of a chart. */
export interface Panning {
  readonly plugin: uPlot.Plugin;
  /** Returns the range panned to, in seconds since 1970; undefined: the range of the data. */
  readonly movedTo: () => { min: number; max: number } | undefined;
  /** Clears the range panned to, because new data has arrived. Does nothing during a pan. */
  readonly release: () => void;
}

/**
 * Creates a uPlot plugin that pans a chart: by dragging with Shift or a finger, or by scrolling sideways. The chart
 * follows immediately with the data it has, and reports the new range when the pan ends.
 *
 * @param onMoved called with the ends of the new range, in seconds since 1970
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
    const reportRange = () => {
      const { min, max } = rangeOf(self);
      onMoved(min, max);
    };

    // capture the event before uPlot's listeners, which would start a selection
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
      if (Math.abs(event.clientX - x) > 3 && event.type === 'pointerup') return reportRange();
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
          reportRange();
        }, WHEEL_IDLE_MS);
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
