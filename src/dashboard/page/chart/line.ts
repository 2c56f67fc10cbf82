import type { Comparison } from '../address.ts';
import type { Unit } from '../units.ts';

/** A line or a series of bars in a chart. */
export interface Line {
  readonly label: string;
  /** One value per bucket; null: no value, which is a gap. */
  readonly values: readonly (number | null)[];
  /** The CSS custom property with the color. */
  readonly color: `--${string}`;
  /** `dashed` is for previous periods. */
  readonly shape?: 'line' | 'dashed' | 'bars' | 'edge';
  /** The unit; default: that of the chart. */
  readonly unit?: Unit;
  /** The pane: 0, or a smaller one below for figures that a larger line would flatten. Each has an axis. */
  readonly pane?: 0 | 1 | 2;
  /** Label of the line whose previous period this is; the tooltip shows the change. */
  readonly previousOf?: string;
  /** For a previous period: the start of the bucket each value is from. */
  readonly startsOf?: readonly (string | undefined)[];
}

/** A moment worth marking on a time axis, such as a deployment. */
export interface Annotation {
  readonly at: Date;
  readonly text: string;
}

/** Names of the periods that a range is compared with. */
const PERIODS: Readonly<Record<Comparison, string>> = {
  previous: 'previous period',
  year: 'previous year',
  weekdays: 'matching weekdays',
};

/** Returns the line of the period that a line is compared with, from the buckets aligned with its own. */
export function previousOf<Bucket extends { readonly start: string }>(
  line: Line,
  before: readonly (Bucket | undefined)[],
  figureOf: (bucket: Bucket) => number | null,
  comparison: Comparison = 'previous',
): Line {
  return {
    ...line,
    label: `${line.label}, ${PERIODS[comparison]}`,
    previousOf: line.label,
    shape: 'dashed',
    // bars hide a line of the same color
    color: line.shape === 'bars' ? '--ink-2' : line.color,
    values: before.map((bucket) => (bucket ? figureOf(bucket) : null)),
    startsOf: before.map((bucket) => bucket?.start),
  };
}
