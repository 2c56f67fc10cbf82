import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { type PropertyPath, propertyOf } from '../../properties.ts';
import type { Job, Transact } from '../job.ts';
import { StorageError, toStorageError } from '../storage-error.ts';
import { type Chunk, seqsOf, sliceChunk } from './chunk.ts';
import type { ChunkTable } from './chunk-table.ts';
import { createEventDataReader, type EventDataReader } from './event-data.ts';
import { MAX_MEMTABLE_ROWS } from './memtable.ts';
import {
  type ColumnBlobs,
  ColumnBuilder,
  columnChecksum,
  encodeColumn,
  type PropertyColumn,
  StoredColumn,
} from './property-column.ts';

/*
 * Properties of event data, for queries.
 *
 * `npm run bench:properties` compares the ways to read a property: from the rows, 0.6 to 3 µs per row and query; from a
 * column, a few nanoseconds per row and query, after 1 to 4 µs per row once and 1 to 4 bytes per row. An index would have to
 * be written when a row is recorded. So a property gets columns when a query over all users first asks for it. Queries over
 * one user read only that user's rows, so ordinary users cannot make the database grow.
 */

/** Maximum number of properties with columns. Beyond it, the least recently used one is dropped. */
export const MAX_PROPERTIES = 64;
/** Maximum size of all stored columns, in bytes. Beyond it, the least recently used properties are dropped. */
export const MAX_STORED_BYTES = 1024 ** 3;
/** Maximum size of a stored column: more could not be written in the time allowed for a transaction. */
const MAX_COLUMN_BYTES = 4 * 1024 * 1024;
/** Maximum memory of a column's distinct values while it is built. Columns with more are not stored. */
const MAX_VALUE_BYTES = 16 * 1024 * 1024;
/** Rows whose data is read at once, about 20 ms. */
const PART_ROWS = 8_192;
/** Size of the cache of decoded columns, in bytes. */
const CACHE_BYTES = 64 * 1024 * 1024;
/** Limits of the columns of memtable rows, each up to 256 KB plus its values. */
const MEMTABLE_COLUMNS = { count: 16, valueBytes: 4 * 1024 * 1024 };
/** How long {@link PropertyStore.build} runs, so that other maintenance gets its turn, in milliseconds. */
const BUILD_MS = 500;
/** How precisely the time of the last use is stored, in milliseconds. */
const USED_AT_PRECISION_MS = 3_600_000;
/** Checksum that marks a column that is too large to be stored. Checksums are never negative. */
const TOO_LARGE = -1;
/** `used_at` of a dropped property whose columns are not blanked yet. */
const DROPPED = -1;

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
  readonly chunk: Chunk;
}

/** What to read of a chunk. */
export interface PropertyRequest {
  readonly paths: readonly PropertyPath[];
  /**
   * Returns whether the value of a row is needed; undefined: all are. If given, no columns are stored, and the values of
   * other rows are undefined.
   */
  readonly isWanted?: ((row: number) => boolean) | undefined;
  /** Called every few thousand rows; may throw. */
  readonly check: () => void;
}

/** A part of a chunk, with one column per requested path. */
export interface PropertyPart {
  readonly chunk: Chunk;
  readonly columns: readonly PropertyColumn[];
}

/** The columns of properties, and the values of rows that have none yet. */
export class PropertyStore {
  readonly #transact: Transact;
  readonly #chunks: ChunkTable;
  readonly #readData: EventDataReader;
  readonly #now: () => number;
  readonly #statements: ReturnType<typeof prepare>;
  /** The properties by key: see {@link keyOf}. */
  readonly #properties = new Map<string, Property>();
  #storedBytes = 0;
  readonly #cache = new LRUCache<string, StoredColumn>({ maxSize: CACHE_BYTES, sizeCalculation: ({ bytes }) => bytes });
  /** Columns of memtable rows, by key. Rows are only added until the memtable changes otherwise. */
  readonly #memtableColumns = new Map<string, { rows: number; readonly builder: ColumnBuilder }>();
  /** Whether a sealed chunk may lack a column, or a dropped property may still have some. */
  #hasGaps = true;
  /** The chunk whose columns are being built by {@link build}; undefined if it was rewritten meanwhile. */
  #building: number | undefined;

