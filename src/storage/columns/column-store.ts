import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../records.ts';
import { inTransactions, type Job, type Transact } from '../job.ts';
import type { TextHash } from '../text-hash.ts';
import { createTransact } from '../transact.ts';
import { type Chunk, mergeChunks, withoutUser } from './chunk.ts';
import { type ChunkEntry, ChunkTable, type Extent } from './chunk-table.ts';
import { Dictionary } from './dictionary.ts';
import { Memtable } from './memtable.ts';
import { type SourceRow, sourceRows } from './source-rows.ts';
import { UserSeries } from './user-series.ts';

export type { Extent } from './chunk-table.ts';

/** Texts that are not in the database yet, in bytes, at which the memtable is sealed though it has room for rows. */
const MAX_NEW_TEXT_BYTES = 16 * 1024 * 1024;
/** Rows of a chunk, at most: 3 MB. Larger ones would take longer to write than a transaction may. */
const MAX_CHUNK_ROWS = 131_072;

/** A metric name or an event type, with its number. */
export interface Series {
  readonly id: number;
  readonly kind: Kind;
  readonly name: string;
}

/** A chunk whose extent is known, and that is read only on request. */
export interface ChunkOutline extends Extent {
  readonly read: () => Chunk;
  /** Its times only. */
  readonly readTimes: () => Float64Array;
}

/** A user whose rows are being erased: rows up to the cutoff do not exist for the column store. */
export interface ErasedUser {
  readonly userId: string;
  readonly cutoffSeq: number;
}

/** Where the rows of a user are in the column store, until they are removed. */
export interface RetiredUser {
  /** The number of the user's rows in sealed chunks; null if there are none. */
  readonly number: number | null;
  /** Every row up to this `seq` has been applied. */
  readonly cutoffSeq: number;
}

/**
 * The column store over a database: it applies the rows of the log in the order of their commits, and serves each
 * series as arrays.
 *
 * The newest rows are in the memtable. When it is full, it is sealed: its rows become chunks, series by series, in
 * short transactions. `sealed_series` says which series are further than the watermark in the meantime, so that
 * after a crash, rows are applied again exactly if they are in no chunk. There must be one column store per
 * database file.
 */
export class ColumnStore {
  readonly transact: Transact;
  readonly #client: Database;
  readonly #users: Dictionary;
  readonly #labels: Dictionary;
  readonly #chunks: ChunkTable;
  readonly #userSeries: UserSeries;
  readonly #memtable = new Memtable();
  readonly #statements: ReturnType<typeof prepare>;
  readonly #series: Record<Kind, Map<string, Series>> = { metric: new Map(), analytics: new Map() };
  readonly #seriesById = new Map<number, Series>();
  /** Series that are not in the database yet. */
  readonly #newSeries = new Set<number>();
  #nextSeries = 1;
  /** The `seq` up to which rows have been applied, by kind. */
  readonly #position: Record<Kind, number> = { metric: 0, analytics: 0 };
  /** Series that are sealed beyond the watermark, with the `seq` up to which they are. */
  readonly #sealedBeyond = new Map<number, number>();
  /** Users whose erasure has begun. */
  #erased: readonly ErasedUser[] = [];
  #isRebuilding = false;
  #sealing: Job<void> | undefined;

