import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { markMovedCells } from '../moved-cells.ts';
import { StorageError } from '../storage-error.ts';
import { isChecksumOf } from './checksum.ts';
import {
  type Chunk,
  type ChunkBlobs,
  checksumOf,
  decodeChunk,
  encodeChunk,
  hasChecksum,
  viewStoredChunk,
  withoutRows,
} from './chunk.ts';
import type { Extent } from './extent.ts';
import { paddingFor, type RowSizes } from './local-part.ts';
import { mergeHours } from './merged-hours.ts';
import { overwriteRows, rowsOf } from './removed-rows.ts';
import { ScanCache } from './scan-cache.ts';
import {
  appendZeros,
  decodeHours,
  decodeQuarters,
  fitSummary,
  type Hours,
  NO_SUMMARY,
  type Quarters,
  removeFromSummary,
  type SummaryBlobs,
  summarize,
} from './summary.ts';

/** Size of the cache of decoded chunks, in bytes. */
const CACHE_BYTES = 96 * 1024 * 1024;
/** Size of the cache of decoded summaries, in bytes. */
const SUMMARY_CACHE_BYTES = 64 * 1024 * 1024;
/** Size of a row in a decoded chunk: its time, user, label and value, and the difference of its `seq`. */
const BYTES_PER_ROW = 28;
/** Bytes written per row, at most: the decoded size, and its value in the summary. */
const WRITTEN_BYTES_PER_ROW = BYTES_PER_ROW + 8;
/** Bytes written to blank a chunk, excluding its rows. */
const BLANK_CHUNK_BYTES = 4096;
/** Memory of a decoded chunk excluding its rows, in bytes: objects, array headers and the cache entry. */
const CHUNK_OVERHEAD_BYTES = 1_200;

/** Memory of a decoded summary excluding its arrays, in bytes. */
const SUMMARY_OVERHEAD_BYTES = 400;
/** Stands for a summary that a chunk does not have. */
const NONE = Symbol('none');
/** Number of chunks for which it is known which hours the last query wanted merged. */
const MAX_WANTED = 8_192;

/** Merged hours of a chunk, and the hours at which their parts begin. */
interface MergedHours {
  readonly starts: string;
  readonly hours: Hours;
}

/** The key and the extent of a sealed chunk. */
export interface ChunkEntry extends Extent {
  readonly id: number;
}

/** A chunk without rows that are being removed. */
export interface ChunkWithoutRows {
  /** The labels of the rows that are kept, some of them more than once per row. */
  readonly labels: Uint16Array | Uint32Array;
  readonly removedLabels: ReadonlySet<number>;
  /** Writes the chunk, in the caller's transaction. */
  readonly write: () => void;
}

/** A chunk as it will be written. */
export interface EncodedChunk {
  readonly chunk: Chunk;
  readonly blobs: ChunkBlobs;
  readonly checksum: number;
  readonly summary: SummaryBlobs | undefined;
  /** Approximate number of bytes written. */
  readonly bytes: number;
}

