import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { StorageError } from '../storage-error.ts';
import { type Chunk, type ChunkBlobs, checksumOf, decodeChunk, encodeChunk } from './chunk.ts';

/** Size of the cache of decoded chunks, in bytes. */
const CACHE_BYTES = 96 * 1024 * 1024;
/** Size of a row in a chunk, in memory and on disk: its time, user, label and value, and the difference of its `seq`. */
const BYTES_PER_ROW = 28;
/** Memory of a decoded chunk excluding its rows, in bytes: objects, array headers and the cache entry. */
const CHUNK_OVERHEAD_BYTES = 1_200;

/** A number of rows, with their earliest and latest time in microseconds since 1970. */
export interface Extent {
  readonly rows: number;
  readonly minTime: number;
  readonly maxTime: number;
}

/** The key and the extent of a sealed chunk. */
export interface ChunkEntry extends Extent {
  readonly id: number;
}

/** Receives changes to chunks, in the transaction that makes them. */
export interface ChunkListener {
  chunkAdded(): void;
  /** A chunk was replaced or blanked. */
  chunkRewritten(id: number): void;
}

/**
 * The sealed chunks in the database. Merging chunks inserts a new one and blanks the old ones in place; erasures
 * and deletions rewrite a chunk in place. Checksums are verified whenever a chunk is read from the database.
 *
 * Methods that write must be called in a transaction.
 */
export class ChunkTable {
  readonly #statements: ReturnType<typeof prepare>;
  readonly #cache = new LRUCache<number, Chunk>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ rows }) => rows * BYTES_PER_ROW + CHUNK_OVERHEAD_BYTES,
  });

  readonly #listener: ChunkListener;

  constructor(client: Database, listener: ChunkListener) {
    this.#statements = prepare(client);
    this.#listener = listener;
  }

  clearCache(): void {
    this.#cache.clear();
  }

  /** Returns the chunks of a series, in commit order. */
  ofSeries(seriesId: number): ChunkEntry[] {
    return this.#statements.ofSeries.all(seriesId);
  }

  /** Returns the last chunk of a series; undefined if it has none. */
  lastOf(seriesId: number): ChunkEntry | undefined {
    return this.#statements.lastOf.get(seriesId) ?? undefined;
  }

  /** Returns the first chunk of a series after another; undefined if there is none. */
  next(seriesId: number, afterId: number): ChunkEntry | undefined {
    return this.#statements.next.get(seriesId, afterId) ?? undefined;
  }

  /** Returns the extent of a series' chunks; undefined if it has none. */
  extent(seriesId: number): Extent | undefined {
    const found = this.#statements.extent.get(seriesId);
    return found?.rows ? { rows: found.rows, minTime: found.minTime, maxTime: found.maxTime } : undefined;
  }

  /** Returns the extents of all series that have chunks, by series. Scans an index once. */
  extents(): Map<number, Extent> {
    return new Map(this.#statements.extents.all().map(({ seriesId, ...extent }) => [seriesId, extent]));
  }

  /**
   * Reads a chunk.
   *
   * @throws {StorageError} `corrupt` if its checksum does not match
   */
  read(id: number): Chunk {
    const cached = this.#cache.get(id);
    if (cached) return cached;
    const row = this.#statements.read.get(id);
    if (!row) throw new Error(`chunk ${id} does not exist`);
    if (checksumOf(row) !== row.checksum) {
      throw new StorageError('corrupt', new Error(`the checksum of chunk ${id} does not match`));
    }
    const chunk = decodeChunk(row, row);
    this.#cache.set(id, chunk);
    return chunk;
  }

  /** Returns the checksum of a chunk; 0 if it is blank. It changes whenever the chunk is rewritten. */
  checksum(id: number): number {
    return this.#statements.checksum.get(id)?.checksum ?? 0;
  }

  /** Adds a chunk after all others. Returns the approximate number of bytes written. */
  insert(seriesId: number, chunk: Chunk): number {
    const blobs = encodeChunk(chunk);
    this.#statements.insert.run(
      seriesId,
      chunk.rows,
      chunk.minTime,
      chunk.maxTime,
      checksumOf(blobs),
      blobs.times,
      blobs.users,
      blobs.labels,
      blobs.values,
      blobs.seqs,
    );
    this.#listener.chunkAdded();
    return chunk.rows * BYTES_PER_ROW + 100;
  }

  /** Overwrites a chunk in place, so it keeps its position in the commit order. The new chunk must not be larger. */
  replace(id: number, chunk: Chunk): void {
    const blobs = encodeChunk(chunk);
    const { rows, minTime, maxTime } = chunk;
    this.#statements.replace.run(
      rows,
      rows === 0 ? 0 : minTime,
      rows === 0 ? 0 : maxTime,
      checksumOf(blobs),
      blobs.times,
      blobs.users,
      blobs.labels,
      blobs.values,
      blobs.seqs,
      id,
    );
    this.#cache.delete(id);
    this.#listener.chunkRewritten(id);
  }

  /** Overwrites a chunk in place with an empty one. */
  blank(id: number): void {
    this.#statements.blank.run(id);
    this.#cache.delete(id);
    this.#listener.chunkRewritten(id);
  }

  /** Returns the keys of up to `limit` chunks that are not blank. */
  nonBlankIds(limit: number): number[] {
    return this.#statements.nonBlank.all(limit).map(({ id }) => id);
  }
}

