import type { Database } from 'bun:sqlite';
import type { Kind } from '../../records.ts';
import { type Job, runJob, type Transact } from '../job.ts';
import { type Chunk, seqsOf, withoutRows } from './chunk.ts';
import type { ChunkTable } from './chunk-table.ts';
import type { Dictionary } from './dictionary.ts';
import { ExpiredKeys, type ExpiredSeries } from './expired-keys.ts';
import type { Memtable } from './memtable.ts';
import type { PropertyStore } from './property-store.ts';
import { RemovedKeys } from './removed-keys.ts';
import { expiredRows, RowRemoval, type RowsToRemove, rowsOfUser } from './row-removal.ts';
import type { SeriesList } from './series-list.ts';
import type { StoreParts } from './store-parts.ts';
import { SHARDS, type UserRows } from './user-rows.ts';
import type { UserSeries } from './user-series.ts';

/** Number of removed rows, 16 MB, after which they are removed from the index of user rows. */
const MAX_REMOVED_KEYS = 2 ** 21;

/** Returns the test of which rows of a chunk to remove. Rows up to the `seq` `checkedTo` were kept by earlier tests. */
export type RowSelector = (chunk: Chunk, checkedTo: number) => Job<(row: number) => boolean>;

/** Removes rows of a series from a column store, with everything that only they had. */
export class SeriesRemoval {
  readonly #transact: Transact;
  readonly #chunks: ChunkTable;
  readonly #labels: Dictionary;
  readonly #memtable: Memtable;
  readonly #properties: PropertyStore;
  readonly #userRows: UserRows;
  readonly #userSeries: UserSeries;
  readonly #series: SeriesList;
  readonly #blankSeries: ReturnType<Database['prepare']>;
  /** The removals in progress that know which labels are used. */
  readonly #running = new Set<RowRemoval>();

  constructor(client: Database, parts: StoreParts) {
    this.#transact = parts.transact;
    this.#chunks = parts.chunks;
    this.#labels = parts.labels;
    this.#memtable = parts.memtable;
    this.#properties = parts.properties;
    this.#userRows = parts.userRows;
    this.#userSeries = parts.userSeries;
    this.#series = parts.series;
    this.#blankSeries = client.prepare('UPDATE series SET name = NULL WHERE id = ?');
  }

  /**
   * Removes a retired user's rows from a series, and every label that only those rows had.
   *
   * @param times when the rows happened, ascending, in microseconds since 1970; undefined if that is not known for all rows
   */
  *removeUserFrom(seriesId: number, user: number, times: Float64Array | undefined): Job<void> {
    const removePair = () => this.#userSeries.remove(user, seriesId);
    if (times) {
      yield* this.#removeFound(seriesId, rowsOfUser(this.#chunks, user, times), removePair);
      return;
    }
    const select: RowSelector = function* ({ users }) {
      yield;
      return (row) => users[row] === user;
    };
    yield* this.removeRows(seriesId, select, removePair);
  }