/** Encodes a chunk. Takes longer than writing it, so call it before the transaction. */
export function encodeForTable(chunk: Chunk): EncodedChunk {
  const blobs = encodeChunk(chunk);
  const summary = summarize(chunk);
  const bytes = chunk.rows * WRITTEN_BYTES_PER_ROW + 100;
  return { chunk, blobs, checksum: checksumOf(blobs), summary, bytes };
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
  readonly #cache = new ScanCache<number, Chunk>(
    CACHE_BYTES,
    ({ rows }) => rows * BYTES_PER_ROW + CHUNK_OVERHEAD_BYTES,
  );
  readonly #summaries = new ScanCache<string, Hours | Quarters | MergedHours | typeof NONE>(
    SUMMARY_CACHE_BYTES,
    (summary) => SUMMARY_OVERHEAD_BYTES + (summary === NONE ? 0 : bytesOfSummary(summary)),
  );
  /** By the keys of merged hours: the starts that the last query wanted. */
  readonly #wanted = new LRUCache<string, string>({ max: MAX_WANTED });
  readonly #listener: ChunkListener;
  readonly #client: Database;

  constructor(client: Database, listener: ChunkListener) {
    this.#client = client;
    this.#statements = prepare(client);
    this.#listener = listener;
  }

  clearCache(): void {
    this.#cache.clear();
    this.#summaries.clear();
    this.#wanted.clear();
  }

  /** Returns the chunks of a series whose extent overlaps [from, to), in commit order. */
  ofSeries(seriesId: number, from: number, to: number): ChunkEntry[] {
    return this.#statements.ofSeries.all(seriesId, from, to);
  }

  /** Returns the last chunks of a series, the last one first. */
  newestOf(seriesId: number, limit: number): ChunkEntry[] {
    return this.#statements.newest.all(seriesId, limit);
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
    const row = this.#readBlobs(id);
    const chunk = decodeChunk(row, row);
    this.#cache.add(id, chunk);
    return chunk;
  }

  #readBlobs(id: number): ChunkBlobs & Extent {
    const row = this.#statements.read.get(id);
    if (!row) throw new Error(`chunk ${id} does not exist`);
    if (!hasChecksum(row, row.checksum)) {
      throw new StorageError('corrupt', new Error(`the checksum of chunk ${id} does not match`));
    }
    return row;
  }

  /**
   * Returns the rows of a chunk per quarter hour; undefined if it has no such summary.
   *
   * @throws {StorageError} `corrupt` if its checksum does not match
   */
  quarters(id: number): Quarters | undefined {
    return this.#summary(`quarters ${id}`, () => {
      const row = this.#statements.quarters.get(id);
      if (row && !isChecksumOf(row.checksum, [row.quarters])) throw damagedSummary(id);
      return row ? decodeQuarters(row.quarters) : undefined;
    });
  }

  /**
   * Returns the values of a chunk by hour; undefined if it has no such summary.
   *
   * @throws {StorageError} `corrupt` if its checksum does not match
   */
  hours(id: number): Hours | undefined {
    return this.#summary(`hours ${id}`, () => {
      const row = this.#statements.hours.get(id);
      if (row && !isChecksumOf(row.checksum, [row.hours, row.sorted])) throw damagedSummary(id);
      return row ? decodeHours(row.hours, row.sorted) : undefined;
    });
  }

  /**
   * Returns the values of a chunk as {@link ChunkTable.hours} does, or with hours merged to a few parts: see
   * {@link mergeHours}. Merging takes about 25 ns per value, so hours are merged once two queries in a row want the same
   * parts of the chunk, and then kept in memory.
   *
   * @param starts the hours since 1970 at which the second part and later ones begin, ascending
   */
  mergedHours(id: number, starts: readonly number[]): Hours | undefined {
    const key = `${starts.length === 0 ? 'whole' : 'parts'} ${id}`;
    const wanted = starts.join();
    const cached = this.#summaries.get(key) as MergedHours | undefined; // as set below for this key
    if (cached?.starts === wanted) return cached.hours;
    const hours = this.hours(id);
    if (!hours || hours.numbers.length <= starts.length + 1) return hours;
    const isWanted = this.#wanted.get(key) === wanted;
    this.#wanted.set(key, wanted);
    if (!isWanted || !this.#summaries.admits(SUMMARY_OVERHEAD_BYTES + hours.sorted.byteLength)) return hours;
    const merged = { starts: wanted, hours: mergeHours(hours, starts) };
    this.#summaries.set(key, merged);
    return merged.hours;
  }

  #summary<Summary extends Hours | Quarters>(key: string, read: () => Summary | undefined): Summary | undefined {
    const cached = this.#summaries.get(key) as Summary | typeof NONE | undefined; // as set below for this key
    if (cached) return cached === NONE ? undefined : cached;
    const summary = read();
    this.#summaries.add(key, summary ?? NONE);
    return summary;
  }

  /** Returns the checksum of a chunk; 0 if it is blank. It changes whenever the chunk is rewritten. */
  checksum(id: number): number {
    return this.#statements.checksum.get(id)?.checksum ?? 0;
  }

  /** Adds a chunk after all others. */
  insert(seriesId: number, { chunk, blobs, checksum, summary }: EncodedChunk): void {
    const { rows, minTime, maxTime } = chunk;
    const { times, users, labels, values, seqs } = blobs;
    const { lastInsertRowid } = this.#statements.insert.run(
      seriesId,
      rows,
      minTime,
      maxTime,
      checksum,
      times,
      users,
      labels,
      values,
      seqs,
    );
    if (summary) this.#statements.insertSummary.run(Number(lastInsertRowid), ...columnsOf(summary));
    this.#listener.chunkAdded();
  }

  /** Overwrites a chunk in place, so it keeps its position in the commit order. The new chunk must not be larger. */
  replace(id: number, chunk: Chunk): void {
    const blobs = this.#pad(id, chunk, encodeChunk(chunk));
    this.#overwrite(id, chunk, blobs, checksumOf(blobs));
    // a chunk that had no summary gets none: inserting one between others would move them
    const summary = this.#readSummary(id);
    if (summary) this.#replaceSummary(id, summarize(chunk), summary);
  }

  /**
   * Returns blobs that can replace those of a chunk without moving others: pads `seqs` with zeros, which are not read. If
   * none can, the file is marked, in the caller's transaction.
   */
  #pad(id: number, { rows, minTime, maxTime }: Extent, blobs: ChunkBlobs): ChunkBlobs {
    const stored = this.#statements.sizes.get(id);
    if (!stored) return blobs;
    const { times, users, labels, values, seqs } = blobs;
    const numbers = rows === 0 ? [0, 0, 0] : [rows, minTime, maxTime];
    const padding = paddingFor(
      {
        integers: [0, stored.seriesId, ...numbers],
        blobs: [times, users, labels, values, seqs].map(({ byteLength }) => byteLength),
      },
      {
        integers: [stored.checksum, stored.seriesId, stored.rows, stored.minTime, stored.maxTime],
        blobs: [stored.times, stored.users, stored.labels, stored.values, stored.seqs],
      },
    );
    if (padding === undefined) markMovedCells(this.#client);
    if (!padding) return blobs;
    const padded = new Uint8Array(seqs.byteLength + padding);
    padded.set(seqs);
    return { ...blobs, seqs: padded };
  }

  /**
   * Removes the rows of a user from a chunk; returns undefined if it has none. The function that is returned writes the chunk
   * in place, if possible only the pages that differ: see removed-rows.ts.
   *
   * @throws {StorageError} `corrupt` if its checksum does not match
   */
  withoutUser(id: number, user: number): ChunkWithoutRows | undefined {
    const row = this.#readBlobs(id);
    const { users, labels } = viewStoredChunk(row, row);
    const rows = rowsOf(users, user);
    if (rows.length === 0) return undefined;
    const removedLabels = new Set(rows.map((at) => labels[at] as number));
    const overwritten = overwriteRows(row, row, rows);
    if (!overwritten) {
      const chunk = decodeChunk(row, row);
      const kept = withoutRows(chunk, (at) => chunk.users[at] === user) ?? chunk;
      return { labels: kept.labels, removedLabels, write: () => this.replace(id, kept) };
    }
    const { blobs, extent, removed } = overwritten;
    const checksum = checksumOf(blobs);
    const previous = this.#readSummary(id);
    const next =
      previous && (removeFromSummary(previous, removed, extent.rows) ?? summarize(decodeChunk(blobs, extent)));
    const write = () => {
      this.#overwrite(id, extent, blobs, checksum);
      this.#replaceSummary(id, next, previous);
    };
    return { labels: overwritten.labels, removedLabels, write };
  }

  #readSummary(id: number): SummaryBlobs | undefined {
    const summary = this.#statements.summary.get(id);
    if (!summary) return undefined;
    const { quarters, hours, sorted } = summary;
    if (!isChecksumOf(summary.quartersChecksum, [quarters]) || !isChecksumOf(summary.checksum, [hours, sorted])) {
      throw damagedSummary(id);
    }
    return summary;
  }

  /** Replaces a summary in place. If that can move others, the file is marked, in the caller's transaction. */
  #replaceSummary(id: number, summary: SummaryBlobs | undefined, stored: SummaryBlobs | undefined): void {
    if (!stored) return;
    const fitted = fitSummary(summary ?? NO_SUMMARY, stored);
    const padding = paddingFor(sizesOf(fitted), sizesOf(stored));
    if (padding === undefined) markMovedCells(this.#client);
    this.#statements.replaceSummary.run(...columnsOf(padding ? appendZeros(fitted, padding) : fitted), id);
  }

  #overwrite(id: number, { rows, minTime, maxTime }: Extent, blobs: ChunkBlobs, checksum: number): void {
    this.#statements.replace.run(
      rows,
      rows === 0 ? 0 : minTime,
      rows === 0 ? 0 : maxTime,
      checksum,
      blobs.times,
      blobs.users,
      blobs.labels,
      blobs.values,
      blobs.seqs,
      id,
    );
    this.#uncache(id);
    this.#listener.chunkRewritten(id);
  }

  /** Overwrites a chunk in place with an empty one. */
  blank(id: number): void {
    this.#statements.blank.run(id);
    this.#statements.replaceSummary.run(...columnsOf(NO_SUMMARY), id);
    this.#uncache(id);
    this.#listener.chunkRewritten(id);
  }

  #uncache(id: number): void {
    this.#cache.delete(id);
    this.#summaries.delete(`quarters ${id}`);
    for (const part of ['hours', 'whole', 'parts']) this.#summaries.delete(`${part} ${id}`);
  }

  /** Returns up to `limit` chunks that are not blank, with the approximate number of bytes written to blank each. */
  nonBlank(limit: number): { readonly id: number; readonly bytes: number }[] {
    return this.#statements.nonBlank
      .all(limit)
      .map(({ id, rows }) => ({ id, bytes: rows * WRITTEN_BYTES_PER_ROW + BLANK_CHUNK_BYTES }));
  }
}

