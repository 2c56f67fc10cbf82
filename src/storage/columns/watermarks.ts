import type { Database } from 'bun:sqlite';
import { KINDS, type Kind } from '../../records.ts';
import type { Series } from './series.ts';
import type { SeriesList } from './series-list.ts';

/** The name in `column_state` of the mark that chunks are being cleared for a rebuild. */
export const REBUILDING = 'rebuilding';

/**
 * Up to which `seq` the rows of each kind are applied, and up to which they are sealed: the watermark in `column_state`.
 * While a memtable is sealed, and after that was interrupted, `sealed_series` lists the series that are sealed beyond the
 * watermark.
 */
export class Watermarks {
  /** The `seq` up to which rows are applied, by kind. */
  readonly applied: Record<Kind, number> = { metric: 0, analytics: 0 };
  readonly #series: SeriesList;
  readonly #statements: ReturnType<typeof prepare>;
  readonly #sealedBeyond = new Map<number, number>();
  #isRebuilding = false;

  constructor(client: Database, series: SeriesList) {
    this.#series = series;
    this.#statements = prepare(client);
  }

  /** Drops all in-memory state and reloads it from the database. */
  reload(): void {
    this.#sealedBeyond.clear();
    const state = new Map(this.#statements.state.all().map(({ name, value }) => [name, value]));
    for (const kind of KINDS) this.applied[kind] = state.get(kind) ?? 0;
    this.#isRebuilding = state.get(REBUILDING) === 1;
    for (const { seriesId, seq } of this.#statements.sealedSeries.all()) this.#sealedBeyond.set(seriesId, seq);
  }

  /** Whether chunks are being cleared for a rebuild. */
  get isRebuilding(): boolean {
    return this.#isRebuilding;
  }

  /** Returns the `seq` up to which all rows of a kind are in sealed chunks. */
  sealedTo(kind: Kind): number {
    return this.#statements.state.all().find(({ name }) => name === kind)?.value ?? 0;
  }

  /** The `seq` up to which each series is sealed, for series sealed beyond the watermark. */
  get sealedBeyond(): ReadonlyMap<number, number> {
    return this.#sealedBeyond;
  }

  /** Records, in the caller's transaction, that the applied rows of a series are sealed. */
  setSealed({ id, kind }: Series): void {
    this.#statements.setSealed.run(id, Math.max(this.applied[kind], this.#sealedBeyond.get(id) ?? 0));
  }

  /** Records, in the caller's transaction, that all applied rows are sealed. Call {@link dropReached} afterwards. */
  setAllSealed(): void {
    for (const kind of KINDS) this.#statements.setState.run(kind, this.applied[kind]);
    this.#statements.clearSealed.run();
    for (const [id, seq] of this.#sealedBeyond) if (this.#isSealedBeyond(id)) this.#statements.setSealed.run(id, seq);
  }

  /** Drops the series that are no longer sealed beyond the watermark, after the transaction is committed. */
  dropReached(): void {
    for (const [id] of [...this.#sealedBeyond]) if (!this.#isSealedBeyond(id)) this.#sealedBeyond.delete(id);
  }

  /**
   * Returns whether a series is still sealed beyond the applied rows of its kind. That happens if a seal was interrupted and,
   * when its rows are applied again, the memtable is full before the last of them.
   */
  #isSealedBeyond(id: number): boolean {
    const kind = this.#series.byId(id)?.kind;
    return kind !== undefined && (this.#sealedBeyond.get(id) ?? 0) > this.applied[kind];
  }
}

function prepare(client: Database) {
  return {
    state: client.prepare<{ name: string; value: number }, []>('SELECT name, value FROM column_state'),
    setState: client.prepare('INSERT OR REPLACE INTO column_state (name, value) VALUES (?, ?)'),
    sealedSeries: client.prepare<{ seriesId: number; seq: number }, []>(
      'SELECT series_id AS seriesId, seq FROM sealed_series',
    ),
    setSealed: client.prepare('INSERT OR REPLACE INTO sealed_series (series_id, seq) VALUES (?, ?)'),
    clearSealed: client.prepare('DELETE FROM sealed_series'),
  };
}
