import { KINDS, type Kind } from '../../records.ts';
import { type Chunk, seqsOf } from './chunk.ts';
import type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
import type { ChunkTable } from './chunk-table.ts';
import { type Extent, extentOfAll } from './extent.ts';
import type { Memtable } from './memtable.ts';
import type { Series } from './series.ts';
import type { SeriesList } from './series-list.ts';
import type { StoreParts } from './store-parts.ts';
import type { Watermarks } from './watermarks.ts';

/** Series after which a scan of series checks its limits. */
export const SERIES_PER_CHECK = 4_096;

/** Reads series: their sealed chunks, then their rows in the memtable. Reads no chunks while they are cleared for a rebuild. */
export class SeriesReader implements ChunkSource {
  readonly #chunks: ChunkTable;
  readonly #memtable: Memtable;
  readonly #series: SeriesList;
  readonly #watermarks: Watermarks;

  constructor(parts: Pick<StoreParts, 'chunks' | 'memtable' | 'series' | 'watermarks'>) {
    this.#chunks = parts.chunks;
    this.#memtable = parts.memtable;
    this.#series = parts.series;
    this.#watermarks = parts.watermarks;
  }

  /** Yields the outlines of the chunks of a series whose extent overlaps [from, to), in commit order. */
  *outlines(
    { id, kind }: Series,
    from = Number.NEGATIVE_INFINITY,
    to = Number.POSITIVE_INFINITY,
  ): Generator<ChunkOutline> {
    for (const { id: chunkId, ...extent } of this.#watermarks.isRebuilding ? [] : this.#chunks.ofSeries(id, from, to)) {
      const read = () => this.#chunks.read(chunkId);
      const [quarters, hours] = [() => this.#chunks.quarters(chunkId), () => this.#chunks.hours(chunkId)];
      const mergedHours = (starts: readonly number[]) => this.#chunks.mergedHours(chunkId, starts);
      yield { ...extent, chunkId, memtablePart: undefined, read, quarters, hours, mergedHours };
    }
    const extent = this.#memtable.extent(id);
    if (!extent || extent.maxTime < from || extent.minTime >= to) return;
    for (const [memtablePart, part] of this.#memtable.parts(id, kind === 'metric').entries()) {
      const { rows, minTime, maxTime } = part.chunk;
      if (maxTime < from || minTime >= to) continue;
      const [quarters, hours] = [() => part.quarters(), () => part.hours()];
      const place = { chunkId: undefined, memtablePart };
      yield { rows, minTime, maxTime, ...place, read: () => part.chunk, quarters, hours, mergedHours: hours };
    }
  }

  /**
   * Yields the keys of a series' rows before a time, in microseconds since 1970, chunk by chunk. Rows may be sealed
   * between two steps, which merges chunks: each step therefore looks up the next one, whose first rows may be known.
   */
  *seqsBefore({ id, kind }: Series, before: number): Generator<number[]> {
    let checkedTo = 0;
    const select = (chunk: Chunk) => {
      const seqs = seqsOf(chunk);
      const found = Array.from(seqs).filter((seq, row) => seq > checkedTo && (chunk.times[row] as number) < before);
      checkedTo = Math.max(checkedTo, seqs.at(-1) ?? 0);
      return found;
    };
    for (let entry = this.#chunks.next(id, 0); entry; entry = this.#chunks.next(id, entry.id)) {
      if (entry.minTime < before) yield select(this.#chunks.read(entry.id));
    }
    yield this.#memtable.parts(id, kind === 'metric').flatMap(({ chunk }) => select(chunk));
  }

  /** Returns the extent of a series without reading its rows; undefined if it has none. */
  extent({ id }: Series): Extent | undefined {
    const sealed = this.#watermarks.isRebuilding ? undefined : this.#chunks.extent(id);
    return extentOfAll([sealed, this.#memtable.extent(id)]);
  }

  /**
   * Returns all series that have rows, with their extents. Scans an index once.
   *
   * @param kind undefined: of all kinds
   * @param check called every few thousand series; what it throws is thrown
   */
  extents(kind?: Kind, check = () => {}): { series: Series; extent: Extent }[] {
    check();
    const sealed: ReadonlyMap<number, Extent> = this.#watermarks.isRebuilding ? new Map() : this.#chunks.extents();
    const kinds = kind === undefined ? KINDS : [kind];
    const all = kinds.flatMap((each) => [...this.#series.named(each).values()]);
    return all.flatMap((series, i) => {
      if (i % SERIES_PER_CHECK === 0) check();
      const extent = extentOfAll([sealed.get(series.id), this.#memtable.extent(series.id)]);
      return extent ? [{ series, extent }] : [];
    });
  }
}
