import type { Database } from 'bun:sqlite';
import type { PropertyValue } from '../../properties.ts';
import { KINDS, type Kind } from '../../records.ts';
import { inTransactions, type Job, SOON, type Transact, type TransactionLimits } from '../job.ts';
import { countPresent } from '../ledger.ts';
import type { TextHash } from '../text-hash.ts';
import { type Chunk, seqsOf, sliceChunk } from './chunk.ts';
import type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
import type { ChunkTable } from './chunk-table.ts';
import type { Dictionary } from './dictionary.ts';
import { type Extent, extentOfAll } from './extent.ts';
import type { Memtable } from './memtable.ts';
import { valueHashes } from './property-column.ts';
import {
  PROPERTY_LIMITS,
  type PropertyPart,
  type PropertyRequest,
  type PropertySource,
  type PropertyStore,
} from './property-store.ts';
import { sealMemtable } from './seal.ts';
import type { Series } from './series.ts';
import type { SeriesList } from './series-list.ts';
import { SeriesRemoval } from './series-removal.ts';
import { sourceRows } from './source-rows.ts';
import { createParts, reloadParts, type StoreParts } from './store-parts.ts';
import { type ReadLimits, SCANNED_PER_LOOKUP, type UserChunks, UserReader } from './user-reader.ts';
import { MAX_UNSORTED_ROWS, type UserRows } from './user-rows.ts';
import type { UserSeries } from './user-series.ts';
import { REBUILDING, type Watermarks } from './watermarks.ts';

export type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
export type { Extent } from './extent.ts';
export type { Series } from './series.ts';

/** Size of unwritten texts at which the memtable is sealed even if it is not full, in bytes. */
const MAX_NEW_TEXT_BYTES = 16 * 1024 * 1024;
/** Limits of transactions that blank whole chunks: the commit overwrites every freed page. */
const BLANKING_LIMITS: TransactionLimits = { ...SOON, bytes: 1024 * 1024 };

/** When the rows of a user are looked up, and how they are indexed. */
export interface UserRowLimits {
  /** See {@link SCANNED_PER_LOOKUP}. */
  readonly scannedPerLookup: number;
  /** See {@link MAX_UNSORTED_ROWS}. */
  readonly maxUnsortedRows: number;
}

const USER_ROW_LIMITS: UserRowLimits = { scannedPerLookup: SCANNED_PER_LOOKUP, maxUnsortedRows: MAX_UNSORTED_ROWS };

/** Names in `column_state`: up to which `seq` the index lists the rows of all users whose erasure has begun. */
const LISTED: Readonly<Record<Kind, string>> = {
  metric: 'erasures_listed_metric',
  analytics: 'erasures_listed_analytics',
};

/** Series after which a scan of series checks its limits. */
export const SERIES_PER_CHECK = 4_096;

/** The name in `column_state` of the mark that rows were imported since the last rebuild. */
export const IMPORTING = 'importing';

/** A user whose rows are being erased. The column store ignores the user's rows up to the cutoff. */
export interface ErasedUser {
  readonly userId: string;
  readonly cutoffSeq: number;
}

/** A user whose rows in sealed chunks are to be removed. */
export interface RetiredUser {
  /** The user's number in sealed chunks; null if there are no such rows. */
  readonly number: number | null;
  /** Every row up to this `seq` has been applied. */
  readonly cutoffSeq: number;
}

/**
 * The column store of a database. It applies rows in commit order and serves each series as arrays.
 *
 * The newest rows are in the memtable. When the memtable is full, it is sealed: its rows are written as chunks, series by
 * series, in short transactions. Until that is complete, `sealed_series` lists the series that are sealed beyond the
 * watermark. After a crash, exactly the rows that are in no chunk are applied again. There must be only one column store
 * per database file.
 */
