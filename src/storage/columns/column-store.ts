import type { Database } from 'bun:sqlite';
import type { PropertyValue } from '../../properties.ts';
import { KINDS, type Kind } from '../../records.ts';
import type { Job, Transact } from '../job.ts';
import { countPresent } from '../ledger.ts';
import type { TextHash } from '../text-hash.ts';
import type { Chunk } from './chunk.ts';
import type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
import type { Dictionary } from './dictionary.ts';
import type { Extent } from './extent.ts';
import { valueHashes } from './property-column.ts';
import { PROPERTY_LIMITS, type PropertyPart, type PropertyRequest, type PropertySource } from './property-store.ts';
import { beginRebuild, clearForRebuild, isImporting } from './rebuild.ts';
import { type ErasedUser, type RetiredUser, RetiredUsers } from './retired-users.ts';
import { sealMemtable } from './seal.ts';
import type { Series } from './series.ts';
import { SeriesReader } from './series-reader.ts';
import { SeriesRemoval } from './series-removal.ts';
import { sourceRows } from './source-rows.ts';
import { createParts, reloadParts, type StoreParts } from './store-parts.ts';
import { UserLookup } from './user-lookup.ts';
import { type ReadLimits, SCANNED_PER_LOOKUP } from './user-reader.ts';
import { MAX_UNSORTED_ROWS } from './user-rows.ts';

export type { ChunkOutline, ChunkSource } from './chunk-outline.ts';
export type { Extent } from './extent.ts';
export type { ErasedUser } from './retired-users.ts';
export type { Series } from './series.ts';

/** Size of unwritten texts at which the memtable is sealed even if it is not full, in bytes. */
const MAX_NEW_TEXT_BYTES = 16 * 1024 * 1024;

/** When the rows of a user are looked up, and how they are indexed. */
export interface UserRowLimits {
  /** See {@link SCANNED_PER_LOOKUP}. */
  readonly scannedPerLookup: number;
  /** See {@link MAX_UNSORTED_ROWS}. */
  readonly maxUnsortedRows: number;
}

const USER_ROW_LIMITS: UserRowLimits = { scannedPerLookup: SCANNED_PER_LOOKUP, maxUnsortedRows: MAX_UNSORTED_ROWS };

/**
 * The column store of a database. It applies rows in commit order and serves each series as arrays.
 *
 * The newest rows are in the memtable. When the memtable is full, it is sealed: its rows are written as chunks, series by
 * series, in short transactions. Until that is complete, `sealed_series` lists the series that are sealed beyond the
 * watermark. After a crash, exactly the rows that are in no chunk are applied again. There must be only one column store
 * per database file.
 *
 * This class runs the steps of catching up. The data is in {@link StoreParts}: {@link sealMemtable} writes it,
 * {@link SeriesReader} and {@link UserLookup} read it, and {@link RetiredUsers} and {@link SeriesRemoval} remove rows.
 */
export class ColumnStore implements ChunkSource {
  readonly transact: Transact;
  /** Removes rows of a series. */
  readonly removal: SeriesRemoval;
  readonly #client: Database;
  readonly #hash: TextHash;
  readonly #source: ReturnType<typeof sourceRows>;
  readonly #parts: StoreParts;
  readonly #users: Dictionary;
  readonly #labels: Dictionary;
  readonly #reader: SeriesReader;
  readonly #lookup: UserLookup;
  readonly #retired: RetiredUsers;
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
    this.#source = sourceRows(client);
    this.#parts = parts;
    this.transact = parts.transact;
    this.#users = parts.users;
    this.#labels = parts.labels;
    this.#reader = new SeriesReader(parts);
    this.#lookup = new UserLookup(client, parts, scannedPerLookup);
    this.#retired = new RetiredUsers(client, parts, this.#lookup);
    this.removal = new SeriesRemoval(client, parts);
    this.reload();
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#loads++;
    this.#sealing = undefined;
    reloadParts(this.#parts);
    this.#retired.reload();
  }

  /** Whether chunks are being cleared for a rebuild. No chunk is written or read then. */
  get isRebuilding(): boolean {
    return this.#parts.watermarks.isRebuilding;
  }

  /** Changes whenever the state is reloaded from the database, as for a rebuild. Jobs that keep state then begin again. */
  get loads(): number {
    return this.#loads;
  }

  /** Returns the `seq` up to which the rows of a kind are applied. */
  position(kind: Kind): number {
    return this.#parts.watermarks.applied[kind];
  }

  /** Returns the `seq` up to which all rows of a kind are in sealed chunks. */
  sealedTo(kind: Kind): number {
    return this.#parts.watermarks.sealedTo(kind);
  }

