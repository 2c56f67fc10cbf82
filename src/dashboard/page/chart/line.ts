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
  /** Puts the line in a small pane of its own below the others, for figures that a larger line would flatten. */
  readonly pane?: 'lower';
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
