import type { Database } from 'bun:sqlite';
import { LRUCache } from 'lru-cache';
import { KINDS, type Kind } from '../../records.ts';
import { aligned, bytesOf, type Chunk, joined, Tail, without } from './chunk.ts';
import { Dictionary } from './dictionary.ts';

/** Rows that are kept in memory before they become chunks: about 2 MB. A start reads that many again. */
const FLUSH_ROWS = 65_536;
/** Rows of a chunk, at most: 3 MB. */
const MAX_CHUNK_ROWS = 131_072;
/** Rows read in one statement, so that no reader keeps the write-ahead log from being reused for long. */
const READ_ROWS = 20_000;
/** Decoded chunks kept in memory, in bytes. */
const CHUNK_CACHE_BYTES = 96 * 1024 * 1024;

/** A metric's name or an event's type, with its number. */
export interface Series {
  readonly id: number;
  readonly kind: Kind;
  readonly name: string;
}

/** How many rows there are, and when the first and the last of them happened. */
export interface Extent {
  readonly rows: number;
  readonly minTime: number;
  readonly maxTime: number;
}

/** A chunk of which the extent is known, and which is read only when asked for. */
export interface ChunkOutline extends Extent {
  readonly read: () => Chunk;
  /** Its times alone: a third of what there is to read, and other chunks stay in memory. */
  readonly readTimes: () => Float64Array;
}

const TABLES = {
  metric: { table: 'metrics', columns: 'metric_name AS name, data_string AS label, metric_value AS value' },
  analytics: { table: 'analytics', columns: 'type AS name, data_index AS label, 0 AS value' },
} as const;

/** What makes a column of a record: its key, and what is charted. */
interface SourceRow {
  readonly seq: number;
  readonly user_id: string;
  readonly happened_at: number;
  readonly name: string;
  readonly label: string;
  readonly value: number;
}

/**
 * The column store over a database: it follows the tables of records, and serves each series as arrays.
 *
 * The newest rows are in memory; whenever there are {@link FLUSH_ROWS} of them they become chunks in one
 * transaction, with the watermark that says so. After a crash the rows above the watermark are read again,
 * so that chunks and rows never disagree. There must be one for each database file.
 */
