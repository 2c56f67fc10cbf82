/** A rectangle's size, in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** What a tooltip is placed next to, in pixels from the top left of the plot. */
export interface Place {
  /** The pointer, or the point chosen by keyboard. */
  readonly pointer: { readonly x: number; readonly y: number };
  /** The columns that must stay visible: those of the bucket, if it is narrow. */
  readonly avoid: { readonly left: number; readonly right: number };
  readonly tooltip: Size;
  readonly plot: Size;
  /** Returns the vertical extent of each line between two columns. */
  readonly extentsOf: (left: number, right: number) => readonly Extent[];
}

/** A vertical extent, in pixels from the top. */
export interface Extent {
  readonly top: number;
  readonly bottom: number;
}

/** Distance between a tooltip and what it explains, in pixels. */
const GAP = 12;

/** Distance between a tooltip and the lines above and below it, in pixels. */
const MARGIN = 6;

/**
 * Places a tooltip beside the pointer: on the right if there is room, otherwise on the left. It moves up or down where it
 * would cover a line. Where it fits on neither side, as on a phone, it is above the plot.
 *
 * @returns the top left corner of the tooltip
 */
export function placeTooltip({ pointer, avoid, tooltip, plot, extentsOf }: Place): { left: number; top: number } {
  const right = Math.max(pointer.x, avoid.right) + GAP;
  const left = Math.min(pointer.x, avoid.left) - GAP - tooltip.width;
  const sides = [...(right + tooltip.width <= plot.width ? [right] : []), ...(left >= 0 ? [left] : [])];
  const centered = clamp(pointer.y - tooltip.height / 2, 0, Math.max(0, plot.height - tooltip.height));
  for (const side of sides) {
    const extents = extentsOf(side, side + tooltip.width);
    const tops = [
      centered,
      ...extents.flatMap(({ top, bottom }) => [top - MARGIN - tooltip.height, bottom + MARGIN]),
    ].filter(
      (top) =>
        top >= 0 &&
        top + tooltip.height <= plot.height &&
        extents.every((extent) => top + tooltip.height < extent.top || top > extent.bottom),
    );
    const [nearest] = tops.sort((a, b) => Math.abs(a - centered) - Math.abs(b - centered));
    if (nearest !== undefined) return { left: side, top: nearest };
  }
  const [side] = sides;
  // the lines fill the plot: cover them beside the pointer, but never at it
  if (side !== undefined) return { left: side, top: centered };
  const middle = pointer.x - tooltip.width / 2;
  return { left: clamp(middle, 0, Math.max(0, plot.width - tooltip.width)), top: -GAP / 2 - tooltip.height };
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
