import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { StorageError } from '../storage-error.ts';
import { type Chunk, type ChunkBlobs, checksumOf, decodeChunk, encodeChunk } from './chunk.ts';

/** Decoded chunks kept in memory, in bytes. */
const CACHE_BYTES = 96 * 1024 * 1024;
/** What a decoded chunk takes beside its rows: objects and arrays of their own, and its entry in the cache. */
const CHUNK_OVERHEAD_BYTES = 1_200;

/** How many rows there are, and when the first and the last of them happened, in microseconds since 1970. */
export interface Extent {
  readonly rows: number;
  readonly minTime: number;
  readonly maxTime: number;
}

/** A sealed chunk by its key, with its extent. */
export interface ChunkEntry extends Extent {
  readonly id: number;
}

/**
 * The sealed chunks in the database. A chunk is written once; to replace it, a new one is added and the old one
 * blanked in place. Its checksum is verified whenever it is read from the file.
 *
 * Nothing here begins a transaction: the caller does.
 */
export class ChunkTable {
  readonly #statements: ReturnType<typeof prepare>;
  readonly #cache = new LRUCache<number, Chunk>({
    maxSize: CACHE_BYTES,
    sizeCalculation: ({ rows }) => rows * 24 + CHUNK_OVERHEAD_BYTES,
  });

  constructor(client: Database) {
    this.#statements = prepare(client);
  }

  clearCache(): void {
    this.#cache.clear();
  }

  /** The chunks of a series, in the order of their commits. */
  ofSeries(seriesId: number): ChunkEntry[] {
    return this.#statements.ofSeries.all(seriesId);
  }

  /** The last chunk of a series, if it has one. */
  lastOf(seriesId: number): ChunkEntry | undefined {
    return this.#statements.lastOf.get(seriesId) ?? undefined;
  }

  /** The extent of a series' chunks; undefined if it has none. */
  extent(seriesId: number): Extent | undefined {
    const found = this.#statements.extent.get(seriesId);
    return found?.rows ? { rows: found.rows, minTime: found.minTime, maxTime: found.maxTime } : undefined;
  }

  /** The extents of all series that have chunks, by series. One pass over an index. */
  extents(): Map<number, Extent> {
    return new Map(this.#statements.extents.all().map(({ seriesId, ...extent }) => [seriesId, extent]));
  }

  /**
   * Reads a chunk.
   *
   * @throws {StorageError} `corrupt` if its bytes are not those that were written
   */
  read(id: number): Chunk {
    const cached = this.#cache.get(id);
    if (cached) return cached;
    const row = this.#statements.read.get(id);
    if (!row) throw new Error(`there is no chunk ${id}`);
    if (checksumOf(row) !== row.checksum) {
      throw new StorageError('corrupt', new Error(`the checksum of chunk ${id} does not match`));
    }
    const chunk = decodeChunk(row, row);
    this.#cache.set(id, chunk);
    return chunk;
  }

  /** Adds a chunk behind all others; returns the bytes written. */
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
    );
    return chunk.rows * 24 + 100;
  }

  /** Replaces a chunk in its place, where it keeps its position in the order of commits. It must not grow. */
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
      id,
    );
    this.#cache.delete(id);
  }

  /** Overwrites a chunk with nothing. */
  blank(id: number): void {
    this.#statements.blank.run(id);
    this.#cache.delete(id);
  }

  /** Keys of chunks that are not blank, from the first on. */
  some(limit: number): number[] {
    return this.#statements.some.all(limit).map(({ id }) => id);
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
    extent: client.prepare<{ rows: number | null; minTime: number; maxTime: number }, [number]>(
      `SELECT sum(rows) AS rows, min(min_time) AS minTime, max(max_time) AS maxTime
       FROM chunks WHERE series_id = ? AND rows > 0`,
    ),
    extents: client.prepare<Extent & { seriesId: number }, []>(
      `SELECT series_id AS seriesId, sum(rows) AS rows, min(min_time) AS minTime, max(max_time) AS maxTime
       FROM chunks WHERE rows > 0 GROUP BY series_id`,
    ),
    read: client.prepare<ChunkBlobs & Extent & { checksum: number }, [number]>(
      `SELECT rows, min_time AS minTime, max_time AS maxTime, checksum, times, users, labels, "values"
       FROM chunks WHERE id = ?`,
    ),
    insert: client.prepare(
      `INSERT INTO chunks (series_id, rows, min_time, max_time, checksum, times, users, labels, "values")
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    replace: client.prepare(
      `UPDATE chunks SET rows = ?, min_time = ?, max_time = ?, checksum = ?, times = ?, users = ?, labels = ?,
       "values" = ? WHERE id = ?`,
    ),
    blank: client.prepare(
      `UPDATE chunks SET rows = 0, min_time = 0, max_time = 0, checksum = 0, times = x'', users = x'', labels = x'',
       "values" = x'' WHERE id = ?`,
    ),
    some: client.prepare<{ id: number }, [number]>('SELECT id FROM chunks WHERE rows > 0 LIMIT ?'),
  };
}