export class ColumnStore implements ChunkSource {
  readonly transact: Transact;
  /** Removes rows of a series. */
  readonly removal: SeriesRemoval;
  readonly #client: Database;
  readonly #hash: TextHash;
  readonly #users: Dictionary;
  readonly #labels: Dictionary;
  readonly #parts: StoreParts;
  readonly #chunks: ChunkTable;
  readonly #memtable: Memtable;
  readonly #properties: PropertyStore;
  readonly #series: SeriesList;
  readonly #userRows: UserRows;
  readonly #userSeries: UserSeries;
  readonly #watermarks: Watermarks;
  readonly #userReader: UserReader;
  readonly #statements: ReturnType<typeof prepare>;
  /** Users whose erasure has begun. */
  #erased: readonly ErasedUser[] = [];
  /** Rows applied since the last rebuild began, for its progress. */
  #appliedRows = 0;
  #loads = 0;
  #sealing: Job<void> | undefined;

  /**
   * @param now the clock, in milliseconds since 1970
   * @param userRowLimits for tests
   */
  constructor(
    client: Database,
    hash: TextHash,
    now: () => number = Date.now,
    propertyLimits = PROPERTY_LIMITS,
    userRowLimits = USER_ROW_LIMITS,
  ) {
    const { scannedPerLookup, maxUnsortedRows } = userRowLimits;
    const parts = createParts(client, hash, { now, propertyLimits, maxUnsortedRows });
    this.#client = client;
    this.#hash = hash;
    this.#parts = parts;
    this.transact = parts.transact;
    this.#users = parts.users;
    this.#labels = parts.labels;
    this.#chunks = parts.chunks;
    this.#memtable = parts.memtable;
    this.#properties = parts.properties;
    this.#series = parts.series;
    this.#userRows = parts.userRows;
    this.#userSeries = parts.userSeries;
    this.#watermarks = parts.watermarks;
    this.removal = new SeriesRemoval(client, parts);
    this.#userReader = new UserReader(client, this.#userRows, scannedPerLookup);
    this.#statements = prepare(client);
    this.reload();
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#loads++;
    this.#sealing = undefined;
    reloadParts(this.#parts);
    const unfinished = this.#statements.erased.all();
    this.#erased = unfinished;
    this.#users.retire(unfinished.flatMap(({ userNumber }) => userNumber ?? []));
  }

  /** Whether chunks are being cleared for a rebuild. No chunk is written or read then. */
  get isRebuilding(): boolean {
    return this.#watermarks.isRebuilding;
  }

  /** Changes whenever the state is reloaded from the database, as for a rebuild. Jobs that keep state then begin again. */
  get loads(): number {
    return this.#loads;
  }

  /** Returns whether rows of a series that are not sealed yet happened before a time, in microseconds since 1970. */
  hasUnsealedBefore({ id }: Series, time: number): boolean {
    return (this.#memtable.extent(id)?.minTime ?? Number.POSITIVE_INFINITY) < time;
  }

  /** Returns the `seq` up to which the rows of a kind are applied. */
  position(kind: Kind): number {
    return this.#watermarks.applied[kind];
  }

  /** Returns the `seq` up to which all rows of a kind are in sealed chunks. */
  sealedTo(kind: Kind): number {
    return this.#watermarks.sealedTo(kind);
  }

  /**
   * Runs one step of catching up with the committed rows: applies some of them, or commits one transaction of a seal. A
   * step takes a few milliseconds, and about 50, without holding the write lock, when new texts are renumbered or the rows
   * of users are sorted.
   *
   * @returns whether all committed rows are applied
   */
  step(): boolean {
    try {
      if (this.isRebuilding) return true; // finishRebuild() comes first
      if (this.#sealing) {
        if (this.#sealing.next().done) this.#sealing = undefined;
        return false;
      }
      if (this.#memtable.isFull || this.#labels.newBytes + this.#users.newBytes > MAX_NEW_TEXT_BYTES) {
        this.#sealing = sealMemtable(this.#parts);
        return false;
      }
      return this.#applyRows();
    } catch (error) {
      this.reload(); // after a failed transaction, the in-memory state differs from the database
      throw error;
    }
  }

  /** Applies all rows committed so far. */
  *catchUp(): Job<void> {
    while (!this.step()) yield;
  }

  /** Seals the memtable. */
  *seal(): Job<void> {
    while (this.#memtable.rows > 0 && !this.isRebuilding) {
      this.#sealing ??= sealMemtable(this.#parts);
      this.step();
      yield;
    }
  }

  /** Applies the next rows of each kind. Returns whether no rows are left. */
  #applyRows(): boolean {
    // One read transaction for all rows. Otherwise each lookup of a text would begin its own.
    this.#client.run('BEGIN');
    try {
      return KINDS.map((kind) => this.#applyRowsOf(kind)).every(Boolean);
    } finally {
      this.#client.run('COMMIT');
    }
  }

  /** Applies the next rows of a kind. Returns whether no rows are left. */
  #applyRowsOf(kind: Kind): boolean {
    const [memtable, series, watermarks] = [this.#memtable, this.#series, this.#watermarks];
    const { rows, isLast } = this.#statements.source(kind, watermarks.applied[kind]);
    const [users, labels] = [this.#users, this.#labels];
    const [named, sealedBeyond] = [series.named(kind), watermarks.sealedBeyond];
    const erased = this.#erased;
    for (const row of rows) {
      if (memtable.isFull) return false;
      watermarks.applied[kind] = row.seq;
      if (row.userId === '') continue; // blank
      this.#appliedRows++;
      if (erased.some(({ userId, cutoffSeq }) => row.seq <= cutoffSeq && row.userId === userId)) continue;
      const { id } = named.get(row.name) ?? series.add(kind, row.name);
      if (row.seq <= (sealedBeyond.get(id) ?? 0)) continue;
      const user = users.numberFor(row.userId);
      memtable.push(id, row.seq, row.happenedAt, user, labels.numberFor(row.label, id), row.value);
    }
    return isLast;
  }

  /** Returns all series of a kind. */
  seriesOf(kind: Kind): Series[] {
    return [...this.#series.named(kind).values()];
  }

  /** Returns the series with a name; undefined if the name was never recorded. */
  find(kind: Kind, name: string): Series | undefined {
    return this.#series.named(kind).get(name);
  }

  /** Returns the numbers of the sealed series with a name. There is more than one only after an interrupted removal. */
  seriesNamed(kind: Kind, name: string): number[] {
    return this.#series.sealedNumbers(kind, name);
  }

  /** Yields the outlines of the chunks of a series whose extent overlaps [from, to), in commit order. */
  *outlines(
    { id, kind }: Series,
    from = Number.NEGATIVE_INFINITY,
    to = Number.POSITIVE_INFINITY,
  ): Generator<ChunkOutline> {
    for (const { id: chunkId, ...extent } of this.isRebuilding ? [] : this.#chunks.ofSeries(id, from, to)) {
      const read = () => this.#chunks.read(chunkId);
      const [quarters, hours] = [() => this.#chunks.quarters(chunkId), () => this.#chunks.hours(chunkId)];
      yield { ...extent, chunkId, memtablePart: undefined, read, quarters, hours };
    }
    const extent = this.#memtable.extent(id);
    if (!extent || extent.maxTime < from || extent.minTime >= to) return;
    for (const [memtablePart, part] of this.#memtable.parts(id, kind === 'metric').entries()) {
      const { rows, minTime, maxTime } = part.chunk;
      if (maxTime < from || minTime >= to) continue;
      const [quarters, hours] = [() => part.quarters(), () => part.hours()];
      yield { rows, minTime, maxTime, chunkId: undefined, memtablePart, read: () => part.chunk, quarters, hours };
    }
  }

  /**
   * Returns the rows of one user in some series, read by their keys; undefined if scanning the chunks of these series in
   * [from, to) takes less time.
   *
   * @param user the user's number
   * @param seriesList series of one kind
   */
  sourceOfUser(
    kind: Kind,
    user: number,
    seriesList: readonly Series[],
    {
      from = Number.NEGATIVE_INFINITY,
      to = Number.POSITIVE_INFINITY,
    }: { from?: number | undefined; to?: number | undefined },
    limits: ReadLimits,
  ): ChunkSource | undefined {
    if (this.isRebuilding || !this.#users.isWritten(user)) return undefined;
    let scannedRows = 0;
    for (const { id } of seriesList) {
      for (const { rows } of this.#chunks.ofSeries(id, from, to)) scannedRows += rows;
    }
    const named = this.#series.named(kind);
    const numbers = {
      series: (name: string) => named.get(name)?.id,
      label: (series: number, label: string) => this.#labels.find(label, series),
    };
    const readUser = { kind, number: user, upTo: this.#indexedTo(kind) };
    const chunks = this.#userReader.chunksOf(readUser, this.#users.text(user), scannedRows, numbers, limits);
    return chunks && { outlines: (...of) => this.#outlinesOfUser(chunks, ...of) };
  }

  /** Changes whenever rows of users are indexed or removed. */
  get userRowsVersion(): number {
    return this.#userRows.version;
  }

  /** Returns the `seq` up to which the index of users lists all applied rows. */
  #indexedTo(kind: Kind): number {
    return Math.min(this.#userRows.indexedTo(kind), this.#watermarks.applied[kind]);
  }

  /** Yields the outlines of a user's indexed rows and of the memtable's rows that are not indexed. */
  *#outlinesOfUser(
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
      yield { rows, minTime, maxTime, ...place, read: () => chunk, quarters: none, hours: none };
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

  /**
   * Returns the `seq` of each applied row of a user, ascending; undefined if they are not indexed. Some rows may be blank.
   *
   * @param user the user's number
   */
  seqsOfUser(kind: Kind, user: number): Float64Array | undefined {
    if (this.isRebuilding) return undefined;
    const indexedTo = this.#indexedTo(kind);
    const indexed = this.#users.isWritten(user)
      ? this.#userReader.seqsOf({ kind, number: user, upTo: indexedTo })
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

  /** Yields the chunks of a series that may contain rows in [from, to), in commit order. */
  *chunks(series: Series, from?: number, to?: number): Generator<Chunk> {
    for (const { read } of this.outlines(series, from, to)) yield read();
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

  /** Reads properties of the data of events: of a chunk, in one or several parts. */
  readProperties(source: PropertySource, request: PropertyRequest): Generator<PropertyPart> {
    return this.#properties.read(source, request);
  }

  /** Returns two hashes of a property value, as in {@link PropertyColumn.hashes}. */
  valueHashes(value: PropertyValue): readonly [number, number] {
    return valueHashes(value, this.#hash);
  }

  /** Overwrites the columns of properties in chunks that were rewritten. Erasures and deletions end with it. */
  *blankStaleColumns(): Job<void> {
    yield* this.#properties.blankStale();
  }

  /**
   * Builds columns of properties that queries have asked for, for about half a second.
   *
   * @returns whether columns are still missing and can be built now
   */
  *buildProperties(): Job<boolean> {
    return !this.isRebuilding && (yield* this.#properties.build((id) => this.#series.byId(id)));
  }

  /** Returns the extent of a series without reading its rows; undefined if it has none. */
  extent({ id }: Series): Extent | undefined {
    return extentOfAll([this.isRebuilding ? undefined : this.#chunks.extent(id), this.#memtable.extent(id)]);
  }

  /**
   * Returns all series that have rows, with their extents. Scans an index once.
   *
   * @param kind undefined: of all kinds
   * @param check called every few thousand series; what it throws is thrown
   */
  extents(kind?: Kind, check = () => {}): { series: Series; extent: Extent }[] {
    check();
    const sealed: ReadonlyMap<number, Extent> = this.isRebuilding ? new Map() : this.#chunks.extents();
    const all = kind === undefined ? KINDS.flatMap((each) => this.seriesOf(each)) : this.seriesOf(kind);
    return all.flatMap((series, i) => {
      if (i % SERIES_PER_CHECK === 0) check();
      const extent = extentOfAll([sealed.get(series.id), this.#memtable.extent(series.id)]);
      return extent ? [{ series, extent }] : [];
    });
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

  /** Returns the number of a user; undefined if the user has no rows. */
  user(userId: string): number | undefined {
    return this.#users.find(userId);
  }

  /** The largest user number plus one. */
  get userLimit(): number {
    return this.#users.limit;
  }

  /** The largest label number plus one. */
  get labelLimit(): number {
    return this.#labels.limit;
  }

  /** Returns the number of a label; undefined if the series does not have that label. */
  label({ id }: Series, label: string): number | undefined {
    return this.#labels.find(label, id);
  }

  /** Yields the labels of a series with their numbers. Some may have no rows. */
  labelsOf({ id }: Series): Generator<{ number: number; text: string }> {
    return this.#labels.textsOf(id);
  }

  /** Returns the text of a label number. */
  labelText(number: number): string {
    return this.#labels.text(number);
  }

  /**
   * Begins an erasure in the column store: drops the user's rows from the memtable, and ignores them if they are applied
   * again. Rows in sealed chunks remain until {@link SeriesRemoval.removeUserFrom}; new rows of the user get a new number. All
   * committed rows must be applied first: see {@link catchUp}.
   *
   * @param record writes the erasure to the database. Called in a transaction
   * @param cutoffSeq the `seq` up to which rows are erased; by default, all applied rows. The user may have no later rows
   */
  retireUser(
    userId: string,
    record: (retired: RetiredUser) => void,
    cutoffSeq = Math.max(...KINDS.map((kind) => this.#watermarks.applied[kind])),
  ): RetiredUser {
    const found = this.#users.find(userId);
    const number = found !== undefined && this.#users.isWritten(found) ? found : null;
    const retired = { number, cutoffSeq };
    this.transact(() => {
      record(retired);
      this.#recordListed();
    });
    this.#erased = [...this.#erased, { userId, cutoffSeq: retired.cutoffSeq }];
    if (found !== undefined) {
      this.#memtable.dropUser(found);
      this.#properties.memtableChanged();
      this.#users.retire([found]);
    }
    return retired;
  }

  /** Returns the series in which a retired user may still have rows. */
  seriesOfUser(user: number): number[] {
    return this.#userSeries.seriesOf(user);
  }

  /**
   * Records, in the caller's transaction, up to which `seq` the index lists the rows of the user whose erasure begins: later
   * rows leave the memtable without being indexed. Nothing is recorded if that is unknown for an earlier erasure.
   */
  #recordListed(): void {
    for (const kind of KINDS) {
      const recorded = this.#listedTo(kind);
      if (recorded === undefined && this.#erased.length > 0) continue;
      const listedTo = Math.min(recorded ?? Number.POSITIVE_INFINITY, this.#indexedTo(kind));
      this.#statements.setState.run(LISTED[kind], listedTo);
    }
  }

  #listedTo(kind: Kind): number | undefined {
    return this.#statements.state.all().find(({ name }) => name === LISTED[kind])?.value;
  }

  /**
   * Returns the `seq`s of a retired user's rows, ascending, up to the `seq` `to`; undefined if they are not listed, as after
   * a rebuild.
   *
   * @param user the user's number; null if no row was sealed
   */
  rowsOfRetired(kind: Kind, user: number | null): { seqs: Float64Array; to: number } | undefined {
    const to = this.#listedTo(kind);
    if (this.isRebuilding || to === undefined) return undefined;
    return { seqs: user === null ? new Float64Array(0) : this.#userRows.seqsOf(kind, user), to };
  }

  /** Ends all erasures, in the caller's transaction: deletes what was recorded when they began. */
  endErasures(): void {
    for (const kind of KINDS) this.#statements.removeState.run(LISTED[kind]);
  }

  /** Ends the erasure of a retired user after all rows are removed: blanks the user ID. */
  *removeUser({ userId, cutoffSeq }: ErasedUser, user: number | null): Job<void> {
    if (user !== null) {
      yield* this.#userRows.removeUser(user);
      yield* this.#users.blank([user]);
    }
    this.#erased = this.#erased.filter((erased) => erased.userId !== userId || erased.cutoffSeq !== cutoffSeq);
  }

  /** Rebuilds the column store from the rows. Until it is complete, query results lack the rows not yet applied. */
  *rebuild(): Job<void> {
    this.transact(() => beginRebuild(this.#client));
    this.reload();
    yield;
    yield* this.finishRebuild();
    const total = countPresent(this.#client);
    this.#appliedRows = 0;
    while (!this.step()) {
      const done = this.#appliedRows;
      yield { phase: 'applying rows', done, total: Math.max(done, total) };
    }
    yield* this.seal();
  }

  /** Rebuilds the column store if an import has stored rows since the last rebuild. */
  *rebuildAfterImport(): Job<void> {
    if (isImporting(this.#client)) yield* this.rebuild();
  }

  /**
   * Resumes a rebuild that has begun, or begins the one that an import requires: clears all chunks. {@link catchUp} then
   * applies the rows again.
   */
  *finishRebuild(): Job<void> {
    if (isImporting(this.#client)) {
      this.transact(() => beginRebuild(this.#client));
      this.reload();
      yield;
    }
    if (!this.isRebuilding) return;
    yield* inTransactions(
      this.transact,
      this.#allChunks(),
      ({ id, bytes }) => {
        this.#chunks.blank(id);
        return bytes;
      },
      undefined,
      undefined,
      BLANKING_LIMITS,
    );
    yield* this.#userSeries.clear();
    yield* this.#userRows.clear();
    this.transact(() => {
      this.#userRows.reset();
      this.#statements.setState.run(REBUILDING, 0);
    });
    this.reload();
  }

  *#allChunks(): Generator<{ readonly id: number; readonly bytes: number }> {
    for (;;) {
      const chunks = this.#chunks.nonBlank(1_000);
      if (chunks.length === 0) return;
      yield* chunks;
    }
  }
}

/**
 * Records, in the caller's transaction, that rows were stored out of order: the column store lacks them until it is
 * rebuilt, and serves the others meanwhile. Erasures and deletions, which would miss them, rebuild it first.
 */
export function markImporting(client: Database): void {
  client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, 1)').run(IMPORTING);
}

function isImporting(client: Database): boolean {
  return client.query('SELECT 1 FROM column_state WHERE name = ?').get(IMPORTING) !== null;
}

/**
 * Begins a rebuild, in the caller's transaction. {@link ColumnStore.finishRebuild} then clears all chunks, and catching
 * up applies all rows again. Needed after rows were stored out of order, because catching up would skip them.
 */
export function beginRebuild(client: Database): void {
  const set = client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)');
  for (const kind of KINDS) set.run(kind, 0);
  set.run(REBUILDING, 1);
  client.query('DELETE FROM column_state WHERE name = ?').run(IMPORTING);
  client.run('DELETE FROM sealed_series');
  // the rows of users whose erasure has begun are not applied again, and so not listed either
  for (const kind of KINDS) client.query('DELETE FROM column_state WHERE name = ?').run(LISTED[kind]);
}

function prepare(client: Database) {
  return {
    source: sourceRows(client),
    state: client.prepare<{ name: string; value: number }, []>('SELECT name, value FROM column_state'),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    removeState: client.prepare('DELETE FROM column_state WHERE name = ?'),
    erased: client.prepare<ErasedUser & { userNumber: number | null }, []>(
      `SELECT pending_user_id AS userId, cutoff_seq AS cutoffSeq, user_number AS userNumber
       FROM erasures WHERE pending_user_id IS NOT NULL`,
    ),
  };
}
