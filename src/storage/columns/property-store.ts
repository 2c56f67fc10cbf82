import type { Database } from 'bun:sqlite';
import type { PropertyPath } from '../../properties.ts';
import type { Job, Transact } from '../job.ts';
import { StorageError, toStorageError } from '../storage-error.ts';
import type { TextHash } from '../text-hash.ts';
import { type Chunk, seqsOf, sliceChunk } from './chunk.ts';
import type { ChunkListener, ChunkTable } from './chunk-table.ts';
import { ColumnBuild } from './column-build.ts';
import { createEventDataReader, type EventDataReader } from './event-data.ts';
import {
  type ColumnBlobs,
  type ColumnBuilder,
  columnChecksum,
  encodeColumn,
  hasColumnChecksum,
  type PropertyColumn,
  StoredColumn,
} from './property-column.ts';
import { ScanCache } from './scan-cache.ts';

/*
 * Properties of event data, for queries. A property gets columns when a query over all users first asks for it. Queries
 * over one user read only that user's rows, so ordinary users can neither make the database grow nor observe columns. The
 * alternatives, and what each costs, are in docs/architecture.md.
 */

/** The most that is stored. Beyond it, the least recently used properties are dropped. */
export interface PropertyLimits {
  /** Number of properties with columns. */
  readonly properties: number;
  /** Size of all columns, in bytes. */
  readonly bytes: number;
}

export const PROPERTY_LIMITS: PropertyLimits = { properties: 64, bytes: 1024 ** 3 };
/** Maximum size of a stored column: more could not be written in the time allowed for a transaction. */
const MAX_COLUMN_BYTES = 4 * 1024 * 1024;
/** Columns of a chunk that are built at once in the background, so that they fit in memory. */
const MAX_BUILT_COLUMNS = 4;
/** Rows whose data is read at once, about 20 ms. */
const PART_ROWS = 8_192;
/** Size of the cache of stored columns, in bytes. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Limits of the columns of memtable parts that are kept: 64 MB. A series has at most 17 parts. */
const MEMTABLE_COLUMNS = { count: 256, valueBytes: 256 * 1024 };
/** How long {@link PropertyStore.build} runs, so that other maintenance gets its turn, in milliseconds. */
const BUILD_MS = 500;
/** How precisely the time of the last use is stored, in milliseconds. */
const USED_AT_PRECISION_MS = 3_600_000;
/** Marks a column that is too large to be stored, in place of its checksum. Checksums are never negative. */
const TOO_LARGE = -1;

/** A property of an event type that has columns. */
interface Property {
  readonly id: number;
  readonly seriesId: number;
  readonly path: PropertyPath;
  /** When a query last used it, in milliseconds since 1970. */
  usedAt: number;
}

/** A chunk whose properties are read. */
export interface PropertySource {
  readonly series: { readonly id: number; readonly name: string };
  /** The key of a sealed chunk; undefined for rows of the memtable. */
  readonly chunkId: number | undefined;
  /** Of a part of the memtable, its place among the parts of the series; otherwise undefined. */
  readonly memtablePart: number | undefined;
  readonly chunk: Chunk;
}

/** What to read of a chunk. */
export interface PropertyRequest {
  /** The properties, each once. */
  readonly paths: readonly PropertyPath[];
  /**
   * Returns whether the value of a row is needed; undefined: all are. If given, the values are read from the rows, and those
   * of other rows are unspecified.
   */
  readonly isWanted?: ((row: number) => boolean) | undefined;
  /** Whether to store missing columns, if all values are read. */
  readonly isStored: boolean;
  /** Called every few thousand rows; may throw. */
  readonly check: () => void;
}

/** A part of a chunk, with one column per requested path. */
export interface PropertyPart {
  readonly chunk: Chunk;
  readonly columns: readonly PropertyColumn[];
}

/** The columns of properties, and the values of rows that have none yet. */
export class PropertyStore implements ChunkListener {
  readonly #transact: Transact;
  readonly #chunks: ChunkTable;
  readonly #readData: EventDataReader;
  readonly #now: () => number;
  readonly #hash: TextHash;
  readonly #limits: PropertyLimits;
  readonly #statements: ReturnType<typeof prepare>;
  /** The properties by key: see {@link keyOf}. */
  readonly #properties = new Map<string, Property>();
  readonly #cache = new ScanCache<string, StoredColumn>(CACHE_BYTES, ({ bytes }) => bytes);
  /** Columns of memtable parts, by key. Rows are only added to a part until the memtable changes otherwise. */
  readonly #memtableColumns = new Map<string, { readonly rows: number; readonly builder: ColumnBuilder }>();
  /** Whether a sealed chunk may lack a column, or a column may be stale. */
  #hasWork = true;