function prepare(client: Database) {
  const entry = 'id, rows, min_time AS minTime, max_time AS maxTime';
  return {
    ofSeries: client.prepare<ChunkEntry, [number]>(
      `SELECT ${entry} FROM chunks WHERE series_id = ? AND rows > 0 ORDER BY id`,
    ),
    lastOf: client.prepare<ChunkEntry, [number]>(
      `SELECT ${entry} FROM chunks WHERE series_id = ? AND rows > 0 ORDER BY id DESC LIMIT 1`,
    ),
    next: client.prepare<ChunkEntry, [number, number]>(
      `SELECT ${entry} FROM chunks WHERE series_id = ? AND id > ? AND rows > 0 ORDER BY id LIMIT 1`,
    ),
    extent: client.prepare<{ rows: number | null; minTime: number; maxTime: number }, [number]>(
      `SELECT sum(rows) AS rows, min(min_time) AS minTime, max(max_time) AS maxTime
       FROM chunks WHERE series_id = ? AND rows > 0`,
    ),
    extents: client.prepare<Extent & { seriesId: number }, []>(
      `SELECT series_id AS seriesId, sum(rows) AS rows, min(min_time) AS minTime, max(max_time) AS maxTime
       FROM chunks WHERE rows > 0 GROUP BY series_id`,
    ),
    read: client.prepare<ChunkBlobs & Extent & { checksum: number }, [number]>(
      `SELECT rows, min_time AS minTime, max_time AS maxTime, checksum, times, users, labels, "values", seqs
       FROM chunks WHERE id = ?`,
    ),
    checksum: client.prepare<{ checksum: number }, [number]>('SELECT checksum FROM chunks WHERE id = ?'),
    insert: client.prepare(
      `INSERT INTO chunks (series_id, rows, min_time, max_time, checksum, times, users, labels, "values", seqs)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    replace: client.prepare(
      `UPDATE chunks SET rows = ?, min_time = ?, max_time = ?, checksum = ?, times = ?, users = ?, labels = ?,
       "values" = ?, seqs = ? WHERE id = ?`,
    ),
    blank: client.prepare(
      `UPDATE chunks SET rows = 0, min_time = 0, max_time = 0, checksum = 0, times = x'', users = x'', labels = x'',
       "values" = x'', seqs = x'' WHERE id = ?`,
    ),
    nonBlank: client.prepare<{ id: number }, [number]>('SELECT id FROM chunks WHERE rows > 0 LIMIT ?'),
  };
}
