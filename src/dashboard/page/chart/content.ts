import type { Incomplete } from './incomplete.ts';
import type { Line } from './line.ts';
import type { Layout } from './panes.ts';

/** What a plot shows. Times are seconds since 1970. */
export interface PlotContent {
  readonly lines: readonly Line[];
  readonly layout: Layout;
  readonly isShown: readonly boolean[];
  /** The start of each bucket, then the end of the last one. Points are at the middles of buckets. */
  readonly edges: readonly number[];
  readonly middles: readonly number[];
  readonly incomplete: Incomplete;
  /** Moments of annotations. */
  readonly marks: readonly number[];
}
