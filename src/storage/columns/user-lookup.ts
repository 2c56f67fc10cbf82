import type { Database } from 'bun:sqlite';
import type { Kind } from '../../records.ts';
import { type Chunk, seqsOf, sliceChunk } from './chunk.ts';
import type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
import type { ChunkTable } from './chunk-table.ts';
import type { Dictionary } from './dictionary.ts';
import type { Memtable } from './memtable.ts';
import type { Series } from './series.ts';
import type { SeriesList } from './series-list.ts';
import type { StoreParts } from './store-parts.ts';
import { type ReadLimits, type UserChunks, UserReader } from './user-reader.ts';
import type { UserRows } from './user-rows.ts';
import type { UserSeries } from './user-series.ts';
import type { Watermarks } from './watermarks.ts';

/**
 * Looks up the rows of single users: indexed rows in the row tables, by their keys, and all others in the memtable. Users
 * are given by their numbers.
 */
export class UserLookup {
  readonly #chunks: ChunkTable;
  readonly #labels: Dictionary;
  readonly #memtable: Memtable;
  readonly #series: SeriesList;
  readonly #users: Dictionary;
  readonly #userRows: UserRows;
  readonly #userSeries: UserSeries;
  readonly #watermarks: Watermarks;
  readonly #reader: UserReader;

  /** @param scannedPerLookup see {@link UserReader} */
  constructor(client: Database, parts: StoreParts, scannedPerLookup: number) {
    this.#chunks = parts.chunks;
    this.#labels = parts.labels;
    this.#memtable = parts.memtable;
    this.#series = parts.series;
    this.#users = parts.users;
    this.#userRows = parts.userRows;
    this.#userSeries = parts.userSeries;
    this.#watermarks = parts.watermarks;
    this.#reader = new UserReader(client, parts.userRows, scannedPerLookup);
  }

  /** Returns the series of a kind in which a user may have rows. A few may no longer have any. Reads no chunks. */
  seriesWith(kind: Kind, user: number): Series[] {
    const ids = new Set(this.#userSeries.seriesOf(user));
    this.#memtable.forEachOf(user, (series) => ids.add(series));
    return [...ids].flatMap((id) => {
      const series = this.#series.byId(id);
      return series?.kind === kind ? [series] : [];
    });
  }

  /**
   * Returns the rows of one user in some series, read by their keys; undefined if scanning the chunks of these series in
   * [from, to) takes less time.
   *
   * @param seriesList series of one kind
   */
  sourceOf(
    kind: Kind,
    user: number,
    seriesList: readonly Series[],
    {
      from = Number.NEGATIVE_INFINITY,
      to = Number.POSITIVE_INFINITY,
    }: { from?: number | undefined; to?: number | undefined },
    limits: ReadLimits,
  ): ChunkSource | undefined {
    if (this.#watermarks.isRebuilding || !this.#users.isWritten(user)) return undefined;
    let scannedRows = 0;
    for (const { id } of seriesList) {
      for (const { rows } of this.#chunks.ofSeries(id, from, to)) scannedRows += rows;
    }
    const named = this.#series.named(kind);
    const numbers = {
      series: (name: string) => named.get(name)?.id,
      label: (series: number, label: string) => this.#labels.find(label, series),
    };
    const readUser = { kind, number: user, upTo: this.indexedTo(kind) };
    const chunks = this.#reader.chunksOf(readUser, this.#users.text(user), scannedRows, numbers, limits);
    return chunks && { outlines: (...of) => this.#outlines(chunks, ...of) };
  }

  /** Yields the outlines of a user's indexed rows and of the memtable's rows that are not indexed. */
  *#outlines(
    chunks: UserChunks,
    { id, kind }: Series,
    from = Number.NEGATIVE_INFINITY,
    to = Number.POSITIVE_INFINITY,
  ): Generator<ChunkOutline> {
    const none = () => undefined;
    for (const chunk of [chunks.get(id), ...this.#unindexedRows(id, kind)]) {
      if (!chunk || chunk.maxTime < from || chunk.minTime >= to) continue;
      const { rows, minTime, maxTime } = chunk;
      const place = { chunkId: undefined, memtablePart: undefined };
      yield { rows, minTime, maxTime, ...place, read: () => chunk, quarters: none, hours: none, mergedHours: none };
    }
  }

  /** Yields the memtable's rows of a series that are not indexed yet. During a seal, they are indexed before they leave it. */
  *#unindexedRows(seriesId: number, kind: Kind): Generator<Chunk> {
    const indexedTo = this.#userRows.indexedTo(kind);
    for (const { chunk } of this.#memtable.parts(seriesId, kind === 'metric')) {
      const seqs = seqsOf(chunk);
      const start = seqs.findIndex((seq) => seq > indexedTo);
      if (start >= 0) yield start === 0 ? chunk : sliceChunk(chunk, seqs, start, chunk.rows);
    }
  }

  /** Returns the `seq` of each applied row of a user, ascending; undefined if they are not indexed. Some rows may be blank. */
  seqsOf(kind: Kind, user: number): Float64Array | undefined {
    if (this.#watermarks.isRebuilding) return undefined;
    const indexedTo = this.indexedTo(kind);
    const indexed = this.#users.isWritten(user)
      ? this.#reader.seqsOf({ kind, number: user, upTo: indexedTo })
      : new Float64Array(0);
    const unindexed: number[] = [];
    this.#memtable.forEachOf(user, (series, seq) => {
      if (seq > indexedTo && this.#series.byId(series)?.kind === kind) unindexed.push(seq);
    });
    if (unindexed.length === 0) return indexed;
    const seqs = new Float64Array(indexed.length + unindexed.length);
    seqs.set(indexed);
    seqs.set(unindexed, indexed.length);
    return seqs;
  }

  /** Returns the `seq` up to which the index of users lists all applied rows. */
  indexedTo(kind: Kind): number {
    return Math.min(this.#userRows.indexedTo(kind), this.#watermarks.applied[kind]);
  }
}