  /** @param now the clock, in milliseconds since 1970 */
  constructor(
    client: Database,
    transact: Transact,
    chunks: ChunkTable,
    hash: TextHash,
    now: () => number,
    limits: PropertyLimits,
  ) {
    this.#transact = transact;
    this.#chunks = chunks;
    this.#hash = hash;
    this.#now = now;
    this.#limits = limits;
    this.#readData = createEventDataReader(client);
    this.#statements = prepare(client);
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#properties.clear();
    for (const { path, ...property } of this.#statements.properties.all()) {
      const keys = JSON.parse(path) as string[];
      this.#properties.set(keyOf(property.seriesId, keys), { ...property, path: keys });
    }
    this.#cache.clear();
    this.#memtableColumns.clear();
    this.#hasWork = true;
  }

  chunkAdded(): void {
    if (this.#properties.size > 0) this.#hasWork = true;
  }

  /** The columns of the chunk are now stale, because its checksum differs from theirs. */
  chunkRewritten(chunkId: number): void {
    for (const { id } of this.#properties.values()) this.#cache.delete(cacheKey(id, chunkId));
    this.#hasWork = true;
  }

  /** Called when the rows of the memtable change otherwise than by adding rows. */
  memtableChanged(): void {
    this.#memtableColumns.clear();
  }

  /** Drops the properties of a series that has no chunks. */
  dropSeries(seriesId: number): void {
    for (const property of this.#properties.values()) if (property.seriesId === seriesId) this.#drop(property);
  }

  /** Reads properties of a chunk, in one or several parts that cover all its rows, or all wanted ones. */
  *read(source: PropertySource, request: PropertyRequest): Generator<PropertyPart> {
    const { series, chunkId, chunk } = source;
    const { paths, isWanted, isStored, check } = request;
    if (isWanted) {
      yield* this.#readParts(source, new ColumnBuild(paths), check, isWanted);
      return;
    }
    if (chunkId === undefined) {
      yield* this.#readMemtable(source, paths, check);
      return;
    }
    const columns = paths.map((path) => this.#column(series.id, path, chunkId, chunk.rows));
    const missing = paths.filter((_, i) => typeof columns[i] !== 'object');
    if (missing.length === 0) {
      yield { chunk, columns: columns as PropertyColumn[] }; // none is missing
      return;
    }
    // columns that were too large before are read from the rows again, but not stored
    const toStore = paths.filter((_, i) => columns[i] === undefined);
    // first, so that the remaining columns are built in the background even if this query is canceled
    if (isStored) ignoringFull(() => toStore.map((path) => this.#propertyFor(series.id, path)));
    const checksum = this.#chunks.checksum(chunkId);
    const build = new ColumnBuild(missing);
    for (const { start, chunk: part, columns: read } of this.#readParts(source, build, check)) {
      let next = 0;
      const all = columns.map((column) =>
        typeof column === 'object' ? sliceColumn(column, start, part.rows) : (read[next++] as PropertyColumn),
      );
      yield { chunk: part, columns: all };
    }
    if (isStored) ignoringFull(() => toStore.every((path) => this.#store(source, chunkId, checksum, build, path)));
  }

  /**
   * Builds missing columns of properties that have been asked for, for about half a second, and blanks stale ones.
   *
   * @param seriesById returns a series; undefined if it was removed
   * @returns whether columns are still missing and can be built now
   */
  *build(seriesById: (id: number) => PropertySource['series'] | undefined): Job<boolean> {
    if (!this.#hasWork) return false;
    const deadline = performance.now() + BUILD_MS;
    this.#hasWork = false;
    try {
      return yield* this.#fillGaps(seriesById, deadline);
    } catch (error) {
      this.#hasWork = true;
      throw error;
    }
  }

  *#fillGaps(seriesById: (id: number) => PropertySource['series'] | undefined, deadline: number): Job<boolean> {
    yield* this.blankStale();
    for (const seriesId of new Set(Array.from(this.#properties.values(), (property) => property.seriesId))) {
      // searched again after each chunk, because queries seal, merge and build chunks between the steps
      for (;;) {
        const series = seriesById(seriesId);
        const gap = this.#statements.gap.get({ seriesId });
        if (!series || !gap) break;
        if (performance.now() > deadline) {
          this.#hasWork = true;
          return true;
        }
        if (!(yield* this.#buildChunk(series, gap.chunkId))) break; // tried again after the next change
      }
    }
    return false;
  }

  /** Builds the missing columns of a chunk. Returns whether they are stored. */
  *#buildChunk(series: PropertySource['series'], chunkId: number): Job<boolean> {
    const source = { series, chunkId, memtablePart: undefined, chunk: this.#chunks.read(chunkId) };
    const checksum = this.#chunks.checksum(chunkId);
    const paths = [...this.#properties.values()]
      .filter(({ id, seriesId }) => seriesId === series.id && !this.#statements.has.get(id, chunkId))
      .map(({ path }) => path)
      .slice(0, MAX_BUILT_COLUMNS);
    const build = new ColumnBuild(paths);
    for (const _ of this.#readParts(source, build, () => {})) yield;
    if (this.#chunks.checksum(chunkId) !== checksum) return true; // rewritten meanwhile; its rows are in another chunk
    let isStored = paths.length > 0;
    for (const path of paths) {
      isStored &&= ignoringFull(() => this.#store(source, chunkId, checksum, build, path)) ?? false;
      yield;
    }
    return isStored;
  }

  /** Blanks the columns of chunks that were rewritten and of properties that were dropped, one per transaction. */
  *blankStale(): Job<void> {
    for (let stale = this.#statements.stale.all(); stale.length > 0; stale = this.#statements.stale.all()) {
      for (const { id } of stale) {
        this.#transact(() => this.#statements.blank.run(id));
        yield;
      }
    }
    this.#transact(() => this.#statements.freeDropped.run());
  }

  /** Returns the column of a property in a chunk: `too large` if it is not stored for that reason, undefined if it is missing. */
  #column(seriesId: number, path: PropertyPath, chunkId: number, rows: number): StoredColumn | 'too large' | undefined {
    const property = this.#properties.get(keyOf(seriesId, path));
    if (!property) return undefined;
    this.#markUsed(property);
    const key = cacheKey(property.id, chunkId);
    const cached = this.#cache.get(key);
    if (cached) return cached;
    const stored = this.#statements.find.get(property.id, chunkId);
    if (!stored) return undefined;
    if (stored.checksum === TOO_LARGE) return 'too large';
    if (!hasColumnChecksum(stored, stored.checksum)) {
      throw new StorageError('corrupt', new Error(`the checksum of property column ${stored.id} does not match`));
    }
    const column = new StoredColumn(stored, rows, key);
    this.#cache.add(key, column);
    return column;
  }

  /** Reads properties from the rows, from the row `first` on. */
  *#readParts(
    { series, chunk }: PropertySource,
    build: ColumnBuild,
    check: () => void,
    isWanted?: (row: number) => boolean,
    first = 0,
  ): Generator<PropertyPart & { readonly start: number }> {
    const seqs = seqsOf(chunk);
    const wanted = isWanted && wantedRows(chunk.rows, isWanted);
    const total = wanted ? wanted.length : chunk.rows;
    const rowAt = (i: number) => (wanted ? (wanted[i] as number) : i);
    for (let i = first, start = first; i < total; ) {
      check();
      build.beginPart(start);
      const end = Math.min(i + PART_ROWS, total);
      const keys = wanted
        ? Float64Array.from(wanted.subarray(i, end), (row) => seqs[row] as number)
        : seqs.subarray(i, end);
      i += this.#readData(series.name, keys, (index, json) => build.set(rowAt(i + index), JSON.parse(json)));
      const stop = rowAt(i - 1) + 1;
      const isWhole = start === 0 && stop === chunk.rows;
      yield {
        start,
        chunk: isWhole ? chunk : sliceChunk(chunk, seqs, start, stop),
        columns: build.columns(start, stop),
      };
      start = stop;
    }
  }

  /** Reads properties of a memtable part. Keeps their columns, so that the next query reads only the rows added since. */
  *#readMemtable(source: PropertySource, paths: readonly PropertyPath[], check: () => void): Generator<PropertyPart> {
    const { series, chunk, memtablePart } = source;
    const keys = paths.map((path) => `${memtablePart} ${keyOf(series.id, path)}`);
    const kept = keys.map((key) => this.#memtableColumns.get(key));
    const rows = Math.min(...kept.map((column) => column?.rows ?? 0));
    const build = new ColumnBuild(
      paths,
      kept.map((column) => column?.builder),
    );
    if (rows > 0) yield { chunk: sliceChunk(chunk, seqsOf(chunk), 0, rows), columns: build.columns(0, rows) };
    yield* this.#readParts(source, build, check, undefined, rows);
    if (this.#memtableColumns.size + keys.length > MEMTABLE_COLUMNS.count) this.#memtableColumns.clear();
    for (const [p, key] of keys.entries()) {
      const builder = build.complete(p);
      if (builder && builder.bytes <= MEMTABLE_COLUMNS.valueBytes) {
        this.#memtableColumns.set(key, { rows: chunk.rows, builder });
      } else this.#memtableColumns.delete(key);
    }
  }

  /**
   * Stores a column that was built for a chunk, unless its property was dropped meanwhile.
   *
   * @param checksum the checksum of the chunk that it was built for
   * @returns false if there is no room
   */
  #store(
    { series, chunk }: PropertySource,
    chunkId: number,
    checksum: number,
    build: ColumnBuild,
    path: PropertyPath,
  ): boolean {
    const property = this.#properties.get(keyOf(series.id, path));
    if (!property || this.#statements.has.get(property.id, chunkId)) return true;
    const builder = build.complete(build.paths.indexOf(path));
    const blobs = builder && encodeColumn(builder.column(0, chunk.rows), this.#hash);
    const bytes = blobs ? blobs.codes.byteLength + blobs.values.byteLength : 0;
    const { insert } = this.#statements;
    if (!blobs || bytes > MAX_COLUMN_BYTES) {
      this.#transact(() => insert.run(property.id, chunkId, checksum, TOO_LARGE, NO_BYTES, NO_BYTES));
      return true;
    }
    if (!this.#makeRoom(bytes, property)) return false;
    const { codes, values } = blobs;
    this.#transact(() => insert.run(property.id, chunkId, checksum, columnChecksum(blobs), codes, values));
    return true;
  }

  /** Returns a property, which is added if it is new. */
  #propertyFor(seriesId: number, path: PropertyPath): Property {
    const key = keyOf(seriesId, path);
    const found = this.#properties.get(key);
    if (found) return found;
    const oldest = this.#leastRecentlyUsed();
    if (oldest && this.#properties.size >= this.#limits.properties) this.#drop(oldest);
    const usedAt = this.#now();
    const text = JSON.stringify(path);
    const id = this.#transact(() => {
      const free = this.#statements.free.get()?.id;
      if (free === undefined) return Number(this.#statements.add.run(seriesId, text, usedAt).lastInsertRowid);
      this.#statements.reuse.run(seriesId, text, usedAt, free);
      return free;
    });
    const added = { id, seriesId, path, usedAt };
    this.#properties.set(key, added);
    this.#hasWork = true;
    return added;
  }

  #markUsed(property: Property): void {
    const now = this.#now();
    const isOutdated = now - property.usedAt >= USED_AT_PRECISION_MS;
    property.usedAt = now;
    if (isOutdated) ignoringFull(() => this.#transact(() => this.#statements.use.run(now, property.id)));
  }

  #leastRecentlyUsed(): Property | undefined {
    const [first, ...rest] = this.#properties.values();
    return rest.reduce((oldest, property) => (oldest && property.usedAt < oldest.usedAt ? property : oldest), first);
  }

  /** Drops properties until there is room for a column. Returns false if the column's property would have to be dropped. */
  #makeRoom(bytes: number, keep: Property): boolean {
    while ((this.#statements.storedBytes.get()?.bytes ?? 0) + bytes > this.#limits.bytes) {
      const oldest = this.#leastRecentlyUsed();
      if (!oldest || oldest === keep) return false;
      this.#drop(oldest);
    }
    return true;
  }

  /** Drops a property. {@link blankStale} blanks its columns. */
  #drop(property: Property): void {
    this.#transact(() => this.#statements.drop.run(property.id));
    this.#properties.delete(keyOf(property.seriesId, property.path));
    for (const key of this.#cache.keys()) if (key.startsWith(cacheKey(property.id, ''))) this.#cache.delete(key);
    this.#hasWork = true;
  }
}

const NO_BYTES = new Uint8Array(0);

/** Runs a write that can be omitted if the disk is full or the database is locked for too long; it then returns undefined. */
function ignoringFull<Result>(write: () => Result): Result | undefined {
  try {
    return write();
  } catch (error) {
    const { kind } = toStorageError(error);
    if (kind !== 'full' && kind !== 'locked') throw error;
    return undefined;
  }
}

/** Returns the key of a property in memory. */
function keyOf(seriesId: number, path: PropertyPath): string {
  return `${seriesId} ${JSON.stringify(path)}`;
}

function cacheKey(propertyId: number, chunkId: number | ''): string {
  return `${propertyId}/${chunkId}`;
}

function sliceColumn(column: StoredColumn, start: number, rows: number): PropertyColumn {
  return {
    id: column.id,
    hashes: column.hashes,
    size: column.size,
    codes: column.codes.subarray(start, start + rows),
    get values() {
      return column.values;
    },
    detachValues: () => column.detachValues(),
    compressedBytes: column.compressedBytes,
  };
}

function wantedRows(rows: number, isWanted: (row: number) => boolean): Uint32Array {
  const wanted = new Uint32Array(rows);
  let count = 0;
  for (let row = 0; row < rows; row++) if (isWanted(row)) wanted[count++] = row;
  return wanted.subarray(0, count);
}

function prepare(client: Database) {
  const isCurrent = 'chunk_id > 0 AND chunk_checksum = (SELECT chunks.checksum FROM chunks WHERE chunks.id = chunk_id)';
  return {
    properties: client.prepare<{ id: number; seriesId: number; path: string; usedAt: number }, []>(
      'SELECT id, series_id AS seriesId, path, used_at AS usedAt FROM properties WHERE path IS NOT NULL',
    ),
    // a dropped property has no path; its row is free once no column refers to it
    drop: client.prepare('UPDATE properties SET path = NULL, used_at = -1 WHERE id = ?'),
    freeDropped: client.prepare(
      `UPDATE properties SET used_at = 0 WHERE path IS NULL AND used_at = -1
       AND NOT EXISTS (SELECT 1 FROM property_columns WHERE chunk_id > 0 AND property_id = properties.id)`,
    ),
    free: client.prepare<{ id: number }, []>('SELECT id FROM properties WHERE path IS NULL AND used_at = 0 LIMIT 1'),
    add: client.prepare('INSERT INTO properties (series_id, path, used_at) VALUES (?, ?, ?)'),
    reuse: client.prepare('UPDATE properties SET series_id = ?, path = ?, used_at = ? WHERE id = ?'),
    use: client.prepare('UPDATE properties SET used_at = ? WHERE id = ?'),
    storedBytes: client.prepare<{ bytes: number | null }, []>(
      `SELECT sum(length(codes) + length("values")) AS bytes FROM property_columns
       WHERE property_id IN (SELECT id FROM properties WHERE path IS NOT NULL) AND ${isCurrent}`,
    ),
    has: client.prepare<{ id: number }, [number, number]>(
      `SELECT id FROM property_columns WHERE property_id = ? AND chunk_id = ? AND ${isCurrent}`,
    ),
    find: client.prepare<ColumnBlobs & { id: number; checksum: number }, [number, number]>(
      `SELECT id, checksum, codes, "values" FROM property_columns WHERE property_id = ? AND chunk_id = ? AND ${isCurrent}`,
    ),
    insert: client.prepare(
      `INSERT INTO property_columns (property_id, chunk_id, chunk_checksum, checksum, codes, "values")
       VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    stale: client.prepare<{ id: number }, []>(
      `SELECT property_columns.id FROM property_columns
       LEFT JOIN chunks ON chunks.id = chunk_id LEFT JOIN properties ON properties.id = property_id
       WHERE chunk_id > 0 AND (chunks.checksum IS NOT chunk_checksum OR path IS NULL)`,
    ),
    blank: client.prepare(
      `UPDATE property_columns SET property_id = 0, chunk_id = 0, chunk_checksum = 0, checksum = 0, codes = x'',
       "values" = x'' WHERE id = ?`,
    ),
    gap: client.prepare<{ chunkId: number }, { seriesId: number }>(
      `SELECT chunks.id AS chunkId FROM chunks WHERE series_id = $seriesId AND rows > 0
       AND (SELECT count(DISTINCT path) FROM property_columns JOIN properties ON properties.id = property_id
            WHERE chunk_id = chunks.id AND chunk_id > 0 AND chunk_checksum = chunks.checksum AND path IS NOT NULL)
         < (SELECT count(DISTINCT path) FROM properties WHERE series_id = $seriesId AND path IS NOT NULL)
       ORDER BY chunks.id LIMIT 1`,
    ),
  };
}