  /** Returns whether rows of a series that are not sealed yet happened before a time, in microseconds since 1970. */
  hasUnsealedBefore({ id }: Series, time: number): boolean {
    return (this.#parts.memtable.extent(id)?.minTime ?? Number.POSITIVE_INFINITY) < time;
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
      if (this.#parts.memtable.isFull || this.#labels.newBytes + this.#users.newBytes > MAX_NEW_TEXT_BYTES) {
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
    while (this.#parts.memtable.rows > 0 && !this.isRebuilding) {
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
    const { memtable, series, watermarks } = this.#parts;
    const { rows, isLast } = this.#source(kind, watermarks.applied[kind]);
    const [users, labels] = [this.#users, this.#labels];
    const [named, sealedBeyond] = [series.named(kind), watermarks.sealedBeyond];
    const { erased } = this.#retired;
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
    return [...this.#parts.series.named(kind).values()];
  }

  /** Returns the series with a name; undefined if the name was never recorded. */
  find(kind: Kind, name: string): Series | undefined {
    return this.#parts.series.named(kind).get(name);
  }

  /** Returns the sealed series with some names: see {@link SeriesList.sealed}. */
  sealedSeries(kind: Kind, names: Iterable<string>): Pick<Series, 'id' | 'name'>[] {
    return this.#parts.series.sealed(kind, names);
  }

  /** Yields the outlines of the chunks of a series whose extent overlaps [from, to), in commit order. */
  outlines(series: Series, from?: number, to?: number): Generator<ChunkOutline> {
    return this.#reader.outlines(series, from, to);
  }

  /** Yields the chunks of a series that may contain rows in [from, to), in commit order. */
  *chunks(series: Series, from?: number, to?: number): Generator<Chunk> {
    for (const { read } of this.outlines(series, from, to)) yield read();
  }

  /** Yields the keys of a series' rows before a time: see {@link SeriesReader.seqsBefore}. */
  seqsBefore(series: Series, before: number): Generator<number[]> {
    return this.#reader.seqsBefore(series, before);
  }

  /** Returns the extent of a series without reading its rows; undefined if it has none. */
  extent(series: Series): Extent | undefined {
    return this.#reader.extent(series);
  }

  /** Returns all series that have rows, with their extents: see {@link SeriesReader.extents}. */
  extents(kind?: Kind, check?: () => void): { series: Series; extent: Extent }[] {
    return this.#reader.extents(kind, check);
  }

  /** Returns the series of a kind in which a user may have rows. A few may no longer have any. Reads no chunks. */
  seriesWith(kind: Kind, user: number): Series[] {
    return this.#lookup.seriesWith(kind, user);
  }

  /** Returns the rows of one user in some series, if looking them up is faster than a scan: see {@link UserLookup.sourceOf}. */
  sourceOfUser(
    kind: Kind,
    user: number,
    seriesList: readonly Series[],
    range: { from?: number | undefined; to?: number | undefined },
    limits: ReadLimits,
  ): ChunkSource | undefined {
    return this.#lookup.sourceOf(kind, user, seriesList, range, limits);
  }

  /** Returns the `seq` of each applied row of a user, ascending; undefined if they are not indexed. Some rows may be blank. */
  seqsOfUser(kind: Kind, user: number): Float64Array | undefined {
    return this.#lookup.seqsOf(kind, user);
  }

  /** Changes whenever rows of users are indexed or removed. */
  get userRowsVersion(): number {
    return this.#parts.userRows.version;
  }

  /** Reads properties of the data of events: of a chunk, in one or several parts. */
  readProperties(source: PropertySource, request: PropertyRequest): Generator<PropertyPart> {
    return this.#parts.properties.read(source, request);
  }

  /** Returns two hashes of a property value, as in {@link PropertyColumn.hashes}. */
  valueHashes(value: PropertyValue): readonly [number, number] {
    return valueHashes(value, this.#hash);
  }

  /** Overwrites the columns of properties in chunks that were rewritten. Erasures and deletions end with it. */
  *blankStaleColumns(): Job<void> {
    yield* this.#parts.properties.blankStale();
  }

  /**
   * Builds columns of properties that queries have asked for, for about half a second.
   *
   * @returns whether columns are still missing and can be built now
   */
  *buildProperties(): Job<boolean> {
    const { properties, series } = this.#parts;
    return !this.isRebuilding && (yield* properties.build((id) => series.byId(id)));
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
   * Begins an erasure in the column store: see {@link RetiredUsers.retire}. Rows in sealed chunks remain until
   * {@link SeriesRemoval.removeUserFrom}. All committed rows must be applied first: see {@link catchUp}.
   *
   * @param cutoffSeq the `seq` up to which rows are erased. The user may have no later rows
   */
  retireUser(userId: string, record: (retired: RetiredUser) => void, cutoffSeq?: number): RetiredUser {
    return this.#retired.retire(userId, record, cutoffSeq);
  }

  /** Returns the series in which a retired user may still have rows. */
  seriesOfUser(user: number): number[] {
    return this.#parts.userSeries.seriesOf(user);
  }

  /** Returns the keys of a retired user's rows: see {@link RetiredUsers.seqsOf}. */
  rowsOfRetired(kind: Kind, user: number | null): { seqs: Float64Array; to: number } | undefined {
    return this.#retired.seqsOf(kind, user);
  }

  /** Ends all erasures, in the caller's transaction: deletes what was recorded when they began. */
  endErasures(): void {
    this.#retired.endAll();
  }

  /** Ends the erasure of a retired user after all rows are removed: blanks the user ID. */
  *removeUser(erased: ErasedUser, user: number | null): Job<void> {
    yield* this.#retired.remove(erased, user);
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
    yield* clearForRebuild(this.#client, this.#parts);
    this.reload();
  }
}