export class ColumnStore {
  readonly #client: Database;
  readonly #users: Dictionary;
  readonly #labels: Dictionary;
  readonly #series: Record<Kind, Map<string, Series>> = { metric: new Map(), analytics: new Map() };
  readonly #newSeries: Series[] = [];
  #nextSeries = 1;
  /** How far the rows have been read, by kind. */
  readonly #read: Record<Kind, number> = { metric: 0, analytics: 0 };
  readonly #tails = new Map<number, Tail>();
  #tailRows = 0;
  readonly #cache = new LRUCache<number, Chunk>({
    maxSize: CHUNK_CACHE_BYTES,
    sizeCalculation: ({ rows }) => rows * 24 + 1,
  });

  constructor(client: Database) {
    this.#client = client;
    this.#users = new Dictionary(client, 'users');
    this.#labels = new Dictionary(client, 'labels');
    this.reload();
  }

  /** Forgets what is in memory, and goes on from what the database says. */
  reload(): void {
    for (const kind of KINDS) this.#series[kind].clear();
    this.#newSeries.length = 0;
    this.#tails.clear();
    this.#tailRows = 0;
    this.#cache.clear();
    this.#users.reload();
    this.#labels.reload();
    for (const kind of KINDS) this.#read[kind] = 0;
    for (const { kind, seq } of this.#client.query<{ kind: Kind; seq: number }, []>('SELECT * FROM watermarks').all()) {
      this.#read[kind] = seq;
    }
    for (const one of this.#client.query<Series, []>('SELECT id, kind, name FROM series').all()) {
      this.#series[one.kind].set(one.name, one);
    }
    this.#nextSeries = this.#allSeries().reduce((last, { id }) => Math.max(last, id), 0) + 1;
  }

  /**
   * Takes in every row that is committed by now.
   *
   * @param mayGoOn asked between statements; throws to break off, which loses nothing
   */
  catchUp(mayGoOn: () => void = () => {}): void {
    for (const kind of KINDS) {
      const { table, columns } = TABLES[kind];
      const next = this.#client.query<SourceRow, [number, number]>(
        `SELECT seq, user_id, happened_at, ${columns} FROM ${table} WHERE seq > ? ORDER BY seq LIMIT ?`,
      );
      for (let rows = READ_ROWS; rows === READ_ROWS; ) {
        mayGoOn();
        const read = next.all(this.#read[kind], READ_ROWS);
        for (const row of read) this.#append(kind, row);
        rows = read.length;
        if (this.#tailRows >= FLUSH_ROWS) this.flush();
      }
    }
  }

  #append(kind: Kind, row: SourceRow): void {
    const { id } = this.#seriesFor(kind, row.name);
    let tail = this.#tails.get(id);
    if (!tail) {
      tail = new Tail(kind === 'metric');
      this.#tails.set(id, tail);
    }
    tail.push(row.happened_at, this.#users.numberFor(row.user_id), this.#labels.numberFor(row.label, id), row.value);
    this.#tailRows++;
    this.#read[kind] = row.seq;
  }

  #allSeries(): Series[] {
    return KINDS.flatMap((kind) => this.seriesOf(kind));
  }

  #seriesFor(kind: Kind, name: string): Series {
    let found = this.#series[kind].get(name);
    if (!found) {
      found = { id: this.#nextSeries++, kind, name };
      this.#series[kind].set(name, found);
      this.#newSeries.push(found);
    }
    return found;
  }

  /** Writes the rows in memory as chunks, in one transaction. */
  flush(): void {
    const written: number[] = [];
    this.transact(() => {
      const insertSeries = this.#client.query('INSERT INTO series (id, kind, name) VALUES (?, ?, ?)');
      for (const { id, kind, name } of this.#newSeries) insertSeries.run(id, kind, name);
      this.#users.write();
      this.#labels.write();
      for (const [seriesId, tail] of this.#tails) written.push(...this.#writeTail(seriesId, tail));
      const setWatermark = this.#client.query('INSERT OR REPLACE INTO watermarks (kind, seq) VALUES (?, ?)');
      for (const kind of KINDS) setWatermark.run(kind, this.#read[kind]);
    });
    this.#newSeries.length = 0;
    this.#users.written();
    this.#labels.written();
    this.#tails.clear();
    this.#tailRows = 0;
    for (const id of written) this.#cache.delete(id);
  }

  /**
   * Writes new rows of a series behind its last chunk, or together with it: chunks of about the same size
   * are joined, so that a row is rewritten about log2(rows) times, and a series has as many chunks.
   *
   * @returns the numbers of chunks that are gone
   */
  #writeTail(seriesId: number, tail: Tail): number[] {
    const last = this.#client.query<{ id: number; rows: number }, [number]>(
      'SELECT id, rows FROM chunks WHERE series_id = ? ORDER BY id DESC LIMIT 1',
    );
    const remove = this.#client.query('DELETE FROM chunks WHERE id = ?');
    const gone: number[] = [];
    let chunk = tail.chunk();
    for (;;) {
      const before = last.get(seriesId);
      if (!before || before.rows > 2 * chunk.rows || before.rows + chunk.rows > MAX_CHUNK_ROWS) break;
      chunk = joined(this.#readChunk(before.id), chunk);
      remove.run(before.id);
      gone.push(before.id);
    }
    this.#insertChunk(seriesId, chunk);
    return gone;
  }

  /** @param id its number; undefined: one behind all others */
  #insertChunk(seriesId: number, chunk: Chunk, id: number | null = null): void {
    const { rows, minTime, maxTime, times, users, labels, values } = chunk;
    this.#client
      .query(
        `INSERT INTO chunks (id, series_id, rows, min_time, max_time, times, users, labels, "values")
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(id, seriesId, rows, minTime, maxTime, bytesOf(times), bytesOf(users), bytesOf(labels), bytesOf(values));
  }

  #readChunk(id: number): Chunk {
    const cached = this.#cache.get(id);
    if (cached) return cached;
    const row = this.#client
      .query<
        Record<'times' | 'users' | 'labels' | 'values', Uint8Array> & {
          rows: number;
          min_time: number;
          max_time: number;
        },
        [number]
      >('SELECT rows, min_time, max_time, times, users, labels, "values" FROM chunks WHERE id = ?')
      .get(id);
    if (!row) throw new Error(`there is no chunk ${id}`);
    const chunk: Chunk = {
      rows: row.rows,
      minTime: row.min_time,
      maxTime: row.max_time,
      times: new Float64Array(aligned(row.times)),
      users: new Uint32Array(aligned(row.users)),
      labels: new Uint32Array(aligned(row.labels)),
      values: new Float64Array(aligned(row.values)),
    };
    this.#cache.set(id, chunk);
    return chunk;
  }

  #readTimes(id: number): Float64Array {
    const cached = this.#cache.get(id);
    if (cached) return cached.times;
    const row = this.#client.query<{ times: Uint8Array }, [number]>('SELECT times FROM chunks WHERE id = ?').get(id);
    if (!row) throw new Error(`there is no chunk ${id}`);
    return new Float64Array(aligned(row.times));
  }

  /** The `seq` up to which the rows of a kind are taken in. */
  position(kind: Kind): number {
    return this.#read[kind];
  }

  /** All series of a kind. */
  seriesOf(kind: Kind): Series[] {
    return [...this.#series[kind].values()];
  }

  /** The series of a name, if it has ever been recorded. */
  find(kind: Kind, name: string): Series | undefined {
    return this.#series[kind].get(name);
  }

  /** The outlines of the chunks of a series whose extent meets [from, to), in the order of their commits. */
  *outlines({ id }: Series, from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY): Generator<ChunkOutline> {
    const list = this.#client.query<Extent & { id: number }, [number]>(
      'SELECT id, rows, min_time AS minTime, max_time AS maxTime FROM chunks WHERE series_id = ? ORDER BY id',
    );
    for (const { id: chunkId, ...extent } of list.all(id)) {
      if (extent.maxTime < from || extent.minTime >= to) continue;
      yield { ...extent, read: () => this.#readChunk(chunkId), readTimes: () => this.#readTimes(chunkId) };
    }
    const tail = this.#tails.get(id)?.chunk();
    if (tail && tail.maxTime >= from && tail.minTime < to) {
      const { rows, minTime, maxTime, times } = tail;
      yield { rows, minTime, maxTime, read: () => tail, readTimes: () => times };
    }
  }

  /** The chunks of a series that may have rows in [from, to), in the order of their commits. */
  *chunks(series: Series, from?: number, to?: number): Generator<Chunk> {
    for (const { read } of this.outlines(series, from, to)) yield read();
  }

  /** How many rows a series has, and their first and last time; without reading any. Undefined when it has none. */
  extent({ id }: Series): Extent | undefined {
    const stored = this.#client
      .query<{ rows: number | null; minTime: number; maxTime: number }, [number]>(
        'SELECT sum(rows) AS rows, min(min_time) AS minTime, max(max_time) AS maxTime FROM chunks WHERE series_id = ?',
      )
      .get(id);
    return extentOfAll([stored?.rows ? { ...stored, rows: stored.rows } : undefined, this.#tails.get(id)?.chunk()]);
  }

  /** Every series of a kind that has rows, with its extent. One pass, whatever the number of series. */
  extents(kind: Kind): { series: Series; extent: Extent }[] {
    return this.seriesOf(kind).flatMap((series) => {
      const extent = this.extent(series);
      return extent ? [{ series, extent }] : [];
    });
  }

  /** Every series of a kind in which a user has rows, with the extent of those rows only. */
  extentsOfUser(kind: Kind, user: number): { series: Series; extent: Extent }[] {
    return this.seriesOf(kind).flatMap((series) => {
      const extents = [...this.chunks(series)].map(({ times, users }) => {
        const own = times.filter((_, row) => users[row] === user);
        if (own.length === 0) return undefined;
        return { rows: own.length, minTime: Math.min(...own), maxTime: Math.max(...own) };
      });
      const extent = extentOfAll(extents);
      return extent ? [{ series, extent }] : [];
    });
  }

  /** The number of a user; undefined for one who has recorded nothing. */
  user(userId: string): number | undefined {
    return this.#users.find(userId);
  }

  /** One more than the largest number of a user. */
  get userLimit(): number {
    return this.#users.limit;
  }

  /** One more than the largest number of a label. */
  get labelLimit(): number {
    return this.#labels.limit;
  }

  /** The number of a label; undefined for one that the series does not have. */
  label({ id }: Series, label: string): number | undefined {
    return this.#labels.find(label, id);
  }

  /** The text of a label's number. */
  labelText(number: number): string {
    return this.#labels.text(number);
  }

  /** Removes every trace of a user from the column store, labels that nobody else has among them. */
  forgetUser(userId: string): void {
    this.catchUp();
    this.flush();
    const user = this.user(userId);
    if (user === undefined) return;
    try {
      for (const series of this.#allSeries()) this.transact(() => this.#forgetIn(series, user));
      this.transact(() => this.#client.query('DELETE FROM users WHERE id = ?').run(user));
    } finally {
      this.reload(); // also where it breaks off: chunks in memory are not those of the database any more
    }
  }

  #forgetIn(series: Series, user: number): void {
    const ids = this.#client
      .query<{ id: number }, [number]>('SELECT id FROM chunks WHERE series_id = ?')
      .all(series.id);
    const remove = this.#client.query('DELETE FROM chunks WHERE id = ?');
    const theirs = new Set<number>();
    const others = new Set<number>();
    let left = 0;
    for (const { id } of ids) {
      const chunk = this.#readChunk(id);
      const kept = without(chunk, user);
      for (let i = 0; i < chunk.rows; i++) {
        (chunk.users[i] === user ? theirs : others).add(chunk.labels[i] as number);
      }
      left += kept.rows;
      if (kept.rows === chunk.rows) continue;
      remove.run(id);
      if (kept.rows > 0) this.#insertChunk(series.id, kept, id); // in its place: the order is that of commits
    }
    const removeLabel = this.#client.query('DELETE FROM labels WHERE id = ?');
    for (const label of theirs) if (!others.has(label)) removeLabel.run(label);
    if (left === 0) this.#client.query('DELETE FROM series WHERE id = ?').run(series.id);
  }

  /** Makes everything anew from the rows. */
  rebuild(): void {
    this.transact(() => clearColumns(this.#client));
    this.reload();
    this.catchUp();
    this.flush();
  }

  /** Runs the work in a transaction of its own. */
  transact(work: () => void): void {
    this.#client.run('BEGIN IMMEDIATE');
    try {
      work();
      this.#client.run('COMMIT');
    } catch (error) {
      if (this.#client.inTransaction) this.#client.run('ROLLBACK');
      throw error;
    }
  }
}

/** The extent of several together; undefined where none has rows. */
export function extentOfAll(parts: readonly (Extent | undefined)[]): Extent | undefined {
  return parts.reduce<Extent | undefined>(
    (sum, part) =>
      part
        ? {
            rows: (sum?.rows ?? 0) + part.rows,
            minTime: Math.min(sum?.minTime ?? Number.POSITIVE_INFINITY, part.minTime),
            maxTime: Math.max(sum?.maxTime ?? Number.NEGATIVE_INFINITY, part.maxTime),
          }
        : sum,
    undefined,
  );
}

/** Empties the column store, in the caller's transaction: it is made anew from the rows when it is next opened. */
export function clearColumns(client: Database): void {
  for (const table of ['chunks', 'labels', 'series', 'users', 'watermarks']) client.run(`DELETE FROM ${table}`);
}