/** Returns a summary's values in the order of its table's columns. */
function columnsOf({ checksum, quartersChecksum, quarters, hours, sorted }: SummaryBlobs) {
  return [checksum, quartersChecksum, quarters, hours, sorted] as const;
}

function sizesOf({ checksum, quartersChecksum, quarters, hours, sorted }: SummaryBlobs): RowSizes {
  return {
    integers: [checksum, quartersChecksum],
    blobs: [quarters, hours, sorted].map(({ byteLength }) => byteLength),
  };
}

function bytesOfSummary(summary: Hours | Quarters | MergedHours): number {
  if ('hours' in summary) return bytesOfSummary(summary.hours);
  return 'sorted' in summary ? 40 * summary.numbers.length + summary.sorted.byteLength : 8 * summary.numbers.length;
}

function damagedSummary(id: number): StorageError {
  return new StorageError('corrupt', new Error(`the checksum of the summary of chunk ${id} does not match`));
}

function prepare(client: Database) {
  const entry = 'id, rows, min_time AS minTime, max_time AS maxTime';
  return {
    ofSeries: client.prepare<ChunkEntry, [number, number, number]>(
      `SELECT ${entry} FROM chunks WHERE series_id = ? AND max_time >= ? AND min_time < ? AND rows > 0 ORDER BY id`,
    ),
    newest: client.prepare<ChunkEntry, [number, number]>(
      `SELECT ${entry} FROM chunks WHERE series_id = ? AND rows > 0 ORDER BY id DESC LIMIT ?`,
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
    quarters: client.prepare<{ checksum: number; quarters: Uint8Array }, [number]>(
      'SELECT quarters_checksum AS checksum, quarters FROM chunk_summaries WHERE chunk_id = ?',
    ),
    hours: client.prepare<Pick<SummaryBlobs, 'checksum' | 'hours' | 'sorted'>, [number]>(
      'SELECT checksum, hours, sorted FROM chunk_summaries WHERE chunk_id = ?',
    ),
    insertSummary: client.prepare(
      `INSERT INTO chunk_summaries (chunk_id, checksum, quarters_checksum, quarters, hours, sorted)
       VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    replaceSummary: client.prepare(
      `UPDATE chunk_summaries SET checksum = ?, quarters_checksum = ?, quarters = ?, hours = ?, sorted = ?
       WHERE chunk_id = ?`,
    ),
    summary: client.prepare<SummaryBlobs, [number]>(
      `SELECT checksum, quarters_checksum AS quartersChecksum, quarters, hours, sorted
       FROM chunk_summaries WHERE chunk_id = ?`,
    ),
    checksum: client.prepare<{ checksum: number }, [number]>('SELECT checksum FROM chunks WHERE id = ?'),
    insert: client.prepare(
      `INSERT INTO chunks (series_id, rows, min_time, max_time, checksum, times, users, labels, "values", seqs)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    sizes: client.prepare<Extent & Record<keyof ChunkBlobs | 'seriesId' | 'checksum', number>, [number]>(
      `SELECT series_id AS seriesId, rows, min_time AS minTime, max_time AS maxTime, checksum, length(times) AS times,
       length(users) AS users, length(labels) AS labels, length("values") AS "values", length(seqs) AS seqs
       FROM chunks WHERE id = ?`,
    ),
    replace: client.prepare(
      `UPDATE chunks SET rows = ?, min_time = ?, max_time = ?, checksum = ?, times = ?, users = ?, labels = ?,
       "values" = ?, seqs = ? WHERE id = ?`,
    ),
    blank: client.prepare(
      `UPDATE chunks SET rows = 0, min_time = 0, max_time = 0, checksum = 0, times = x'', users = x'', labels = x'',
       "values" = x'', seqs = x'' WHERE id = ?`,
    ),
    nonBlank: client.prepare<{ id: number; rows: number }, [number]>(
      'SELECT id, rows FROM chunks WHERE rows > 0 LIMIT ?',
    ),
  };
}