  constructor(client: Database, hash: TextHash) {
    this.#client = client;
    this.transact = createTransact(client);
    this.#users = new Dictionary(client, 'users', this.transact, hash);
    this.#labels = new Dictionary(client, 'labels', this.transact, hash);
    this.#chunks = new ChunkTable(client);
    this.#userSeries = new UserSeries(client, this.transact);
    this.#statements = prepare(client);
    this.reload();
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#sealing = undefined;
    this.#memtable.clear();
    this.#chunks.clearCache();
    this.#userSeries.reload();
    this.#users.reload();
    this.#labels.reload();
    for (const kind of KINDS) this.#series[kind].clear();
    this.#seriesById.clear();
    this.#newSeries.clear();
    this.#sealedBeyond.clear();
    const state = new Map(this.#statements.state.all().map(({ name, value }) => [name, value]));
    for (const kind of KINDS) this.#position[kind] = state.get(kind) ?? 0;
    this.#isRebuilding = state.get('rebuilding') === 1;
    for (const { seriesId, seq } of this.#statements.sealedSeries.all()) this.#sealedBeyond.set(seriesId, seq);
    for (const one of this.#statements.series.all()) this.#addSeries(one);
    this.#nextSeries = (this.#statements.lastSeries.get()?.last ?? 0) + 1;
    const unfinished = this.#statements.erased.all();
    this.#erased = unfinished;
    this.#users.retire(unfinished.flatMap(({ userNumber }) => userNumber ?? []));
  }

  /** Whether the chunks are being cleared for a rebuild: nothing is sealed then, and no chunk is read. */
  get isRebuilding(): boolean {
    return this.#isRebuilding;
  }

  /** The `seq` up to which the rows of a kind have been applied. */
  position(kind: Kind): number {
    return this.#position[kind];
  }

  /**
   * Does one step of what is to be done to catch up with the log: applies some rows, or writes one transaction of
   * a seal. A step takes a few milliseconds, and up to 50 in bad cases.
   *
   * @returns whether every committed row is applied
   */
  step(): boolean {
    try {
      if (this.#isRebuilding) return true; // see rebuild()
      if (this.#sealing) {
        if (this.#sealing.next().done) this.#sealing = undefined;
        return false;
      }
      if (this.#memtable.isFull || this.#labels.newBytes + this.#users.newBytes > MAX_NEW_TEXT_BYTES) {
        this.#sealing = this.#seal();
        return false;
      }
      return this.#applyRows();
    } catch (error) {
      this.reload(); // what a failed transaction leaves in memory is not what the database has
      throw error;
    }
  }

  /** Applies every row that is committed by now. */
  *catchUp(): Job<void> {
    while (!this.step()) yield;
  }

  /** Seals all rows in memory. */
  *seal(): Job<void> {
    while (this.#memtable.rows > 0 && !this.#isRebuilding) {
      this.#sealing ??= this.#seal();
      this.step();
      yield;
    }
  }

  /** Applies the next rows of each kind; returns whether those were all. */
  #applyRows(): boolean {
    // one read transaction: each look-up of a text would begin its own
    this.#client.run('BEGIN');
    try {
      return KINDS.map((kind) => {
        const { rows, isLast } = this.#statements.source(kind, this.#position[kind]);
        let applied = 0;
        for (const row of rows) {
          if (this.#memtable.isFull) break;
          this.#apply(kind, row);
          applied++;
        }
        return isLast && applied === rows.length;
      }).every(Boolean);
    } finally {
      this.#client.run('COMMIT');
    }
  }

  #apply(kind: Kind, row: SourceRow): void {
    this.#position[kind] = row.seq;
    if (row.userId === '') return; // blank
    if (this.#erased.some(({ userId, cutoffSeq }) => row.seq <= cutoffSeq && row.userId === userId)) return;
    const { id } = this.#seriesFor(kind, row.name);
    if (row.seq <= (this.#sealedBeyond.get(id) ?? 0)) return;
    const user = this.#users.numberFor(row.userId);
    this.#memtable.push(id, row.happenedAt, user, this.#labels.numberFor(row.label, id), row.value);
  }

  #seriesFor(kind: Kind, name: string): Series {
    let found = this.#series[kind].get(name);
    if (!found) {
      found = { id: this.#nextSeries++, kind, name };
      this.#addSeries(found);
      this.#newSeries.add(found.id);
    }
    return found;
  }

  #addSeries(series: Series): void {
    this.#series[series.kind].set(series.name, series);
    this.#seriesById.set(series.id, series);
  }

  #removeSeries(series: Series): void {
    if (this.#series[series.kind].get(series.name) === series) this.#series[series.kind].delete(series.name);
    this.#seriesById.delete(series.id);
    this.#newSeries.delete(series.id);
  }

  /** Writes the memtable as chunks. What chunks refer to is written before them: it is harmless without them. */
  *#seal(): Job<void> {
    const memtable = this.#memtable;
    const users = new Set<number>();
    const labels = new Set<number>();
    memtable.forEach((_series, user, label) => {
      users.add(user);
      labels.add(label);
    });
    yield* this.#users.write((number) => users.has(number));
    yield* this.#labels.write((number) => labels.has(number));
    yield* this.#userSeries.write((visit) => memtable.forEach(visit));
    const { insertSeries, setSealed } = this.#statements;
    const replaced: number[] = [];
    yield* inTransactions(
      this.transact,
      memtable.series(),
      (id) => {
        const series = this.#seriesById.get(id) as Series; // every row has come through #seriesFor
        if (this.#newSeries.has(id)) insertSeries.run(id, series.kind, series.name);
        const { bytes, gone } = this.#writeRows(series);
        replaced.push(...gone);
        return bytes + 3 * series.name.length;
      },
      (done, isLast) => {
        if (isLast) this.#setWatermarks();
        else for (const id of done) setSealed.run(id, this.#position[(this.#seriesById.get(id) as Series).kind]);
      },
      (done) => {
        for (const id of done) {
          memtable.dropSeries(id);
          this.#newSeries.delete(id);
        }
      },
    );
    if (memtable.rows > 0) throw new Error('rows were left in the memtable after a seal');
    for (const id of this.#newSeries) this.#removeSeries(this.#seriesById.get(id) as Series); // erased before a seal
    this.#sealedBeyond.clear();
  }

  /** Records, in the caller's transaction, that every applied row is sealed. */
  #setWatermarks(): void {
    for (const kind of KINDS) this.#statements.setState.run(kind, this.#position[kind]);
    this.#statements.clearSealed.run();
  }

  /**
   * Writes the rows of a series behind its last chunk, or together with it: chunks of about the same size are
   * merged, so that a row is rewritten about log2(rows) times, and a series has as many chunks.
   */
  #writeRows({ id, kind }: Series): { bytes: number; gone: number[] } {
    const gone: number[] = [];
    let chunk = this.#memtable.chunk(id, kind === 'metric') as Chunk; // it is among the memtable's series
    for (;;) {
      const before = this.#chunks.lastOf(id);
      if (!before || before.rows > 2 * chunk.rows || before.rows + chunk.rows > MAX_CHUNK_ROWS) break;
      chunk = mergeChunks(this.#chunks.read(before.id), chunk);
      this.#chunks.blank(before.id);
      gone.push(before.id);
    }
    return { bytes: this.#chunks.insert(id, chunk), gone };
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
  *outlines(
    { id, kind }: Series,
    from = Number.NEGATIVE_INFINITY,
    to = Number.POSITIVE_INFINITY,
  ): Generator<ChunkOutline> {
    const meets = ({ minTime, maxTime }: Omit<Extent, 'rows'>) => maxTime >= from && minTime < to;
    for (const { id: chunkId, ...extent } of this.#sealedChunks(id)) {
      if (!meets(extent)) continue;
      const read = () => this.#chunks.read(chunkId);
      yield { ...extent, read, readTimes: () => read().times };
    }
    const extent = this.#memtable.extent(id);
    if (!extent || !meets(extent)) return;
    const { rows, minTime, maxTime } = extent;
    const read = () => this.#memtable.chunk(id, kind === 'metric') as Chunk; // it has an extent
    yield { rows, minTime, maxTime, read, readTimes: () => read().times };
  }

  #sealedChunks(seriesId: number): ChunkEntry[] {
    return this.#isRebuilding ? [] : this.#chunks.ofSeries(seriesId);
  }

  /** The chunks of a series that may have rows in [from, to), in the order of their commits. */
  *chunks(series: Series, from?: number, to?: number): Generator<Chunk> {
    for (const { read } of this.outlines(series, from, to)) yield read();
  }

  /** How many rows a series has, and their first and last time; without reading any. Undefined if it has none. */
  extent({ id }: Series): Extent | undefined {
    return extentOfAll([this.#isRebuilding ? undefined : this.#chunks.extent(id), this.#memtable.extent(id)]);
  }

  /** Every series of a kind that has rows, with its extent. One pass, whatever the number of series. */
  extents(kind: Kind): { series: Series; extent: Extent }[] {
    const sealed: ReadonlyMap<number, Extent> = this.#isRebuilding ? new Map() : this.#chunks.extents();
    return this.seriesOf(kind).flatMap((series) => {
      const extent = extentOfAll([sealed.get(series.id), this.#memtable.extent(series.id)]);
      return extent ? [{ series, extent }] : [];
    });
  }

  /** Every series of a kind in which a user may have rows: a few may have none any more. Reads no chunk. */
  seriesWith(kind: Kind, user: number): Series[] {
    const ids = new Set(this.#userSeries.seriesOf(user));
    this.#memtable.forEach((series, who) => {
      if (who === user) ids.add(series);
    });
    return [...ids].flatMap((id) => {
      const series = this.#seriesById.get(id);
      return series?.kind === kind ? [series] : [];
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

  /**
   * Makes a user's rows invisible to what is applied from now on, and drops those in the memtable. Those in sealed
   * chunks are left for {@link removeUserFrom}, under a number that no new row of the user gets. Everything must be
   * applied: see {@link catchUp}.
   *
   * @param record writes the erasure in the same transaction, given what is known of the user's rows
   */
  retireUser(userId: string, record: (retired: RetiredUser) => void): RetiredUser {
    const found = this.#users.find(userId);
    const number = found !== undefined && this.#users.isWritten(found) ? found : null;
    const retired = { number, cutoffSeq: Math.max(...KINDS.map((kind) => this.#position[kind])) };
    this.transact(() => record(retired));
    this.#erased = [...this.#erased, { userId, cutoffSeq: retired.cutoffSeq }];
    if (found !== undefined) {
      this.#memtable.dropUser(found);
      this.#users.retire([found]);
    }
    return retired;
  }

  /** The series in which a retired user may still have rows. */
  seriesOfUser(user: number): number[] {
    return this.#userSeries.seriesOf(user);
  }

  /** Removes a retired user's rows from a series, and every text that only those rows had. */
  *removeUserFrom(seriesId: number, user: number): Job<void> {
    const used = new Set<number>();
    let last = 0;
    /** Looks at the chunks that are new since the last look. */
    const look = function* (this: ColumnStore, isFinal: boolean): Job<void> {
      for (const { id } of this.#chunks.ofSeries(seriesId)) {
        if (id <= last) continue;
        let chunk = this.#chunks.read(id);
        const kept = withoutUser(chunk, user);
        if (kept) {
          this.transact(() => this.#chunks.replace(id, kept));
          chunk = kept;
        }
        for (const label of chunk.labels) used.add(label);
        last = id;
        if (!isFinal) yield;
      }
    }.bind(this);
    yield* look(false);
    yield* this.#finishRemoval(seriesId, user, used, () => look(true));
  }

  /** Blanks the labels that no row of a series has any more, and the series if it has no rows. */
  *#finishRemoval(seriesId: number, user: number, used: Set<number>, look: () => Job<void>): Job<void> {
    // From here to retire(), nothing else runs: no row can take a label that is about to go.
    for (const _ of look()) {
      // the final look does not yield
    }
    this.#memtable.forEach((series, _user, label) => {
      if (series === seriesId) used.add(label);
    });
    const unused = this.#labels.numbersOf(seriesId).filter((label) => !used.has(label));
    this.#labels.retire(unused);
    const series = this.#seriesById.get(seriesId);
    const isEmpty = used.size === 0;
    if (series && isEmpty) this.#removeSeries(series);
    yield* this.#labels.blank(unused);
    this.transact(() => {
      if (isEmpty) this.#statements.blankSeries.run(seriesId);
      this.#userSeries.remove(user, seriesId);
    });
    yield;
  }

  /** Forgets a retired user whose rows are all removed. */
  *removeUser({ userId, cutoffSeq }: ErasedUser, user: number | null): Job<void> {
    if (user !== null) yield* this.#users.blank([user]);
    this.#erased = this.#erased.filter((one) => one.userId !== userId || one.cutoffSeq !== cutoffSeq);
  }

  /** Rebuilds the column store from the rows. Until it is done, results lack the rows that are not applied yet. */
  *rebuild(): Job<void> {
    this.transact(() => beginRebuild(this.#client));
    this.reload();
    yield;
    yield* this.finishRebuild();
    yield* this.catchUp();
    yield* this.seal();
  }

  /** Goes on with a rebuild that was begun: clears the chunks. The rows are applied again by catching up. */
  *finishRebuild(): Job<void> {
    if (!this.#isRebuilding) return;
    yield* inTransactions(this.transact, this.#allChunks(), (id) => {
      this.#chunks.blank(id);
      return 4096; // a chunk's pages are freed and overwritten: its own size is not known here
    });
    yield* this.#userSeries.clear();
    this.transact(() => this.#statements.setState.run('rebuilding', 0));
    this.reload();
  }

  *#allChunks(): Generator<number> {
    for (;;) {
      const ids = this.#chunks.some(1_000);
      if (ids.length === 0) return;
      yield* ids;
    }
  }
}

/** The extent of several together; undefined if none has rows. */
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

/**
 * Begins a rebuild, in the caller's transaction: the column store clears its chunks when it is next opened, and
 * applies all rows again. For rows that were stored out of order, which catching up would pass by.
 */
export function beginRebuild(client: Database): void {
  const set = client.query('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)');
  for (const kind of KINDS) set.run(kind, 0);
  set.run('rebuilding', 1);
  client.run('DELETE FROM sealed_series');
}

function prepare(client: Database) {
  return {
    source: sourceRows(client),
    state: client.prepare<{ name: string; value: number }, []>('SELECT name, value FROM column_state'),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    sealedSeries: client.prepare<{ seriesId: number; seq: number }, []>(
      'SELECT series_id AS seriesId, seq FROM sealed_series',
    ),
    setSealed: client.prepare('INSERT OR REPLACE INTO sealed_series (series_id, seq) VALUES (?, ?)'),
    clearSealed: client.prepare('DELETE FROM sealed_series'),
    series: client.prepare<Series, []>('SELECT id, kind, name FROM series WHERE name IS NOT NULL'),
    lastSeries: client.prepare<{ last: number | null }, []>('SELECT max(id) AS last FROM series'),
    insertSeries: client.prepare('INSERT INTO series (id, kind, name) VALUES (?, ?, ?)'),
    blankSeries: client.prepare('UPDATE series SET name = NULL WHERE id = ?'),
    erased: client.prepare<ErasedUser & { userNumber: number | null }, []>(
      `SELECT pending_user_id AS userId, cutoff_seq AS cutoffSeq, user_number AS userNumber
       FROM erasures WHERE pending_user_id IS NOT NULL`,
    ),
  };
}