  /**
   * Removes the expired rows of a series, every label that only those rows had, and the series itself if it has no rows
   * left. The rows must be sealed, and blank in their table: see {@link expiredKeys}.
   *
   * @param removed collects the keys of the rows: {@link unlistRows} then removes them from the index of user rows
   */
  *removeExpired({ seriesId, ...expired }: ExpiredSeries, removed: RemovedKeys): Job<void> {
    const rows = expiredRows(this.#chunks, expired, (user, seq) => removed.add(user, seq));
    yield* this.#removeFound(seriesId, rows);
  }

  /** Returns the keys of the expired rows of several series. The rows must be sealed. */
  expiredKeys(series: readonly ExpiredSeries[]): ExpiredKeys {
    return new ExpiredKeys(this.#chunks, series);
  }

  /** Removes rows from the index of user rows. Until then, it has entries of blank rows, which readers skip. */
  unlistRows(kind: Kind, removed: RemovedKeys): Job<void> {
    return this.#userRows.remove(kind, removed);
  }

  /** Removes rows from the chunks that may contain them, with the labels that only those rows had. */
  *#removeFound(seriesId: number, rows: RowsToRemove, beforeCommit: () => void = () => {}): Job<void> {
    const removal = new RowRemoval(this.#chunks, this.#transact, seriesId, rows, this.#labels.limit);
    this.#running.add(removal);
    try {
      yield* removal.removeRows();
      yield* removal.findLabels((visit) => this.#memtable.labelsOf(seriesId, visit));
      const isEmpty = !this.#chunks.extent(seriesId) && !this.#memtable.extent(seriesId);
      const unusedLabels = isEmpty ? this.#labels.numbersOf(seriesId) : removal.unusedLabels();
      yield* this.#finishRemoval(seriesId, unusedLabels, isEmpty, beforeCommit);
    } finally {
      this.#running.delete(removal);
      this.#rowsRemoved(seriesId);
    }
  }

  /** Tells the other removals in progress that rows were removed, perhaps not all if that failed. */
  #rowsRemoved(seriesId: number): void {
    for (const other of this.#running) other.otherRowsRemoved(seriesId);
  }

  /**
   * Removes rows from the sealed chunks of a series, every label that only those rows had, and the series itself if it
   * has no rows left.
   *
   * @param beforeCommit called in the last transaction
   */
  *removeRows(seriesId: number, select: RowSelector, beforeCommit: () => void = () => {}): Job<void> {
    const kind = this.#series.byId(seriesId)?.kind;
    let removed = new RemovedKeys(SHARDS);
    const usedLabels = new Set<number>();
    let lastId = 0;
    let checkedTo = 0;
    /** Processes the chunks that were added since the previous pass. */
    const processNewChunks = function* (this: SeriesRemoval): Job<void> {
      for (;;) {
        const entry = this.#chunks.next(seriesId, lastId);
        if (!entry) return;
        let chunk = this.#chunks.read(entry.id);
        const isRemoved = yield* select(chunk, checkedTo);
        const kept = withoutRows(chunk, isRemoved);
        yield;
        // If the chunk was merged meanwhile, its rows are in a later one.
        if (this.#chunks.next(seriesId, lastId)?.id !== entry.id) continue;
        const seqs = seqsOf(chunk);
        checkedTo = seqs.at(-1) ?? checkedTo;
        if (kept) {
          this.#transact(() => this.#chunks.replace(entry.id, kept));
          this.#rowsRemoved(seriesId);
          for (let row = 0; row < chunk.rows; row++) {
            if (isRemoved(row)) removed.add(chunk.users[row] as number, seqs[row] as number);
          }
          chunk = kept;
        }
        if (kind && removed.size > MAX_REMOVED_KEYS) {
          yield* this.#userRows.remove(kind, removed);
          removed = new RemovedKeys(SHARDS);
        }
        for (const label of chunk.labels) usedLabels.add(label);
        lastId = entry.id;
        yield;
      }
    }.bind(this);
    yield* processNewChunks();
    // Do not yield before retire(): a new row could use a label that is about to be blanked.
    runJob(processNewChunks());
    this.#memtable.forEach((series, _user, label) => {
      if (series === seriesId) usedLabels.add(label);
    });
    const unusedLabels = this.#labels.numbersOf(seriesId).filter((label) => !usedLabels.has(label));
    yield* this.#finishRemoval(seriesId, unusedLabels, usedLabels.size === 0, beforeCommit);
    // an interruption before this leaves entries of blank rows, which readers skip
    if (kind) yield* this.#userRows.remove(kind, removed);
  }

  /** Removes unused labels of a series, and the series itself if it is empty. Does not yield before they are retired. */
  *#finishRemoval(
    seriesId: number,
    unusedLabels: readonly number[],
    isEmpty: boolean,
    beforeCommit: () => void,
  ): Job<void> {
    this.#labels.retire(unusedLabels);
    const series = this.#series.byId(seriesId);
    if (series && isEmpty) this.#series.remove(series);
    yield* this.#labels.blank(unusedLabels);
    this.#transact(() => {
      if (isEmpty) this.#blankSeries.run(seriesId);
      beforeCommit();
    });
    if (isEmpty) this.#properties.dropSeries(seriesId);
    yield;
  }
}