  /** @param now the clock, in milliseconds since 1970 */
  constructor(client: Database, transact: Transact, chunks: ChunkTable, now: () => number) {
    this.#transact = transact;
    this.#chunks = chunks;
    this.#now = now;
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
    this.#storedBytes = this.#statements.storedBytes.get()?.bytes ?? 0;
    this.#cache.clear();
    this.#memtableColumns.clear();
    this.#hasGaps = true;
    this.#building = undefined;
  }

  /** Reads properties of a chunk, in one or several parts that cover all its rows, or all wanted ones. */
  *read(source: PropertySource, request: PropertyRequest): Generator<PropertyPart> {
    const { series, chunkId, chunk } = source;
    const { paths, isWanted, check } = request;
    const columns = paths.map((path) => chunkId !== undefined && this.#column(series.id, path, chunkId, chunk.rows));
    if (columns.every((column) => typeof column === 'object')) {
      yield { chunk, columns };
      return;
    }
    const missing = paths.filter((_, i) => typeof columns[i] !== 'object');
    const withFound = ({ start, chunk: part, columns: read }: ReadPart): PropertyPart => {
      let next = 0;
      const all = columns.map((column) =>
        typeof column === 'object' ? sliceColumn(column, start, part.rows) : (read[next++] as PropertyColumn),
      );
      return { chunk: part, columns: all };
    };
    if (isWanted) {
      for (const part of this.#readParts(source, missing, check, isWanted)) yield withFound(part);
    } else if (chunkId === undefined) {
      yield* this.#readMemtable(source, missing, check);
    } else {
      // columns that were found to be too large are read from the rows each time
      const isStored = missing.map((path) => columns[paths.indexOf(path)] !== 'too large');
      const build = new ColumnBuild(missing, chunk.rows);
      for (const part of this.#readParts(source, missing, check)) {
        build.add(part);
        yield withFound(part);
      }
      this.#store(series.id, chunkId, build, isStored);
    }
  }

  /**
   * Builds missing columns of properties that have been asked for, for about half a second, and blanks those of dropped
   * properties.
   *
   * @returns whether columns are still missing
   */
  *build(seriesNamed: (id: number) => PropertySource['series'] | undefined): Job<boolean> {
    if (!this.#hasGaps) return false;
    const deadline = performance.now() + BUILD_MS;
    yield* this.#blankDropped();
    this.#hasGaps = false;
    for (const { seriesId } of [...this.#properties.values()]) {
      const series = seriesNamed(seriesId);
      for (const { chunkId } of series ? this.#statements.gaps.all({ seriesId }) : []) {
        if (performance.now() > deadline) {
          this.#hasGaps = true;
          return true;
        }
        yield* this.#buildChunk(series as PropertySource['series'], chunkId);
      }
    }
    return false;
  }

  *#buildChunk(series: PropertySource['series'], chunkId: number): Job<void> {
    this.#building = chunkId;
    const chunk = this.#chunks.read(chunkId);
    const properties = [...this.#properties.values()].filter(({ seriesId }) => seriesId === series.id);
    const paths = properties.filter(({ id }) => !this.#statements.has.get(id, chunkId)).map(({ path }) => path);
    const build = new ColumnBuild(paths, chunk.rows);
    for (const part of this.#readParts({ series, chunkId, chunk }, paths, () => {})) {
      build.add(part);
      yield;
      if (this.#building !== chunkId) return; // rewritten by a merge, an erasure or a deletion: built again later
    }
    this.#building = undefined;
    const stillThere = paths.map((path) => this.#properties.has(keyOf(series.id, path)));
    this.#store(series.id, chunkId, build, stillThere);
    yield;
  }

  /** Called after a chunk was added. */
  chunkAdded(): void {
    if (this.#properties.size > 0) this.#hasGaps = true;
  }

  /** Blanks the columns of a chunk that is being replaced or blanked, in the caller's transaction. */
  chunkRewritten(chunkId: number): void {
    const stored = this.#statements.ofChunk.all(chunkId);
    if (this.#building === chunkId) this.#building = undefined;
    const current = new Set(Array.from(this.#properties.values(), ({ id }) => id));
    for (const { id, propertyId, bytes } of stored) {
      this.#statements.blank.run(id);
      this.#cache.delete(`${propertyId}/${chunkId}`);
      if (current.has(propertyId)) this.#storedBytes -= bytes;
    }
    if (this.#properties.size > 0) this.#hasGaps = true;
  }

  /** Called when the rows of the memtable change otherwise than by adding rows. */
  memtableChanged(): void {
    this.#memtableColumns.clear();
  }

  /** Drops the properties of a series, in the caller's transaction. The series must have no chunks. */
  dropSeries(seriesId: number): void {
    for (const [key, property] of this.#properties) {
      if (property.seriesId !== seriesId) continue;
      this.#statements.drop.run(0, property.id);
      this.#properties.delete(key);
    }
  }

  /** Returns the column of a property in a chunk: `too large` if it is not stored for that reason, undefined if it is missing. */
  #column(seriesId: number, path: PropertyPath, chunkId: number, rows: number) {
    const property = this.#properties.get(keyOf(seriesId, path));
    if (!property) return undefined;
    this.#markUsed(property);
    const key = `${property.id}/${chunkId}`;
    const cached = this.#cache.get(key);
    if (cached) return cached;
    const stored = this.#statements.find.get(property.id, chunkId);
    if (!stored) return undefined;
    if (stored.checksum === TOO_LARGE) return 'too large';
    if (columnChecksum(stored) !== stored.checksum) {
      throw new StorageError('corrupt', new Error(`the checksum of property column ${stored.id} does not match`));
    }
    const column = new StoredColumn(stored, rows, key);
    this.#cache.set(key, column);
    return column;
  }

  /** Reads properties from the rows. */
  *#readParts(
    { series, chunk }: PropertySource,
    paths: readonly PropertyPath[],
    check: () => void,
    isWanted?: (row: number) => boolean,
    first = 0,
  ): Generator<ReadPart> {
    const seqs = seqsOf(chunk);
    const wanted = isWanted && wantedRows(chunk.rows, isWanted);
    const total = wanted ? wanted.length : chunk.rows;
    const rowAt = (i: number) => (wanted ? (wanted[i] as number) : i);
    for (let i = first, start = first; i < total; ) {
      check();
      const end = Math.min(i + PART_ROWS, total);
      const keys = wanted
        ? Float64Array.from(wanted.subarray(i, end), (row) => seqs[row] as number)
        : seqs.subarray(i, end);
      const partRows = rowAt(end - 1) + 1 - start;
      const builders = paths.map(() => new ColumnBuilder(partRows));
      const read = this.#readData(series.name, keys, (index, json) => {
        const data: unknown = JSON.parse(json);
        const row = rowAt(i + index) - start;
        for (const [p, path] of paths.entries()) (builders[p] as ColumnBuilder).set(row, propertyOf(data, path));
      });
      i += read;
      const rows = rowAt(i - 1) + 1 - start;
      yield {
        start,
        chunk: start === 0 && rows === chunk.rows ? chunk : sliceChunk(chunk, seqs, start, start + rows),
        columns: builders.map((builder) => builder.column(rows)),
      };
      start += rows;
    }
  }

  /** Reads properties of memtable rows. Keeps their columns, so that the next query reads only the rows added since. */
  *#readMemtable(source: PropertySource, paths: readonly PropertyPath[], check: () => void): Generator<PropertyPart> {
    const { series, chunk } = source;
    const keys = paths.map((path) => keyOf(series.id, path));
    const kept = keys.map((key) => this.#memtableColumns.get(key));
    const rows = Math.min(...kept.map((column) => column?.rows ?? 0));
    const builders = kept.map((column) => column?.builder ?? new ColumnBuilder(MAX_MEMTABLE_ROWS));
    const parts = this.#readParts(source, paths, check, undefined, rows);
    for (const { start, columns, chunk: part } of parts) {
      for (const [p, builder] of builders.entries()) builder.append(start, columns[p] as PropertyColumn);
      if (builders.every(({ bytes }) => bytes <= MEMTABLE_COLUMNS.valueBytes)) continue;
      // too many distinct values to keep: pass on what was read so far, then part by part
      for (const key of keys) this.#memtableColumns.delete(key);
      const end = start + part.rows;
      const soFar = builders.map((builder) => builder.column(end));
      yield { chunk: sliceChunk(chunk, seqsOf(chunk), 0, end), columns: soFar };
      yield* parts;
      return;
    }
    if (this.#memtableColumns.size + keys.length > MEMTABLE_COLUMNS.count) this.#memtableColumns.clear();
    for (const [p, key] of keys.entries()) {
      this.#memtableColumns.set(key, { rows: chunk.rows, builder: builders[p] as ColumnBuilder });
    }
    yield { chunk, columns: builders.map((builder) => builder.column(chunk.rows)) };
  }

  /** Stores columns that were built for a chunk. If the disk is full or the database is busy, they are built again later. */
  #store(seriesId: number, chunkId: number, { paths, builders }: ColumnBuild, isStored: readonly boolean[]): void {
    ignoringFull(() => {
      for (const [p, path] of paths.entries()) {
        if (isStored[p]) this.#storeColumn(this.#propertyFor(seriesId, path), chunkId, builders[p]);
      }
    });
  }

  #storeColumn(property: Property, chunkId: number, builder: ColumnBuilder | undefined): void {
    const blobs = builder && encodeColumn(builder.column());
    const bytes = blobs ? sizeOf(blobs) : 0;
    if (!blobs || bytes > MAX_COLUMN_BYTES) {
      this.#transact(() => this.#statements.insert.run(property.id, chunkId, TOO_LARGE, NO_BYTES, NO_BYTES));
      return;
    }
    if (!this.#makeRoom(bytes, property)) return;
    const { codes, values } = blobs;
    this.#transact(() => this.#statements.insert.run(property.id, chunkId, columnChecksum(blobs), codes, values));
    this.#storedBytes += bytes;
  }

  /** Returns a property, which is added if it is new. */
  #propertyFor(seriesId: number, path: PropertyPath): Property {
    const key = keyOf(seriesId, path);
    const found = this.#properties.get(key);
    if (found) return found;
    if (this.#properties.size >= MAX_PROPERTIES) this.#drop(this.#leastRecentlyUsed());
    const usedAt = this.#now();
    const id = this.#transact(() => this.#statements.add.run(seriesId, JSON.stringify(path), usedAt).lastInsertRowid);
    const added = { id: Number(id), seriesId, path, usedAt };
    this.#properties.set(key, added);
    this.#hasGaps = true;
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

  /** Drops properties until there is room for a column. Returns false if only the given property is left. */
  #makeRoom(bytes: number, keep: Property): boolean {
    while (this.#storedBytes + bytes > MAX_STORED_BYTES) {
      const oldest = this.#leastRecentlyUsed();
      if (!oldest || oldest === keep) return false;
      this.#drop(oldest);
    }
    return true;
  }

  /** Drops a property. {@link build} blanks its columns. */
  #drop(property: Property | undefined): void {
    if (!property) return;
    this.#transact(() => this.#statements.drop.run(DROPPED, property.id));
    this.#properties.delete(keyOf(property.seriesId, property.path));
    this.#storedBytes -= this.#statements.bytesOfProperty.get(property.id)?.bytes ?? 0;
    this.#hasGaps = true;
  }

  *#blankDropped(): Job<void> {
    for (const { id } of this.#statements.dropped.all()) {
      for (const column of this.#statements.ofProperty.all(id)) {
        this.#transact(() => this.#statements.blank.run(column.id));
        yield;
      }
      this.#transact(() => this.#statements.drop.run(0, id));
    }
  }
}

const NO_BYTES = new Uint8Array(0);

/** Runs a write that can be omitted if the disk is full or the database is locked for too long. */
function ignoringFull(write: () => void): void {
  try {
    write();
  } catch (error) {
    const { kind } = toStorageError(error);
    if (kind !== 'full' && kind !== 'locked') throw error;
  }
}

/** A part of a chunk whose properties were read from the rows. */
interface ReadPart extends PropertyPart {
  /** The first row of the part in the chunk. */
  readonly start: number;
}

/** Columns that are built from parts. */
class ColumnBuild {
  readonly paths: readonly PropertyPath[];
  /** The columns by path; undefined for those with too many distinct values to be stored. */
  readonly builders: (ColumnBuilder | undefined)[];

  constructor(paths: readonly PropertyPath[], rows: number) {
    this.paths = paths;
    this.builders = paths.map(() => new ColumnBuilder(rows));
  }

  add({ start, columns }: ReadPart): void {
    for (const [p, builder] of this.builders.entries()) {
      builder?.append(start, columns[p] as PropertyColumn);
      if (builder && builder.bytes > MAX_VALUE_BYTES) this.builders[p] = undefined;
    }
  }
}

/** Returns the key of a property in memory. */
function keyOf(seriesId: number, path: PropertyPath): string {
  return `${seriesId} ${JSON.stringify(path)}`;
}

function sizeOf({ codes, values }: ColumnBlobs): number {
  return codes.byteLength + values.byteLength;
}

function sliceColumn(column: PropertyColumn, start: number, rows: number): PropertyColumn {
  return {
    id: column.id,
    codes: column.codes.subarray(start, start + rows),
    get values() {
      return column.values;
    },
  };
}

function wantedRows(rows: number, isWanted: (row: number) => boolean): Uint32Array {
  const wanted = new Uint32Array(rows);
  let count = 0;
  for (let row = 0; row < rows; row++) if (isWanted(row)) wanted[count++] = row;
  return wanted.subarray(0, count);
}

function prepare(client: Database) {
  const bytes = 'length(codes) + length("values")';
  return {
    properties: client.prepare<{ id: number; seriesId: number; path: string; usedAt: number }, []>(
      'SELECT id, series_id AS seriesId, path, used_at AS usedAt FROM properties WHERE path IS NOT NULL',
    ),
    dropped: client.prepare<{ id: number }, []>(
      `SELECT id FROM properties WHERE path IS NULL AND used_at = ${DROPPED}`,
    ),
    add: client.prepare('INSERT INTO properties (series_id, path, used_at) VALUES (?, ?, ?)'),
    use: client.prepare('UPDATE properties SET used_at = ? WHERE id = ?'),
    drop: client.prepare('UPDATE properties SET path = NULL, used_at = ? WHERE id = ?'),
    storedBytes: client.prepare<{ bytes: number | null }, []>(
      `SELECT sum(${bytes}) AS bytes FROM property_columns WHERE chunk_id > 0
       AND property_id IN (SELECT id FROM properties WHERE path IS NOT NULL)`,
    ),
    bytesOfProperty: client.prepare<{ bytes: number | null }, [number]>(
      `SELECT sum(${bytes}) AS bytes FROM property_columns WHERE property_id = ?`,
    ),
    find: client.prepare<ColumnBlobs & { id: number; checksum: number }, [number, number]>(
      `SELECT id, checksum, codes, "values" FROM property_columns
       WHERE property_id = ? AND chunk_id = ? AND chunk_id > 0`,
    ),
    has: client.prepare<{ id: number }, [number, number]>(
      'SELECT id FROM property_columns WHERE property_id = ? AND chunk_id = ? AND chunk_id > 0',
    ),
    insert: client.prepare(
      'INSERT INTO property_columns (property_id, chunk_id, checksum, codes, "values") VALUES (?, ?, ?, ?, ?)',
    ),
    ofChunk: client.prepare<{ id: number; propertyId: number; bytes: number }, [number]>(
      `SELECT id, property_id AS propertyId, ${bytes} AS bytes FROM property_columns WHERE chunk_id = ? AND chunk_id > 0`,
    ),
    ofProperty: client.prepare<{ id: number }, [number]>('SELECT id FROM property_columns WHERE property_id = ?'),
    blank: client.prepare(
      `UPDATE property_columns SET property_id = 0, chunk_id = 0, checksum = 0, codes = x'', "values" = x'' WHERE id = ?`,
    ),
    gaps: client.prepare<{ chunkId: number }, { seriesId: number }>(
      `SELECT chunks.id AS chunkId FROM chunks WHERE series_id = $seriesId AND rows > 0
       AND (SELECT count(*) FROM property_columns JOIN properties ON properties.id = property_id
            WHERE chunk_id = chunks.id AND chunk_id > 0 AND path IS NOT NULL)
         < (SELECT count(*) FROM properties WHERE series_id = $seriesId AND path IS NOT NULL)`,
    ),
  };
}
