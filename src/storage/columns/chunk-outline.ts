import type { Chunk } from './chunk.ts';
import type { Extent } from './extent.ts';
import type { Series } from './series.ts';
import type { Hours, Quarters } from './summary.ts';

/** A chunk whose extent is known and whose rows are read on demand. */
export interface ChunkOutline extends Extent {
  /** The key of a sealed chunk; undefined for rows of the memtable. */
  readonly chunkId: number | undefined;
  /** Of a part of the memtable, its place among the parts of the series; otherwise undefined. */
  readonly memtablePart: number | undefined;
  readonly read: () => Chunk;
  /** Returns the rows per quarter hour; undefined if the chunk has no such summary. */
  readonly quarters: () => Quarters | undefined;
  /** Returns the values by hour; undefined if the chunk has no such summary. */
  readonly hours: () => Hours | undefined;
  /** Returns the same, or with hours merged to parts, of which all but the first begin at `starts`, in hours since 1970. */
  readonly mergedHours: (starts: readonly number[]) => Hours | undefined;
}

/** Something that contains chunks of series: the column store, or the rows of one user. */
export interface ChunkSource {
  /** Yields the outlines of the chunks of a series whose extent overlaps [from, to), in commit order. */
  outlines(series: Series, from?: number, to?: number): Generator<ChunkOutline>;
}
